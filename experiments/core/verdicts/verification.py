"""Compares results with the reference: the same seeds to the byte or within half a threshold, other seeds by verdicts.

On a processor that rounds differently, long trainings drift apart: there, a claim whose values differ by more is
compared as with other seeds. The answers are in `verify.json`, in the directory of the runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.core.definitions import CONFIRMED, INFERENTIAL, REFUTED
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.inference import SeedValues
from experiments.core.verdicts.statistics import Floats
from experiments.core.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from experiments.core.verdicts.reference import Reference

IDENTICAL, SAME, DIFFERENT, SHOWN = "identical", "same", "different", "shown"
STABLE, FLIP, SHIFTED, CONTRADICTION = "stable", "flip", "shifted", "contradiction"
GOOD = (IDENTICAL, SAME, SHOWN, STABLE, FLIP)
# With another arithmetic, an effect may shift as long as no verdict is contradicted.
GOOD_ELSEWHERE = (*GOOD, SHIFTED)


@dataclass(frozen=True)
class Answer:
    """The comparison of one claim with the reference."""

    id: str
    answer: str
    reference: str  # its verdicts, then and now
    verdict: str
    reference_effect: float | None
    effect: float | None
    # Same seeds: the largest change of a value. Other seeds: p of the difference of the effects (Welch, Holm).
    change: float | None = None
    p: float | None = None


def same_seeds(
    kept: Reference,
    verdicts: Sequence[Verdict],
    samples: Mapping[str, SeedValues],
    *,
    same_arithmetic: bool,
) -> list[Answer]:
    """Compare results of the reference's seeds, value by value.

    `identical` if every value is equal; `same` if none is off by more than half of the claim's threshold, or, of a
    check, if the verdict is the same; a number without threshold is only `shown`. Else `different`, or, of an
    inferential claim under another arithmetic, what `other_seeds` says: its test takes the two samples for
    independent, which only widens what it allows.
    """
    then = {verdict.id: verdict for verdict in kept.verdicts}
    answers = [_compared(then[v.id], v, kept.values.get(v.id, []), samples.get(v.id)) for v in verdicts if v.id in then]
    off = {a.id for a in answers if a.answer == DIFFERENT and then[a.id].kind in INFERENTIAL}
    if same_arithmetic or not off:
        return answers
    redrawn = {a.id: a for a in other_seeds(kept, verdicts, samples)}
    return [redrawn[a.id] if a.id in off else a for a in answers]


def _compared(then: Verdict, now: Verdict, kept: Sequence[float | None], sample: SeedValues | None) -> Answer:
    old = np.array([np.nan if value is None else value for value in kept], dtype=float)
    new = np.empty(0) if sample is None else sample.values
    change = float(np.abs(new - old).max(initial=0.0)) if len(old) == len(new) else None
    if np.array_equal(old, new, equal_nan=True) and then.verdict == now.verdict:
        answer = IDENTICAL
    elif then.kind in INFERENTIAL:
        answer = SAME if change is not None and change <= _threshold(now) / 2 else DIFFERENT
    elif then.kind == "exact":
        answer = SAME if then.verdict == now.verdict else DIFFERENT
    else:
        answer = SHOWN
    return Answer(now.id, answer, then.verdict, now.verdict, then.effect, now.effect, change=change)


def _threshold(verdict: Verdict) -> float:
    threshold = verdict.threshold
    return abs(threshold[1] if isinstance(threshold, tuple) else threshold or 0.0)


def other_seeds(kept: Reference, verdicts: Sequence[Verdict], samples: Mapping[str, SeedValues]) -> list[Answer]:
    """Compare results of another seed set, which never replaces the official one.

    A contradiction is CONFIRMED against REFUTED, or PASS against another; `shifted` if the Welch interval of the
    difference between the two effects does not contain 0 (Holm over the claims); a `flip` goes to or from INCONCLUSIVE.
    """
    then = {verdict.id: verdict for verdict in kept.verdicts}
    pairs = [(then[v.id], v) for v in verdicts if v.id in then and v.kind in (*INFERENTIAL, "exact")]
    p_values = {
        now.id: _welch_p(np.array(kept.values[now.id], dtype=float), samples[now.id].values)
        for _, now in pairs
        if now.kind in INFERENTIAL
    }
    adjusted = dict(zip(p_values, st.holm(np.array([*p_values.values()]))[1].tolist(), strict=True))
    answers = []
    for old, new in pairs:
        p = adjusted.get(new.id)
        answers.append(Answer(new.id, _kind(old, new, p), old.verdict, new.verdict, old.effect, new.effect, p=p))
    return answers


def _kind(old: Verdict, new: Verdict, p: float | None) -> str:
    if {old.verdict, new.verdict} == {CONFIRMED, REFUTED} or (old.kind == "exact" and old.verdict != new.verdict):
        return CONTRADICTION
    if p is not None and p < st.ALPHA:
        return SHIFTED
    return FLIP if old.verdict != new.verdict else STABLE


def _welch_p(first: Floats, second: Floats) -> float:
    """Return the smallest alpha whose Welch interval of the difference excludes 0; 1 if nothing can be compared."""
    if min(len(first), len(second)) < 2 or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return 1.0
    if st.is_constant(first) and st.is_constant(second):
        return float(first[0] == second[0])
    return st.smallest_alpha(lambda confidence: st.welch_interval(first, second, confidence), [0.0])


def summarize(answers: Sequence[Answer], good: Collection[str] = GOOD) -> dict[str, Any]:
    """Return whether all answers are good, and the number of answers of each kind.

    Args:
        answers: one a claim.
        good: the answers that are no failure.
    """
    counts = {word: sum(a.answer == word for a in answers) for word in dict.fromkeys(a.answer for a in answers)}
    return {"good": all(a.answer in good for a in answers), "counts": counts}
