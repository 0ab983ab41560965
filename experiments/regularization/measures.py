"""Measures of a run."""

from __future__ import annotations

import math

from experiments.core.grid.runs import Run


def gap(run: Run) -> float:
    """Test loss minus training loss, both in evaluation mode and without augmentation."""
    return run["test/loss"] - run["training_test/loss"]


def norm_decades(run: Run) -> float:
    """log10 of the norm of all weights."""
    norm = run["weight/norm"]
    return math.log10(norm) if norm > 0 else math.nan
