"""Test scores of the architectures and of scikit-learn on the same splits."""

from __future__ import annotations

import math
from typing import Any

from experiments.core.grid.runs import Run
from experiments.core.training.scikit import fitted_score


def test_score(run: Run) -> float:
    """Test accuracy for classes, test R² for numbers."""
    accuracy = run["test/accuracy"]
    return run["test/r2"] if math.isnan(accuracy) else accuracy


def reference_score(run: Run) -> float:
    """Test score of scikit-learn's estimator, fitted to the same training split; nan if there is no estimator."""
    config = str(run.condition.overrides.get("config", "base"))
    return fitted_score(run, config, lambda: _estimator(config))


def test_score_minus_reference(run: Run) -> float:
    """Test score minus that of scikit-learn's estimator."""
    return test_score(run) - reference_score(run)


def loss_decades(run: Run) -> float:
    """log10 of the training loss at the end of training."""
    loss = run["train/loss"]
    return math.log10(loss) if loss > 0 else -math.inf


def _estimator(config: str) -> Any:
    # Imported here, because the imports take a second and only this experiment needs them.
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
