"""Judges claims from their values per seed: the drawn interval is the verdict.

The claims of an experiment are judged together: Holm gives every primary one its confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.core.definitions import (
    CHECKED,
    FAIL,
    INCONCLUSIVE,
    INFERENTIAL,
    NONE,
    NOTE,
    PASS,
    Claim,
    DefinitionError,
)
from experiments.core.grid.lecture import SLIDES
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.inference import (
    SeedValues,
    Test,
    build_test,
    decide,
    direction_and_threshold,
    effect_reading,
    is_mostly_censored,
    mean_interval,
    why_undecidable,
)
from experiments.core.verdicts.statistics import Floats
from experiments.core.verdicts.verdict import Verdict

Official = bool | Mapping[str, bool] | Callable[[Claim], bool]

LEAST_DRAWS = 200


def check_claims(claims: Sequence[Claim]) -> None:
    """Refuse claims that no number of seeds could decide.

    Raises:
        DefinitionError: a claim whose slide is neither given nor known from its line of the lecture, an effect without
            a smallest effect of interest in its direction, an equivalence without width, a non-inferiority without
            margin, or a proportion that n successes of n would not confirm at the strictest level of its family.
    """
    family = sum(claim.kind in INFERENTIAL and claim.primary for claim in claims)
    for claim in claims:
        if not claim.slide and claim.lecture_line not in SLIDES:
            raise DefinitionError(f"claim {claim.id}: the lecture has no line {claim.lecture_line}; give its `slide`")
        direction, threshold = direction_and_threshold(claim)
        oriented = -claim.below if claim.below is not None else claim.above or 0.0
        if claim.kind == "effect" and oriented <= 0:
            side = "above > 0" if direction == "above" else "below < 0"
            raise DefinitionError(f"claim {claim.id}: the smallest effect of interest must be {side}, not {threshold}")
        if claim.kind == "non-inferiority" and oriented >= 0:
            side = "above < 0" if direction == "above" else "below > 0"
            raise DefinitionError(f"claim {claim.id}: the margin of a non-inferiority must be {side}, not {threshold}")
        if claim.kind == "equivalence" and (claim.within or 0.0) <= 0:
            raise DefinitionError(f"claim {claim.id}: `within` must be > 0, not {claim.within}")
        if claim.kind != "proportion":
            continue
        paired = claim.minus is not None
        least = oriented if paired or direction == "above" else 1 + oriented
        if not 0 <= least < 1:
            valid = "above in [0, 1) or below in " + ("(-1, 0]" if paired else "(0, 1]")
            raise DefinitionError(f"claim {claim.id}: the threshold of a proportion must be {valid}, not {threshold}")
        confidence = 1 - st.ALPHA / (family if claim.primary else 1)
        if not st.confirmable(claim.n, least, confidence, paired=paired):
            needed = st.smallest_confirming_n(least, confidence, paired=paired)
            raise DefinitionError(
                f"claim {claim.id}: {claim.n} successes of n = {claim.n} would not confirm it; give n >= {needed}"
            )


def judge(
    experiment_name: str,
    claims: Sequence[Claim],
    samples: Mapping[str, SeedValues],
    *,
    official: Official,
    scope: str,
    verdicts: bool = True,
) -> list[Verdict]:
    """Judge all claims of an experiment together: the primary inferential claims are one family.

    Args:
        experiment_name: also the family's name.
        claims: all of the experiment, whether or not they have a sample: the family is the frozen list.
        samples: by the claim's id.
        official: whether seeds, data and scale are the frozen ones, of all claims or of each; another n than the
            claim's makes its row exploratory in any case.
        scope: data and scale in words.
        verdicts: False at a scale that gives none: effects and plain intervals, and the verdict NONE.

    Returns:
        One row a claim, in their order.

    Raises:
        ValueError: a proportion whose values are not 0 or 1.
    """
    missing = SeedValues(np.empty(0), undecidable="none of its runs is finished")
    found = {claim.id: samples.get(claim.id, missing) for claim in claims}
    inferential = [claim for claim in claims if claim.kind in INFERENTIAL]
    tests = {c.id: build_test(c, found[c.id]) for c in inferential if not why_undecidable(c, found[c.id])}
    family = [claim.id for claim in inferential if claim.primary] if verdicts else []
    levels, adjusted = st.holm(np.array([tests[i].p if i in tests else 1.0 for i in family]))
    drawn = {i: (float(level), float(p)) for i, level, p in zip(family, levels, adjusted, strict=True)}
    rows = []
    for claim in claims:
        sample = found[claim.id]
        row = _describe(experiment_name, claim, sample, official, scope)
        if claim.kind in INFERENTIAL:
            row = _inferred(row, claim, sample, tests.get(claim.id), *drawn.get(claim.id, (st.ALPHA, None)))
        elif claim.kind in CHECKED:
            row = _checked(row, sample)
        elif claim.kind == "measured" and not row.undecidable:
            row = _shown(row, sample.values, sample.arms, mean_interval(sample))
        rows.append(row if verdicts else replace(row, verdict=NONE, reading=""))
    return rows


def _describe(experiment_name: str, claim: Claim, sample: SeedValues, official: Official, scope: str) -> Verdict:
    """Return a row with all fields that need no inference; its verdict is NONE."""
    direction, threshold = direction_and_threshold(claim)
    n = len(sample.values)
    if not isinstance(official, bool):
        official = bool(official(claim) if callable(official) else official[claim.id])
    counted = claim.kind not in ("census", "not testable")
    drawn = claim.kind in (*INFERENTIAL, "measured")
    of_claim = ("id", "lecture_line", "source", "kind", "statement", "statement_fr", "primary", "control")
    of_sample = ("n_diverged", "n_censored", "draws", "counterexamples")
    return Verdict(
        **{name: getattr(claim, name) for name in (*of_claim, "note")},
        **{name: getattr(sample, name) for name in of_sample},
        slide=claim.slide or SLIDES[claim.lecture_line],
        experiment=experiment_name,
        measure=claim.measure or claim.check,
        conditions=tuple(dict(condition) for condition in claim.used_conditions),
        scope=f"{scope}, on this data set" if sample.overlap else scope,
        family=experiment_name if claim.kind in INFERENTIAL and claim.primary else "",
        direction="" if threshold is None else direction,
        threshold=threshold,
        effect=float(sample.values.mean()) if n and np.isfinite(sample.values).all() else None,
        n=n,
        official=official and (n == claim.n or not counted),
        undecidable=why_undecidable(claim, sample) if drawn else sample.undecidable if claim.check else "",
    )


def _inferred(
    row: Verdict, claim: Claim, sample: SeedValues, test: Test | None, level: float, p_holm: float | None
) -> Verdict:
    row = replace(row, p_holm=p_holm)
    if test is None:
        return row if row.n < 2 else replace(row, verdict=INCONCLUSIVE, reading="undecidable")
    low, high = (float(end) for end in test.interval(1 - level))
    threshold = test.threshold
    if is_mostly_censored(claim, sample):
        row = replace(row, judged_on="share", bound=_bound(sample))
    return replace(
        _shown(row, test.values, sample.arms, test.interval),
        direction=test.direction,
        threshold=threshold,
        ci_low=low,
        ci_high=high,
        confidence=1 - level,
        seeds_needed=test.seeds_needed(level),
        verdict=decide(low, high, test.direction, threshold),
        reading=effect_reading(low, high, test.direction, threshold) if test.readable else "",
        p=test.p,
        p_mcnemar=st.mcnemar_p(*test.counts[1:3]) if len(test.counts) == 4 else None,
    )


def _shown(
    row: Verdict, values: Floats, arms: tuple[Floats, Floats] | None, interval: Callable[[float], Floats]
) -> Verdict:
    """Add fields that decide nothing: plain interval, bootstrap, correlation of the arms."""
    (low, high), boot = interval(1 - st.ALPHA), st.bootstrap_interval(values, 1 - st.ALPHA)
    correlated = arms is not None and row.n > 2 and not st.is_constant(np.stack(arms)).any()
    return replace(
        row,
        effect=float(values.mean()),
        ci95_low=float(low),
        ci95_high=float(high),
        bootstrap_low=float(boot[0]),
        bootstrap_high=float(boot[1]),
        correlation=float(np.corrcoef(arms[0], arms[1])[0, 1]) if arms is not None and correlated else None,
    )


def _bound(sample: SeedValues) -> str:
    """Return on which side of the mean of the censored values the true mean is."""
    late = [bool((arm == 0).any()) for arm in sample.arrived]
    if all(late) and len(late) == 2:
        return "unbounded"
    return f"{'>=' if late[0] else '<='} {sample.values.mean():.4g}"


def _checked(row: Verdict, sample: SeedValues) -> Verdict:
    """Judge a check: compare the largest error of all seeds with the tolerance; NaN fails."""
    assert isinstance(row.threshold, float | int)  # definitions.py gives every check a tolerance
    if row.undecidable:
        return row
    worst = float(sample.values.max())
    holds = worst <= row.threshold
    row = replace(row, effect=worst)
    if row.kind == "exact":
        if holds and sample.draws < LEAST_DRAWS:
            return replace(row, undecidable=f"{sample.draws} draws; at least {LEAST_DRAWS} are needed to pass")
        return replace(row, verdict=PASS if holds else FAIL)
    seen = holds and sample.counterexamples > 0
    if row.kind == "transcription":
        return replace(row, verdict=NOTE, reading="to be checked against the slide" if seen else "not reproduced")
    return replace(row, verdict=NOTE, reading="symptom shown" if seen else "symptom not shown")
