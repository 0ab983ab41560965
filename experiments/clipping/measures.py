"""Measures of a run, and contrasts over the learning rates of one seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.core.grid.runs import Run

# Cross-entropy of guessing among ten classes.
GUESS = math.log(10)
# Range of training losses of the fitted line, and the training loss at which the validation loss is compared. There the
# network has learnt most of its samples, and the validation loss no longer falls.
BAND = (0.3, 0.5)
COMPARED_AT = 0.4


def failed(run: Run) -> float:
    """1 if the training loss of the last epoch is no better than guessing or not finite, else 0."""
    return float(not (run.status == "ok" and run["train/loss"] < GUESS))


def log10_largest_norm(run: Run) -> float:
    """log10 of the largest norm of the gradient before clipping, over all steps with a finite gradient."""
    norms = [value for *_, value in run.series("gradient/norm_before") if math.isfinite(value) and value > 0]
    return math.log10(max(norms)) if norms else math.nan


def best_val_loss(run: Run) -> float:
    """Smallest validation loss of the run."""
    seen = [value for *_, value in run.series("val/loss") if math.isfinite(value)]
    return min(seen, default=math.nan)


def val_loss_at_equal_training(run: Run) -> float:
    """Validation loss at a training loss of 0.4, from a line fitted to the epochs with training losses of 0.3 to 0.5.

    Infinite if the training loss does not fall below 0.3, or fewer than three epochs are in this range.
    """
    trained = {epoch: value for epoch, _, value in run.series("train/loss")}
    seen = {epoch: value for epoch, _, value in run.series("val/loss")}
    pairs = [(loss, seen[epoch]) for epoch, loss in trained.items() if epoch in seen and BAND[0] <= loss <= BAND[1]]
    if len({loss for loss, _ in pairs}) < 3 or min(trained.values()) > BAND[0]:
        return math.inf
    x, y = zip(*pairs, strict=True)
    return float(np.polyfit(np.array(x) - COMPARED_AT, y, 1)[1])


def log10_lr_gain(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of `failed` over learning rates: decades by which clipping raises the largest rate that works.

    The largest rate that works is the last of the grid before the first that fails. If the smallest fails, it is one
    grid step below the smallest.
    """
    arms: dict[str, dict[float, float]] = {"clipped": {}, "unclipped": {}}
    for run, value in points:
        arms[str(run.settings["config"])][float(run.settings["lr"])] = value
    return largest_working(arms["clipped"]) - largest_working(arms["unclipped"])


def largest_working(failures: dict[float, float]) -> float:
    """log10 of the largest learning rate that works; see `log10_lr_gain`.

    Args:
        failures: 1 or 0 for each learning rate of the grid.
    """
    rates = sorted(failures)
    below = [rate for index, rate in enumerate(rates) if not any(failures[r] for r in rates[: index + 1])]
    step = math.log10(rates[1] / rates[0]) if len(rates) > 1 else 0.0
    return math.log10(below[-1]) if below else math.log10(rates[0]) - step
