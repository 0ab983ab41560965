"""Numbers this experiment reads off a run, and what a seed's runs over all learning rates say together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from experiments.core.grid.runs import Run

# The loss of a guess among ten classes.
GUESS = math.log(10)
# Training losses between which the held-out loss is read off, and the one at which: there the network has learnt most
# of its samples, and the loss on others falls no more.
BAND = (0.3, 0.5)
COMPARED_AT = 0.4


def failed(run: Run) -> float:
    """1 if the training loss of the last epoch is no better than a guess, or is no number; else 0."""
    return float(not (run.status == "ok" and run["train/loss"] < GUESS))


def log10_largest_norm(run: Run) -> float:
    """log10 of the largest norm of the gradient before clipping, over all steps whose gradient is finite."""
    norms = [value for *_, value in run.series("gradient/norm_before") if math.isfinite(value) and value > 0]
    return math.log10(max(norms)) if norms else math.nan


def best_val_loss(run: Run) -> float:
    """The smallest validation loss of all looks."""
    seen = [value for *_, value in run.series("val/loss") if math.isfinite(value)]
    return min(seen, default=math.nan)


def val_loss_at_equal_training(run: Run) -> float:
    """Validation loss at a training loss of 0.4, off a line through the epochs whose training loss is near it.

    Infinite where the training loss does not fall through all of 0.5 … 0.3: the line would end before.
    """
    trained = {epoch: value for epoch, _, value in run.series("train/loss")}
    seen = {epoch: value for epoch, _, value in run.series("val/loss")}
    pairs = [(loss, seen[epoch]) for epoch, loss in trained.items() if epoch in seen and BAND[0] <= loss <= BAND[1]]
    if len({loss for loss, _ in pairs}) < 3 or min(trained.values()) > BAND[0]:
        return math.inf
    x, y = zip(*pairs, strict=True)
    return float(np.polyfit(np.array(x) - COMPARED_AT, y, 1)[1])


def log10_lr_gain(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of `failed` over learning rates: decades by which the largest that works is larger with clipping.

    The largest learning rate that works is the largest of the grid below the first that fails; where even the smallest
    fails, it counts as one step of the grid smaller.
    """
    arms: dict[str, dict[float, float]] = {"clipped": {}, "unclipped": {}}
    for run, value in points:
        arms[str(run.settings["config"])][float(run.settings["lr"])] = value
    return largest_working(arms["clipped"]) - largest_working(arms["unclipped"])


def largest_working(failures: dict[float, float]) -> float:
    """log10 of the largest learning rate below the first that fails.

    Args:
        failures: 1 or 0 for each learning rate of the grid.
    """
    rates = sorted(failures)
    below = [rate for index, rate in enumerate(rates) if not any(failures[r] for r in rates[: index + 1])]
    step = math.log10(rates[1] / rates[0]) if len(rates) > 1 else 0.0
    return math.log10(below[-1]) if below else math.log10(rates[0]) - step
