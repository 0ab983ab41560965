"""Numbers this experiment reads off a run."""

from __future__ import annotations

import math

from experiments.core.grid.runs import Run


def gap(run: Run) -> float:
    """Test loss minus the loss on the training samples, both in evaluation mode and on unchanged images."""
    return run["test/loss"] - run["training_test/loss"]


def norm_decades(run: Run) -> float:
    """log10 of the norm of all weights together."""
    norm = run["weight/norm"]
    return math.log10(norm) if norm > 0 else math.nan
