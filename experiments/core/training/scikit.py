"""Scores of scikit-learn's estimators on the split that a run was trained and tested on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from experiments.core.files import run_directory
from experiments.core.files.json import read_json
from experiments.core.grid.runs import Run
from experiments.core.training.rebuild import data_of

FITTED = "scikit-learn.json"


class _Scores(TypedDict):
    version: str
    scores: dict[str, FiniteFloat | None]


def fitted_score(run: Run, name: str, build: Callable[[], Any]) -> float:
    """Fit an estimator to a run's training split and score it on the run's test sample.

    The score is kept in the run's directory, for one version of scikit-learn.

    Args:
        run: a finished run.
        name: identifies the estimator and its settings.
        build: makes the estimator, or returns None if there is no counterpart; called only if a fit is needed.

    Returns:
        Accuracy of a classifier, R² of a regression; nan without counterpart.
    """
    import sklearn

    scores = _kept(run.directory / FITTED, sklearn.__version__)
    if name not in scores:
        scores = {**scores, name: _fit(run, build())}
        run_directory.write_json(run.directory / FITTED, {"version": sklearn.__version__, "scores": scores})
    score = scores[name]
    return math.nan if score is None else score


def _kept(path: Path, version: str) -> dict[str, float | None]:
    try:
        kept = read_json(path, _Scores)
    except (OSError, ValueError):  # missing or damaged
        return {}
    return kept["scores"] if kept["version"] == version else {}


def _fit(run: Run, estimator: Any) -> float | None:
    from sklearn.exceptions import ConvergenceWarning

    if estimator is None:
        return None
    data = data_of(run)
    (x, y), (test_x, test_y) = data.train, data.test
    with warnings.catch_warnings():
        # The number of iterations is a budget, as for a network; reaching it is not a failure.
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        estimator.fit(x.flatten(1).numpy(), y.squeeze(-1).numpy() if y.dim() > 1 else y.numpy())
    return float(estimator.score(test_x.flatten(1).numpy(), test_y.numpy()))
