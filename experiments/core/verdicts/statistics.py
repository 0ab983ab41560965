"""Intervals, tests and sample sizes on plain arrays: pure functions, by scipy where scipy has them.

An interval is a float array of shape (..., 2), low and high. `alpha` is 1 - confidence, always two-sided.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

ALPHA = 0.05
POWER = 0.80
# The largest sample size that is planned; beyond it, the answer is None.
MOST_SEEDS = 1000


def is_constant(values: Floats) -> NDArray[np.bool_]:
    """Return which samples, shape (..., n), have no spread beyond rounding; their t statistic is noise."""
    limits = np.finfo(np.float64)
    # The square root of the smallest number: below it, squares underflow to a variance of 0.
    rounding = 8 * limits.eps * np.abs(values).max(axis=-1) + np.sqrt(limits.tiny)
    return np.asarray(np.ptp(values, axis=-1) <= rounding)


def standard_error(values: Floats, overlap: float = 0.0) -> Floats:
    """Return the standard error of the mean over the last axis, shape (...).

    Args:
        values: one number a seed, shape (..., n), n >= 2.
        overlap: n_test / n_train where the splits of different seeds share samples, 0 where they are disjoint. The
            variance is multiplied by 1 + n * overlap (Nadeau and Bengio, Machine Learning 52, 2003).
    """
    n = values.shape[-1]
    if n < 2:
        raise ValueError(f"an interval needs at least 2 seeds, not {n}")
    return np.asarray(values.std(axis=-1, ddof=1) * np.sqrt((1 + n * overlap) / n))


def student_interval(values: Floats, confidence: float, *, overlap: float = 0.0, resolution: float = 0.0) -> Floats:
    """Return Student's interval of the mean over the last axis, shape (..., 2).

    Args:
        values: one number a seed, shape (..., n), n >= 2.
        confidence: between 0 and 1.
        overlap: as in `standard_error`.
        resolution: the half-width, at any confidence, of a sample without spread: the smallest step of its measure.
    """
    error, mean = standard_error(values, overlap), values.mean(axis=-1)
    half = stats.t.isf((1 - confidence) / 2, values.shape[-1] - 1) * error
    half = np.where(is_constant(values), resolution, half)
    return np.stack([mean - half, mean + half], axis=-1)


def student_alpha(values: Floats, boundaries: ArrayLike, *, overlap: float = 0.0, resolution: float = 0.0) -> Floats:
    """Return the smallest alpha whose Student interval contains none of the boundaries, shape (...)."""
    error, constant = standard_error(values, overlap), is_constant(values)
    gap = np.abs(values.mean(axis=-1)[..., None] - np.atleast_1d(boundaries)).min(axis=-1)
    p = 2 * stats.t.sf(gap / np.where(constant, 1.0, error), values.shape[-1] - 1)
    return np.asarray(np.where(constant, np.where(gap > resolution, 0.0, 1.0), p))


def smallest_alpha(interval: Callable[[float], Floats], boundaries: Sequence[float]) -> float:
    """Return the smallest alpha whose (1 - alpha) interval contains no boundary, by bisection of log(alpha).

    Args:
        interval: confidence to interval, shape (2,), widening with the confidence.
        boundaries: of the claim.

    Returns:
        alpha to 1e-9 of itself; never below 1e-12, where 1 - alpha loses its digits; 1 where none will do.
    """

    def free(alpha: float) -> bool:
        low, high = interval(1 - alpha)
        return not any(low <= boundary <= high for boundary in boundaries)

    low, high = np.log(1e-12), 0.0
    if not free(1 - 1e-12):
        return 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if free(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))


def wilson_interval(successes: int, n: int, confidence: float) -> Floats:
    """Return Wilson's score interval of a proportion, shape (2,)."""
    result = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return np.array([result.low, result.high])


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test: the binomial test of the discordant pairs."""
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def newcombe_paired_interval(table: Sequence[int], confidence: float) -> Floats:
    """Return Newcombe's interval of the difference of two paired proportions, first minus second, shape (2,).

    Method 10 of Newcombe, Statistics in Medicine 17 (1998) 2635-2650: the Wilson limits of both proportions, combined
    with their correlation phi, a positive one with its continuity correction.

    Args:
        table: pairs that succeeded in both conditions, only in the first, only in the second, in neither.
        confidence: between 0 and 1.
    """
    both, only_first, only_second, neither = (int(count) for count in table)
    n = both + only_first + only_second + neither
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    low1, high1 = wilson_interval(both + only_first, n, confidence)
    low2, high2 = wilson_interval(both + only_second, n, confidence)
    covariance = float(both * neither - only_first * only_second)
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    margins = np.sqrt(p1 * (1 - p1) * p2 * (1 - p2)) * n**2
    phi = covariance / margins if margins > 0 else 0.0
    below, above = np.array([p1 - low1, high2 - p2]), np.array([high1 - p1, p2 - low2])
    down = np.sqrt(below @ below - 2 * phi * below.prod())
    up = np.sqrt(above @ above - 2 * phi * above.prod())
    return np.array([p1 - p2 - down, p1 - p2 + up])


def share_counts(arms: Sequence[Floats]) -> NDArray[np.int64]:
    """Count one 0/1 sample (successes, failures), or two paired ones (both, only first, only second, neither)."""
    if not arms or not all(np.isin(arm, (0, 1)).all() for arm in arms):
        raise ValueError("a proportion takes 0 or 1 a seed of each condition; its measure gives other values or none")
    code = sum((1 - arm.astype(int)) * 2**place for place, arm in enumerate(reversed(arms)))
    return np.bincount(code, minlength=2 ** len(arms))


def share_interval(counts: NDArray[np.int64], confidence: float) -> Floats:
    """Return the interval of `share_counts`, shape (2,): Wilson's of one sample, Newcombe's of two paired ones."""
    if len(counts) == 2:
        return wilson_interval(int(counts[0]), int(counts.sum()), confidence)
    return newcombe_paired_interval(counts.tolist(), confidence)


def smallest_confirming_n(threshold: float, confidence: float, *, paired: bool = False) -> int:
    """Return the smallest n at which n successes of n put the interval above the threshold.

    Args:
        threshold: p0 of Wilson's interval, below 1; or, paired, the difference of Newcombe's.
        confidence: between 0 and 1.
        paired: n pairs that all succeed in the first condition and all fail in the second.
    """
    if threshold >= 1:
        raise ValueError(f"no proportion lies above {threshold:g}; the threshold must be below 1")
    z2 = stats.norm.isf((1 - confidence) / 2) ** 2
    # The limits of n of n: n / (n + z²) for Wilson, 1 - √2 z² / (n + z²) for Newcombe.
    limit = z2 * (np.sqrt(2) / (1 - threshold) - 1) if paired else z2 * threshold / (1 - threshold)
    return max(int(np.floor(limit)) + 1, 1)


def confirmable(n: int, threshold: float, confidence: float, *, paired: bool = False) -> bool:
    """Return whether n successes of n would confirm a proportion above the threshold."""
    return n >= smallest_confirming_n(threshold, confidence, paired=paired)


def welch_interval(first: Floats, second: Floats, confidence: float, *, resolution: float = 0.0) -> Floats:
    """Return Welch's interval of the difference of means of two independent samples, first minus second, shape (2,)."""
    if is_constant(first) and is_constant(second):
        difference = first.mean() - second.mean()
        return np.array([difference - resolution, difference + resolution])
    result = stats.ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return np.array([result.low, result.high])


def bootstrap_interval(values: Floats, confidence: float = 0.95, resamples: int = 2000) -> Floats:
    """Return the bootstrap interval of the mean, shape (2,); it is shown beside Student's and decides nothing.

    Bias-corrected and accelerated; percentile where that is not defined. Always the same resamples.
    """
    if is_constant(values):
        return np.full(2, values.mean())
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            result = stats.bootstrap(
                (values,),
                np.mean,
                confidence_level=confidence,
                n_resamples=resamples,
                method=method,
                rng=np.random.default_rng(0),
            )
        interval = np.array([result.confidence_interval.low, result.confidence_interval.high])
        if np.isfinite(interval).all():
            break
    return interval


def holm(p_values: Floats, alpha: float = ALPHA) -> tuple[Floats, Floats]:
    """Step down through a family (Holm 1979).

    Args:
        p_values: of the claims of the family, shape (m,).
        alpha: of the family.

    Returns:
        The level each claim is drawn at, alpha / (m - rank + 1), where from the first that does not pass all keep its
        level; and the adjusted p. Both of shape (m,), in the order given. A claim passes if p is below its level.
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    remaining = m - np.arange(m)
    steps = alpha / remaining
    failed = np.flatnonzero(p_values[order] >= steps)
    if failed.size:
        steps[failed[0] :] = steps[failed[0]]
    levels, adjusted = np.empty(m), np.empty(m)
    levels[order] = steps
    adjusted[order] = np.minimum(np.maximum.accumulate(remaining * p_values[order]), 1.0)
    return levels, adjusted


def student_power(
    gaps: Sequence[float], deviation: float, n: int, alpha: float = ALPHA, *, overlap: float = 0.0
) -> float:
    """Return the probability that the Student interval of n new seeds clears every boundary.

    Args:
        gaps: distances of the true mean from the boundaries the interval must stay clear of.
        deviation: between seeds, above 0.
        n: seeds.
        alpha: 1 - confidence.
        overlap: as in `standard_error`.
    """
    noncentrality = np.asarray(gaps) / (deviation * np.sqrt((1 + n * overlap) / n))
    missed = 1 - stats.nct.sf(stats.t.isf(alpha / 2, n - 1), n - 1, noncentrality)
    return float(max(0.0, 1 - missed.sum()))


def seeds_for_mean(
    values: Floats, boundaries: ArrayLike, alpha: float = ALPHA, *, overlap: float = 0.0, resolution: float = 0.0
) -> int | None:
    """Return how many new seeds decide a claim with a power of .80, if the mean and spread seen are the true ones.

    Args:
        values: one number a seed, shape (n,).
        boundaries: of the claim; of a mean between two of them, the interval must clear both.
        alpha: 1 - confidence.
        overlap: as in `standard_error`.
        resolution: as in `student_interval`.

    Returns:
        A number of seeds, or None if `MOST_SEEDS` would not do.
    """
    mean, edges = values.mean(), np.sort(np.atleast_1d(boundaries))
    gaps = np.abs(mean - edges)
    if is_constant(values):
        return 2 if gaps.min() > resolution else None
    decisive = list(gaps) if edges[0] < mean < edges[-1] else [float(gaps.min())]
    deviation = float(values.std(ddof=1))
    return _smallest_n(lambda n: student_power(decisive, deviation, n, alpha, overlap=overlap) >= POWER)


def seeds_for_share(counts: NDArray[np.int64], boundary: float, alpha: float = ALPHA) -> int | None:
    """Return how many new seeds decide a proportion with a power of about .80, if the shares seen are the true ones.

    The normal approximation, because the exact power is a saw-tooth in n: an interval drawn around the true share with
    z(alpha / 2) + z(power) must just clear the boundary.

    Args:
        counts: of `share_counts`.
        boundary: of the claim.
        alpha: 1 - confidence.
    """
    wide = 1 - 2 * stats.norm.sf(stats.norm.isf(alpha / 2) + stats.norm.ppf(POWER))

    def enough(n: int) -> bool:
        low, high = share_interval(np.rint(counts * (n / counts.sum())).astype(int), wide)
        return not low <= boundary <= high

    return _smallest_n(enough, least=3)


def _smallest_n(enough: Callable[[int], bool], least: int = 2) -> int | None:
    if not enough(MOST_SEEDS):
        return None
    low, high = least - 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
