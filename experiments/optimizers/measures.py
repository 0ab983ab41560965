"""Where a training ends, how soon it gets to a loss, and how many variants are ahead of plain gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.core.grid.runs import Run

# Smallest lead that counts, in nats.
LEAD = 0.02


def final_loss(run: Run) -> float:
    """Cross-entropy of the last weights on the first 1,000 training samples, in evaluation mode."""
    return run["sample/loss"]


def decades_to_target(run: Run) -> float:
    """log10 of the steps until that loss was first at or below the target; of all its steps if it never was."""
    steps = run["target/steps"]
    return math.log10(steps) if steps > 0 else math.nan


def arrived(run: Run) -> float:
    """1 if that loss was ever at or below the target, else 0; a run that diverged counts as one that was not."""
    return float(run.status == "ok" and run["target/arrived"] == 1)


def variants_ahead(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: how many of the later conditions have a loss more than LEAD below that of the first."""
    (_, plain), *variants = points
    return float(sum(loss < plain - LEAD for _, loss in variants))


def spread_minus_gain(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: largest minus smallest of the later conditions, minus by how much their mean is below the first."""
    (_, plain), *variants = points
    losses = [loss for _, loss in variants]
    return (max(losses) - min(losses)) - (plain - sum(losses) / len(losses))
