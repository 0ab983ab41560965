"""Numbers this experiment reads off a run, and what it compares at equal training loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.core.grid.runs import Run

# Validation accuracy that "trained" means: near what a linear classifier of the digits reaches.
TARGET = 0.9
CHANGE, RANGE = "landscape/gradient_change/1", "landscape/loss_range"

Point = tuple[Run, float]


def log2_steps_to_target(run: Run) -> float:
    """log2 of the steps after which the validation accuracy is first at the target; of all steps if it never is.

    Looked at after each epoch of 20 steps: a time is rounded up to whole epochs.
    """
    return math.log2(_arrival(run) or max(1, int(run.result["steps"])))


def reached_target(run: Run) -> float:
    """1 if the validation accuracy was at the target after some epoch, else 0."""
    return float(_arrival(run) is not None)


def _arrival(run: Run) -> int | None:
    return next((step for _, step, accuracy in run.series("val/accuracy") if accuracy >= TARGET), None)


def first_minus_last(points: Sequence[Point]) -> float:
    """Contrast: what the first condition has more than the last."""
    return points[0][1] - points[-1][1]


def growth_with_depth(points: Sequence[Point]) -> float:
    """Contrast: what depth adds to the measure with normalisation, minus what it adds without."""
    value = {(run.settings["normalization"] != "none", int(run.settings["depth"])): v for run, v in points}
    deep, shallow = max(depth for _, depth in value), min(depth for _, depth in value)
    return (value[True, deep] - value[True, shallow]) - (value[False, deep] - value[False, shallow])


def log2_gradient_change(run: Run) -> float:
    """log2 of the relative change of the gradient over a move of one learning rate, averaged over the training."""
    return _mean_log2(run, CHANGE)


def log2_loss_range(run: Run) -> float:
    """log2 of the range of the loss over moves of up to four learning rates, averaged over the training."""
    return _mean_log2(run, RANGE)


def _mean_log2(run: Run, name: str) -> float:
    values = [math.log2(value) for _, _, value in run.series(name) if value > 0]
    return sum(values) / len(values) if values else math.nan


def matched_gradient_change(points: Sequence[Point]) -> float:
    """Contrast: log2 of the gradient's change in the first condition over that in the last, at equal training loss."""
    return _matched(points[0][0], points[-1][0], CHANGE)


def matched_loss_range(points: Sequence[Point]) -> float:
    """Contrast: log2 of the loss's range in the first condition over that in the last, at equal training loss."""
    return _matched(points[0][0], points[-1][0], RANGE)


def largest_matched_change(points: Sequence[Point]) -> float:
    """Contrast: the largest `matched_gradient_change` of any condition against the last: all have less if negative."""
    return max(_matched(run, points[-1][0], CHANGE) for run, _ in points[:-1])


def _matched(run: Run, reference: Run, name: str) -> float:
    """Mean difference of log2 over the octaves of the batch's loss that both runs went through."""
    ours, theirs = by_octave(run, name), by_octave(reference, name)
    shared = sorted(set(ours) & set(theirs))
    return float(np.mean([ours[octave] - theirs[octave] for octave in shared])) if shared else math.nan


def by_octave(run: Run, name: str) -> dict[int, float]:
    """Mean log2 of a landscape metric by the octave of the loss at which it was recorded: -1 is from ½ to 1."""
    loss = {step: value for _, step, value in run.series("landscape/loss")}
    found: dict[int, list[float]] = {}
    for _, step, value in run.series(name):
        if value > 0 and loss[step] > 0 and math.isfinite(value):
            found.setdefault(math.floor(math.log2(loss[step])), []).append(math.log2(value))
    return {octave: sum(values) / len(values) for octave, values in found.items()}


def changed_predictions(run: Run) -> float:
    """Share of the training samples whose predicted class differs between the modes, in the second half of training."""
    shares = [share for _, _, share in run.series("modes/changed")]
    half = shares[len(shares) // 2 :]
    return sum(half) / len(half) if half else math.nan
