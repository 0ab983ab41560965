"""Inference on one claim: from its values per seed to an interval at any confidence, and its reading.

Each inferential claim becomes a `Test`: an estimate, its interval at any confidence, and the threshold that this
interval must not contain. `decide` compares two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.core.definitions import CONFIRMED, INCONCLUSIVE, REFUTED, Claim
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.statistics import Floats

Direction = Literal["above", "below", "within"]
Threshold = float | tuple[float, float]


@dataclass(frozen=True, eq=False)
class SeedValues:
    """The values per seed of one claim, as the claim defines them."""

    # Shape (n,): value, difference or contrast; 0 or 1 for a proportion; max |error| / (1 + |truth|) for a check.
    values: Floats
    # For a claim with `minus`, shape (n,) each: the measure in `where` and in `minus`.
    arms: tuple[Floats, Floats] | None = None
    # For times to a target, shape (n,) an arm: 1 where the run arrived within its budget. A longer time in the first
    # arm increases the value, a longer time in the second decreases it.
    arrived: tuple[Floats, ...] = ()
    n_diverged: int = 0
    n_censored: int = 0
    # n_test / n_train where the test samples of different seeds overlap, else 0.
    overlap: float = 0.0
    # The smallest step of the measure; without it, values without spread decide nothing.
    resolution: float | None = None
    # For a check, over all seeds: random draws, and how many of them contradict the transcribed form (transcription)
    # or show the symptom (pitfall).
    draws: int = 0
    counterexamples: int = 0
    # Why nothing can be decided, if the runs already show it.
    undecidable: str = ""


@dataclass(frozen=True)
class Test:
    """The inference on one claim."""

    values: Floats  # one number a seed; their mean is the estimate
    interval: Callable[[float], Floats]  # of the confidence
    p: float
    direction: Direction
    threshold: Threshold
    seeds_needed: Callable[[float], int | None]  # of alpha
    readable: bool  # its 0 means "no effect", so the readings of an effect apply
    counts: tuple[int, ...] = ()  # of a share


def decide(low: float, high: float, direction: Direction, threshold: Threshold) -> str:
    """Return the verdict of an interval: the side of the threshold, or INCONCLUSIVE if it contains the threshold."""
    if isinstance(threshold, tuple):
        if threshold[0] < low and high < threshold[1]:
            return CONFIRMED
        return REFUTED if high < threshold[0] or low > threshold[1] else INCONCLUSIVE
    if low <= threshold <= high:
        return INCONCLUSIVE
    return CONFIRMED if (low > threshold) == (direction == "above") else REFUTED


def effect_reading(low: float, high: float, direction: Direction, threshold: Threshold) -> str:
    """Describe what a verdict on an effect rules out or leaves open; empty for CONFIRMED and for an equivalence."""
    verdict = decide(low, high, direction, threshold)
    if verdict == CONFIRMED or isinstance(threshold, tuple):
        return ""
    if direction == "below":
        low, high, threshold = -high, -low, -threshold
    if verdict == INCONCLUSIVE:
        return "real, size open" if low > 0 else "open"
    if high < 0:
        return "reversed"
    if low > 0:
        return "smaller"
    return "negligible" if low > -threshold else "not as large"


def with_divergence(claim: Claim, values: Floats, diverged: NDArray[np.bool_]) -> Floats:
    """Replace the values of diverged runs by the value that the claim declares; drop none.

    Without a declared value a proportion keeps the outcome its measure gives, 0 where it gives none; any other kind
    gets NaN, which makes the claim undecidable.
    """
    if claim.if_diverged is not None:
        return np.where(diverged, claim.if_diverged, values)
    if claim.kind == "proportion":
        return np.where(diverged & ~np.isfinite(values), 0.0, values)
    return np.where(diverged, np.nan, values)


def direction_and_threshold(claim: Claim) -> tuple[Direction, Threshold | None]:
    """Return the direction and the threshold of a claim."""
    if claim.above is not None:
        return "above", claim.above
    if claim.below is not None:
        return "below", claim.below
    return "within", claim.tolerance if claim.within is None else (-claim.within, claim.within)


def is_mostly_censored(claim: Claim, sample: SeedValues) -> bool:
    """Return whether more than half of the runs of an arm did not arrive within their budget."""
    return claim.kind != "proportion" and any(arm.mean() < 0.5 for arm in sample.arrived)


def why_undecidable(claim: Claim, sample: SeedValues) -> str:
    """Return why nothing can be decided from the values; empty if something can."""
    n = len(sample.values)
    if sample.undecidable:
        return sample.undecidable
    if n < 2:
        return f"an interval needs at least 2 seeds, not {n}"
    if sample.n_diverged and claim.if_diverged is None and claim.kind != "proportion":
        return f"{sample.n_diverged} diverged, and the claim declares no value for a run that does"
    if not np.isfinite(sample.values).all():
        return f"{int((~np.isfinite(sample.values)).sum())} of {n} values are not finite"
    if is_mostly_censored(claim, sample):
        if claim.kind != "effect" or len(sample.arrived) > 2:
            return "more than half of an arm is censored, and this claim has no share to be judged on instead"
    elif claim.kind != "proportion" and sample.resolution is None and st.is_constant(sample.values):
        return "all values are equal, and the measure declares no resolution"
    return ""


def mean_interval(sample: SeedValues) -> Callable[[float], Floats]:
    """Return Student's interval of the mean as a function of the confidence."""
    resolution = sample.resolution or 0.0
    return partial(st.student_interval, sample.values, overlap=sample.overlap, resolution=resolution)


def build_test(claim: Claim, sample: SeedValues) -> Test:
    """Return the inference for the kind of a claim.

    Raises:
        ValueError: a proportion whose values are not 0 or 1.
    """
    direction, threshold = direction_and_threshold(claim)
    assert threshold is not None  # definitions.py gives every inferential claim one
    try:
        if claim.kind == "proportion":
            arms = (sample.values,) if claim.minus is None else sample.arms or ()
            return _share_test(arms, direction, float(np.max(threshold)))
        if is_mostly_censored(claim, sample):
            # A shorter time of the first arm means a larger share. With one arm: does the median run arrive?
            flipped: Direction = "above" if direction == "below" else "below"
            return _share_test(sample.arrived, flipped, 0.0 if len(sample.arrived) == 2 else 0.5)
    except ValueError as error:
        raise ValueError(f"claim {claim.id}: {error}") from None
    values, rules = sample.values, {"overlap": sample.overlap, "resolution": sample.resolution or 0.0}
    return Test(
        values=values,
        interval=mean_interval(sample),
        p=float(st.student_alpha(values, threshold, **rules)),
        direction=direction,
        threshold=threshold,
        seeds_needed=partial(st.seeds_for_mean, values, threshold, **rules),
        readable=claim.kind == "effect",
    )


def _share_test(arms: Sequence[Floats], direction: Direction, threshold: float) -> Test:
    counts, paired = st.share_counts(arms), len(arms) == 2
    interval = partial(st.share_interval, counts)
    return Test(
        values=arms[0] - arms[1] if paired else arms[0],
        interval=interval,
        p=st.smallest_alpha(interval, [threshold]),
        direction=direction,
        threshold=threshold,
        seeds_needed=partial(st.seeds_for_share, counts, threshold),
        readable=paired,
        counts=tuple(counts.tolist()),
    )
