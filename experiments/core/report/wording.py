"""Numbers and verdicts as text, the same in figures, page and terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from experiments.core.definitions import (
    CHECKED,
    CONFIRMED,
    FAIL,
    INCONCLUSIVE,
    INFERENTIAL,
    NONE,
    NOTE,
    PASS,
    REFUTED,
)
from experiments.core.verdicts.verdict import Verdict

# A verdict differs in shape and word as well as in colour.
SYMBOLS = {CONFIRMED: "●", REFUTED: "✖", INCONCLUSIVE: "◇", NONE: "○", PASS: "✔", FAIL: "✖", NOTE: "✎"}


def interval_of(verdict: Verdict) -> tuple[float | None, float | None]:
    """Return the interval that decides; without a verdict, the plain 95 % interval."""
    if verdict.ci_low is not None:
        return verdict.ci_low, verdict.ci_high
    return verdict.ci95_low, verdict.ci95_high


def number(value: float | None) -> str:
    """Format a number with three decimals and a true minus sign; empty for None."""
    return "" if value is None else f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")


def effect_words(verdict: Verdict) -> str:
    """Format the effect of a verdict; the error of a check as a power of ten."""
    if verdict.kind in CHECKED and verdict.effect is not None:
        return f"{verdict.effect:.1e}".replace("-", "−") if verdict.effect else "0"
    return number(verdict.effect)


def interval_words(low: float | None, high: float | None) -> str:
    """Format an interval; empty if there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def threshold_words(verdict: Verdict) -> str:
    """Format the threshold of a verdict: `> 0.05`, `within ±0.1`, `error ≤ 1e−12`."""
    if verdict.threshold is None:
        return ""
    if isinstance(verdict.threshold, tuple):
        return f"within ±{verdict.threshold[1]:g}"
    word = {"above": ">", "below": "<", "within": "error ≤"}[verdict.direction]
    return f"{word} {verdict.threshold:g}".replace("-", "−")


def mean_words(measure: Sequence[float | None]) -> str:
    """Format mean ± half of the 95 % interval (seeds): `0.970 ± 0.008 (10)`; a dash where no seed has a value."""
    mean, half, n = measure
    if mean is None:
        return "–"
    return f"{number(mean)} ({n})" if half is None else f"{number(mean)} ± {number(half)} ({n})"


def p_words(p: float | None) -> str:
    """Format a p value."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the counts of verdicts in one sentence; controls are counted separately."""
    inferential = [v for v in verdicts if v.kind in INFERENTIAL and v.verdict != NONE]
    if not inferential:
        return "Nothing is concluded: at smoke scale, or from a single seed, there are no verdicts."
    claims = [v for v in inferential if not v.control]
    within = [v for v in claims if v.source == "lecture"]
    beyond = [v for v in claims if v.source != "lecture"]
    opening = f"of {_many(beyond, 'claim')} beyond it" if within else f"Of {_many(beyond, 'claim')} beyond the lecture"
    parts = [_counted(f"Of {_many(within, 'claim')} of the lecture", within), _counted(opening, beyond)]
    exact = [v for v in verdicts if v.kind == "exact"]
    passed = sum(v.verdict == PASS for v in exact)
    parts.append(f"{passed} of {_many(exact, 'exact check')} passed" if exact else "")
    controls = [v for v in inferential if v.control]
    refuted = sum(v.verdict == REFUTED for v in controls)
    should = "as a control should be" if refuted == len(controls) else "though a control should be"
    parts.append(f"{refuted} of {_many(controls, 'control')} refuted, {should}" if controls else "")
    return "; ".join(part for part in parts if part) + "."


def _many(things: Sequence[Verdict], word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")


def _counted(opening: str, claims: Iterable[Verdict]) -> str:
    count = Counter(v.verdict for v in claims)
    if not count:
        return ""
    words = [f"{count[word]} {word.lower()}" for word in (CONFIRMED, REFUTED, INCONCLUSIVE)]
    return f"{opening}, {words[0]}, {words[1]}, {words[2]}"


def what_remains(verdict: Verdict) -> str:
    """Return the reading of a verdict, why there is none, and how many new seeds would decide it."""
    parts = [verdict.reading if verdict.reading != "undecidable" else "", verdict.undecidable]
    parts.append(f"the true value is {verdict.bound}" if verdict.bound else "")
    if verdict.verdict == INCONCLUSIVE and not verdict.undecidable:
        needed = verdict.seeds_needed
        parts.append(f"{needed} new seeds would decide" if needed else "more than 1000 new seeds would be needed")
    return "; ".join(part for part in parts if part)
