"""Measures of a run, and scores of closed-form least squares on the same split."""

from __future__ import annotations

from typing import Any

from experiments.core.grid.runs import Run
from experiments.core.training.scikit import fitted_score


def test_ols_r2(run: Run) -> float:
    """Test R² of the least squares solution on the training split."""
    return fitted_score(run, "least squares", _least_squares)


def test_r2_minus_ols(run: Run) -> float:
    """Test R² of the last weights, minus that of least squares."""
    return run["final_test/r2"] - test_ols_r2(run)


def diverged(run: Run) -> float:
    """1 if the run diverged (its loss became NaN or infinite), else 0."""
    return float(run.status == "diverged")


def _least_squares() -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()
