"""Measures of a run, and contrasts at equal training loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.core.grid.runs import Run

# Validation accuracy that counts as trained: close to that of a linear classifier on the digits.
TARGET = 0.9
CHANGE, RANGE = "landscape/gradient_change/1", "landscape/loss_range"

Point = tuple[Run, float]


def log2_steps_to_target(run: Run) -> float:
    """log2 of the steps until the validation accuracy first reaches the target; of all steps if it never does.

    Validation follows each epoch of 20 steps, so the number is rounded up to whole epochs.
    """
    return math.log2(_arrival(run) or max(1, int(run.result["steps"])))


def reached_target(run: Run) -> float:
    """1 if the validation accuracy reached the target after some epoch, else 0."""
    return float(_arrival(run) is not None)


def _arrival(run: Run) -> int | None:
    return next((step for _, step, accuracy in run.series("val/accuracy") if accuracy >= TARGET), None)


def first_minus_last(points: Sequence[Point]) -> float:
    """Contrast: first condition minus last."""
    return points[0][1] - points[-1][1]


def growth_with_depth(points: Sequence[Point]) -> float:
    """Contrast: deep minus shallow with normalisation, minus deep minus shallow without."""
    value = {(run.settings["normalization"] != "none", int(run.settings["depth"])): v for run, v in points}
    deep, shallow = max(depth for _, depth in value), min(depth for _, depth in value)
    return (value[True, deep] - value[True, shallow]) - (value[False, deep] - value[False, shallow])


def log2_gradient_change(run: Run) -> float:
    """Mean over training of log2 of the relative change of the gradient over a move of one learning rate."""
    return _mean_log2(run, CHANGE)


def log2_loss_range(run: Run) -> float:
    """Mean over training of log2 of the range of the loss over moves of up to four learning rates."""
    return _mean_log2(run, RANGE)


def _mean_log2(run: Run, name: str) -> float:
    values = [math.log2(value) for _, _, value in run.series(name) if value > 0]
    return sum(values) / len(values) if values else math.nan


def matched_gradient_change(points: Sequence[Point]) -> float:
    """Contrast: log2 of the gradient's change, first condition minus last, at equal training loss."""
    return _matched(points[0][0], points[-1][0], CHANGE)


def matched_loss_range(points: Sequence[Point]) -> float:
    """Contrast: log2 of the loss range, first condition minus last, at equal training loss."""
    return _matched(points[0][0], points[-1][0], RANGE)


def largest_matched_change(points: Sequence[Point]) -> float:
    """Contrast: largest `matched_gradient_change` of any condition against the last; negative if all are smaller."""
    return max(_matched(run, points[-1][0], CHANGE) for run, _ in points[:-1])


def _matched(run: Run, reference: Run, name: str) -> float:
    """Mean difference of log2 values over the octaves of the batch loss that occur in both runs."""
    ours, theirs = by_octave(run, name), by_octave(reference, name)
    shared = sorted(set(ours) & set(theirs))
    return float(np.mean([ours[octave] - theirs[octave] for octave in shared])) if shared else math.nan


def by_octave(run: Run, name: str) -> dict[int, float]:
    """Mean log2 of a landscape metric for each octave of the loss; octave -1 is from ½ to 1."""
    loss = {step: value for _, step, value in run.series("landscape/loss")}
    found: dict[int, list[float]] = {}
    for _, step, value in run.series(name):
        if value > 0 and loss[step] > 0 and math.isfinite(value):
            found.setdefault(math.floor(math.log2(loss[step])), []).append(math.log2(value))
    return {octave: sum(values) / len(values) for octave, values in found.items()}


def changed_predictions(run: Run) -> float:
    """Share of training samples whose predicted class differs between the modes, in the second half of training."""
    shares = [share for _, _, share in run.series("modes/changed")]
    half = shares[len(shares) // 2 :]
    return sum(half) / len(half) if half else math.nan
