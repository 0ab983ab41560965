"""Numbers this experiment reads off a run, beside scikit-learn's classifiers on the same split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from experiments.core.grid.runs import Run
from experiments.core.training.scikit import fitted_score

# The overlays of small tables: of images and texts, scikit-learn's scores are not asked for.
TABLES = ("iris", "wine", "breast_cancer", "digits_table")


def test_logistic(run: Run) -> float:
    """Test accuracy of logistic regression, scikit-learn's default; nan where the data are no small table."""
    return _score(run, "logistic regression")


def test_forest(run: Run) -> float:
    """Test accuracy of a random forest of 100 trees, scikit-learn's default; nan where the data are no small table."""
    return _score(run, "random forest")


def test_minus_logistic(run: Run) -> float:
    """Test accuracy minus that of logistic regression."""
    return _difference(run["test/accuracy"], test_logistic(run))


def test_minus_forest(run: Run) -> float:
    """Test accuracy minus that of the random forest."""
    return _difference(run["test/accuracy"], test_forest(run))


def test_shift_loss(run: Run) -> float:
    """Test accuracy minus that on samples shifted by two pixels or characters."""
    return run["test/accuracy"] - run["test/accuracy/shifted=2"]


def permutation_interaction(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: what the first network is better by, minus the same on rearranged inputs.

    The conditions are, in this order: first network, second network, and both on rearranged inputs.
    """
    (_, first), (_, second), (_, first_rearranged), (_, second_rearranged) = points
    return (first - second) - (first_rearranged - second_rearranged)


def _difference(accuracy: float, other: float) -> float:
    """Difference of two shares of a small sample; single precision must not make equal ones look different."""
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
