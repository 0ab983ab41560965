"""Numbers and verdicts as text, the same in figures, page and terminal."""

from __future__ import annotations

from experiments.core.verdicts import Verdict


def interval_of(verdict: Verdict) -> tuple[float | None, float | None]:
    """The interval that decides; where nothing is decided, the plain 95 % one."""
    if verdict.ci_low is not None:
        return verdict.ci_low, verdict.ci_high
    return verdict.ci95_low, verdict.ci95_high


def numbers(verdict: Verdict) -> str:
    """Effect, interval and threshold of an inferential verdict as text."""
    low, high = interval_of(verdict)
    parts = ["" if verdict.effect is None else number(verdict.effect)]
    parts += [] if low is None or high is None else [f"[{number(low)}, {number(high)}]"]
    return "  ".join([*parts, threshold_words(verdict)])


def threshold_words(verdict: Verdict) -> str:
    """The threshold of a verdict as text: `> 0.05`, `within ±0.1`, `error ≤ 1e-12`."""
    if verdict.threshold is None:
        return ""
    if isinstance(verdict.threshold, tuple):
        return f"within ±{verdict.threshold[1]:g}"
    word = {"above": ">", "below": "<", "within": "error ≤"}[verdict.direction]
    return f"{word} {verdict.threshold:g}".replace("< -", "< −")


def number(value: float) -> str:
    """A number of a table, three decimals and a true minus sign."""
    return f"{value:.3f}".replace("-0.000", "0.000").replace("-", "−")
