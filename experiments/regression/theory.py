"""What the mean and the median of a sample cost in variance: closed forms and one-dimensional integrals."""

from __future__ import annotations

import numpy as np
from scipy import stats

# The noise laws of `datamodules.synthetic`.
LAWS = {"gaussian": stats.norm, "laplace": stats.laplace, "student": stats.t(df=2)}
# Midpoints of (0, 1): at both ends quantiles are infinite, and a median of three or more samples is never there.
_SHARES = (np.arange(100_000) + 0.5) / 100_000


def median_variance(law: str, n: int) -> float:
    """Variance of the median of n samples, n odd and >= 5: its place among all is Beta((n + 1) / 2, (n + 1) / 2)."""
    half = (n + 1) / 2
    return float(np.mean(LAWS[law].ppf(_SHARES) ** 2 * stats.beta(half, half).pdf(_SHARES)))


def variance_ratio(law: str, n: int) -> float:
    """Variance of the mean over that of the median, n odd and >= 5: below 1 the mean is the better estimate.

    Infinite for Student's law with 2 degrees of freedom, as the variance of its mean.
    """
    return float(LAWS[law].var()) / n / median_variance(law, n)


def limit_ratio(law: str) -> float:
    """The same for n → ∞, where the median's variance is 1 / (4 n f(0)²): 2/π for Gaussian noise, 2 for Laplace's."""
    return float(4 * LAWS[law].var() * LAWS[law].pdf(0.0) ** 2)
