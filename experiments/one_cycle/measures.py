"""Measures of a run: final loss and steps to a target; and contrasts of the budget that a schedule needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.core.grid.runs import Run

# Mean squared difference between the network's ten outputs for the noise and for the target image.
TARGET = 0.01
# Budget of a schedule that never reaches the target: twice the largest budget of the grid.
NEVER = 400
CHANCE = 0.1


def final_decades(run: Run) -> float:
    """log10 of the last validation loss; when an image is optimised, it is the loss of the noise."""
    loss = run["val/loss"]
    return math.log10(loss) if loss > 0 else math.nan


def decades_to_target(run: Run) -> float:
    """log10 of the first recorded step with a loss at or below the target; of all steps if there is none."""
    step = _first_arrival(run)
    return math.log10(max(step, 1) if step is not None else run.result["steps"])


def arrived(run: Run) -> float:
    """1 if the loss was at or below the target at any recorded step, else 0."""
    return float(_first_arrival(run) is not None)


def accuracy_above_chance(run: Run) -> float:
    """Test accuracy minus that of guessing among ten classes."""
    return run["test/accuracy"] - CHANCE


def smallest_budget(points: Sequence[tuple[Run, float]]) -> int:
    """Fewest steps of the runs that ended at or below the target, or NEVER; the values are log10 of the final loss."""
    reached = [int(run.result["steps"]) for run, decades in points if decades <= math.log10(TARGET)]
    return min(reached, default=NEVER)


def budget_saved(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: log10 of the smallest budget of one cycle / that of the other schedule; negative if one cycle saves."""
    cycle = [point for point in points if point[0].settings["schedule"] == "one_cycle"]
    other = [point for point in points if point[0].settings["schedule"] != "one_cycle"]
    return math.log10(smallest_budget(cycle) / smallest_budget(other))


def _first_arrival(run: Run) -> int | None:
    return next((step for _, step, loss in run.series("input/loss") if loss <= TARGET), None)
