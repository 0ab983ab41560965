"""Measures of a run, and scores of scikit-learn's classifiers on the same split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from experiments.core.grid.runs import Run
from experiments.core.training.scikit import fitted_score

# Overlays of small tables; scikit-learn's scores are not computed for images and texts.
TABLES = ("iris", "wine", "breast_cancer", "digits_table")


def test_logistic(run: Run) -> float:
    """Test accuracy of scikit-learn's default logistic regression; nan if the data are not a small table."""
    return _score(run, "logistic regression")


def test_forest(run: Run) -> float:
    """Test accuracy of scikit-learn's default random forest of 100 trees; nan if the data are not a small table."""
    return _score(run, "random forest")


def test_minus_logistic(run: Run) -> float:
    """Test accuracy minus that of logistic regression."""
    return _difference(run["test/accuracy"], test_logistic(run))


def test_minus_forest(run: Run) -> float:
    """Test accuracy minus that of the random forest."""
    return _difference(run["test/accuracy"], test_forest(run))


def test_shift_loss(run: Run) -> float:
    """Test accuracy minus test accuracy on samples shifted by two pixels or characters."""
    return run["test/accuracy"] - run["test/accuracy/shifted=2"]


def permutation_interaction(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: difference between two networks minus the difference between them on permuted inputs.

    The order of the conditions is: first network, second network, first and second on permuted inputs.
    """
    (_, first), (_, second), (_, first_rearranged), (_, second_rearranged) = points
    return (first - second) - (first_rearranged - second_rearranged)


def _difference(accuracy: float, other: float) -> float:
    """Difference of two shares, rounded because equal shares can differ in single precision."""
    return round(accuracy - other, 6)


def _score(run: Run, name: str) -> float:
    if run.condition.overrides.get("config") not in TABLES:
        return math.nan
    return fitted_score(run, name, lambda: _estimator(name, run.seed))


def _estimator(name: str, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "random forest":
        return RandomForestClassifier(random_state=seed)
    return LogisticRegression(max_iter=1000)
