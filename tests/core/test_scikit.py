"""scikit-learn's score on a run's split: the truth, fitted once, kept with the run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from datamodules import Diabetes, Iris
from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.training import scikit


def run_on(directory: Path, data: str, seed: int) -> Run:
    directory.mkdir(parents=True, exist_ok=True)
    content = {"data": {"class_path": data, "init_args": {"batch_size": 30}}, "seed_everything": seed}
    (directory / run_directory.CONFIG).write_text(yaml.safe_dump(content), encoding="utf-8")
    return Run(Condition(()), seed, directory, {}, {"status": "ok", "measures": {}})


def refuse() -> Any:
    raise ZeroDivisionError


def test_r2_of_the_same_split(tmp_path: Path) -> None:
    data = Diabetes(batch_size=30, seed=1003)
    data.setup()
    fitted = LinearRegression().fit(data.train[0], data.train[1])
    score = scikit.fitted_score(run_on(tmp_path, "Diabetes", 1003), "least squares", LinearRegression)
    assert score == pytest.approx(fitted.score(data.test[0], data.test[1]), abs=1e-6)


def test_accuracy_of_the_same_split(tmp_path: Path) -> None:
    data = Iris(batch_size=30, seed=1005)
    data.setup()
    fitted = LogisticRegression().fit(data.train[0], data.train[1])
    score = scikit.fitted_score(run_on(tmp_path, "Iris", 1005), "logistic", LogisticRegression)
    assert score == fitted.score(data.test[0], data.test[1])


def test_each_estimator_is_fitted_once(tmp_path: Path) -> None:
    run = run_on(tmp_path, "Diabetes", 1003)
    first = scikit.fitted_score(run, "least squares", LinearRegression)
    mean = scikit.fitted_score(run, "mean", DummyRegressor)
    assert mean < 0.1 < first
    assert scikit.fitted_score(run, "least squares", refuse) == first
    assert scikit.fitted_score(run, "mean", refuse) == mean
    # Of another version of scikit-learn, or damaged, it is fitted again.
    for content in ('{"version": "0.1", "scores": {"mean": 0.5}}', "{"):
        (tmp_path / scikit.FITTED).write_text(content, encoding="utf-8")
        with pytest.raises(ZeroDivisionError):
            scikit.fitted_score(run, "mean", refuse)


def test_without_counterpart_there_is_no_score(tmp_path: Path) -> None:
    assert math.isnan(scikit.fitted_score(run_on(tmp_path, "Iris", 1000), "none", lambda: None))
