"""Measures of a run: final loss and steps to a target; and contrasts with plain gradient descent."""

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
    """log10 of the steps until the loss of `final_loss` first reached the target; of all steps if it never did."""
    steps = run["target/steps"]
    return math.log10(steps) if steps > 0 else math.nan


def arrived(run: Run) -> float:
    """1 if the loss of `final_loss` ever reached the target, else 0; a diverged run counts as 0."""
    return float(run.status == "ok" and run["target/arrived"] == 1)


def variants_ahead(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: number of later conditions whose loss is more than LEAD below that of the first."""
    (_, plain), *variants = points
    return float(sum(loss < plain - LEAD for _, loss in variants))


def spread_minus_gain(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: range of the later conditions' losses, minus the gain (first loss minus mean of the later losses)."""
    (_, plain), *variants = points
    losses = [loss for _, loss in variants]
    return (max(losses) - min(losses)) - (plain - sum(losses) / len(losses))
