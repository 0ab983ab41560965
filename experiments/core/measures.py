"""Measures every experiment can use; an experiment's own are in its `measures.py`. One run in, one number out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.core.results import Run


def best_validation_loss(run: Run) -> float:
    """Lowest validation loss of the run's epochs."""
    return min((value for *_, value in run.series("val/loss")), default=float("nan"))
