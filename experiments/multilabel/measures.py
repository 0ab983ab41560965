"""Measures of this experiment beyond the recorded ones."""

from __future__ import annotations

from experiments.core.grid.runs import Run


def test_exact_match_gain(run: Run) -> float:
    """Exact match with the threshold chosen on the validation sample, minus exact match with the default rule."""
    return run["test/exact_match/tuned"] - run["test/exact_match"]
