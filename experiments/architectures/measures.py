"""Scores of the architectures, and those of scikit-learn on the same splits."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import yaml

from experiments.core import records
from experiments.core.results import Run

FITTED = "scikit-learn.json"


def test_score(run: Run) -> float:
    """Accuracy of classes, R² of numbers, on the test sample."""
    accuracy = run["test/accuracy"]
    return run["test/r2"] if math.isnan(accuracy) else accuracy


def reference_score(run: Run) -> float:
    """The same score of scikit-learn's estimator, fitted to the same training split; nan where there is none."""
    return _reference(str(run.condition.overrides.get("config", "base")), run.directory)


def test_score_minus_reference(run: Run) -> float:
    """Score minus that of scikit-learn's estimator."""
    return test_score(run) - reference_score(run)


def loss_decades(run: Run) -> float:
    """log10 of the loss at the end of training."""
    loss = run["train/loss"]
    return math.log10(loss) if loss > 0 else -math.inf


def _estimator(config: str) -> Any:
    # Imported here: they cost a second that only this experiment needs.
    from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    return {
        "base": MLPClassifier((64,), learning_rate_init=0.003, max_iter=60, tol=0.0, random_state=0),
        "perceptron": Perceptron(random_state=0),
        "linear_regression": LinearRegression(),
        "softmax_regression": LogisticRegression(max_iter=1000),
        "linear_stack": LogisticRegression(max_iter=1000),
        "two_layer": LinearRegression(),
        "modular": MLPClassifier((64, 32), "tanh", learning_rate_init=0.003, max_iter=60, tol=0.0, random_state=0),
        "convolutional": SVC(),
    }.get(config)


def _reference(config: str, directory: Path) -> float:
    """Fit scikit-learn's estimator, or read what an earlier call left: it lives and dies with the run's directory."""
    import sklearn

    kept = records.read_json(directory / FITTED)
    if kept.get("version") != sklearn.__version__:
        kept = {"version": sklearn.__version__, "score": _fit(config, directory)}
        records.write_json(directory / FITTED, kept)
    return math.nan if kept["score"] is None else float(kept["score"])


def _fit(config: str, directory: Path) -> float:
    from sklearn.exceptions import ConvergenceWarning

    from experiments.core.classes import find_class

    estimator = _estimator(config)
    if estimator is None:
        return math.nan
    stored = yaml.safe_load((directory / records.CONFIG).read_text(encoding="utf-8"))
    section = stored["data"]
    data: Any = find_class("data", section["class_path"])(**section["init_args"], seed=stored["seed_everything"])
    data.setup()
    (x, y), (test_x, test_y) = data.train, data.test
    with warnings.catch_warnings():
        # Sixty epochs are the budget of a network here, not a failure to converge.
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        estimator.fit(x.flatten(1).numpy(), y.squeeze(-1).numpy() if y.dim() > 1 else y.numpy())
    return float(estimator.score(test_x.flatten(1).numpy(), test_y.numpy()))
