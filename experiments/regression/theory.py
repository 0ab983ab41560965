"""Variances of the mean and the median of a sample: closed forms and one-dimensional integrals."""

from __future__ import annotations

import numpy as np
from scipy import stats

# The noise distributions of `datamodules.synthetic`.
LAWS = {"gaussian": stats.norm, "laplace": stats.laplace, "student": stats.t(df=2)}
# Midpoints of a grid on (0, 1), because quantiles are infinite at both ends, where a median has density 0.
_SHARES = (np.arange(100_000) + 0.5) / 100_000


def median_variance(law: str, n: int) -> float:
    """Variance of the median of n samples, n odd and >= 5; its quantile has a Beta((n + 1) / 2, (n + 1) / 2) law."""
    half = (n + 1) / 2
    return float(np.mean(LAWS[law].ppf(_SHARES) ** 2 * stats.beta(half, half).pdf(_SHARES)))


def variance_ratio(law: str, n: int) -> float:
    """Variance of the mean divided by that of the median, n odd and >= 5; below 1, the mean is the better estimate.

    The ratio is infinite for Student's t with 2 degrees of freedom, like the variance of the mean.
    """
    return float(LAWS[law].var()) / n / median_variance(law, n)


def limit_ratio(law: str) -> float:
    """Limit of the ratio for n → ∞, with the median's variance 1 / (4 n f(0)²): 2/π for Gaussian, 2 for Laplace."""
    return float(4 * LAWS[law].var() * LAWS[law].pdf(0.0) ** 2)
