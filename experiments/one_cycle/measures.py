"""Where an optimisation ends, how soon it gets there, and what total budget a schedule needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.core.grid.runs import Run

# Mean squared difference of the network's ten outputs for the noise and for the image it should be like.
TARGET = 0.01
# A schedule that reaches the target on none of the budgets tried: twice the largest.
NEVER = 400
CHANCE = 0.1


def final_decades(run: Run) -> float:
    """log10 of the last validation loss: of an image, which has no other sample, the loss of the noise itself."""
    loss = run["val/loss"]
    return math.log10(loss) if loss > 0 else math.nan


def decades_to_target(run: Run) -> float:
    """log10 of the first recorded step whose loss is at most the target; of all steps if none is."""
    step = _first_arrival(run)
    return math.log10(max(step, 1) if step is not None else run.result["steps"])


def arrived(run: Run) -> float:
    """1 if the loss was at most the target at any recorded step, else 0."""
    return float(_first_arrival(run) is not None)


def accuracy_above_chance(run: Run) -> float:
    """Test accuracy minus what guessing among ten classes gets."""
    return run["test/accuracy"] - CHANCE


def smallest_budget(points: Sequence[tuple[Run, float]]) -> int:
    """The fewest steps of a run that ended at most at the target, or NEVER; the value is log10 of the final loss."""
    reached = [int(run.result["steps"]) for run, decades in points if decades <= math.log10(TARGET)]
    return min(reached, default=NEVER)


def budget_saved(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: log10 of the smallest budget of one cycle over that of the other schedule; negative if it saves."""
    cycle = [point for point in points if point[0].settings["schedule"] == "one_cycle"]
    other = [point for point in points if point[0].settings["schedule"] != "one_cycle"]
    return math.log10(smallest_budget(cycle) / smallest_budget(other))


def _first_arrival(run: Run) -> int | None:
    return next((step for _, step, loss in run.series("input/loss") if loss <= TARGET), None)
