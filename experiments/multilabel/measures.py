"""Numbers of this experiment that the runs do not record themselves."""

from __future__ import annotations

from experiments.core.grid.runs import Run


def test_exact_match_gain(run: Run) -> float:
    """What a threshold chosen on validation samples adds to the exact match of the loss's own rule."""
    return run["test/exact_match/tuned"] - run["test/exact_match"]
