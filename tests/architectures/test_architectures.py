"""The experiment `architectures`: its scores against scikit-learn on the same split, its figure against results.csv."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import scipy.stats
import yaml
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from smoke_results import Shared
from synthetic_results import write_config

import datamodules
from experiments.architectures import measures
from experiments.core.commands import run as runner
from experiments.core.execution.workers import Pool
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.report import pages
from experiments.core.verdicts import reference
from experiments.core.verdicts.results import Results

CONFIGS = sorted(path.stem for path in (catalogue.ROOT / "architectures").glob("*.yaml"))
WITH_COUNTERPART = {
    "perceptron": Perceptron(random_state=0),
    "linear_regression": LinearRegression(),
    "softmax_regression": LogisticRegression(max_iter=1000),
}


def made_up(config: str, directory: Path, seed: int = 1003, **recorded: float) -> Run:
    items = () if config == "base" else (("config", config),)
    named = {name.replace("__", "/"): value for name, value in recorded.items()}
    return Run(Condition(items), seed, directory, {}, {"status": "ok", "measures": named})


@pytest.mark.parametrize("config", WITH_COUNTERPART)
def test_the_reference_is_scikit_learns_on_the_same_split(config, tmp_path):
    write_config(tmp_path, config, 1003)
    content = yaml.safe_load((catalogue.ROOT / "architectures" / f"{config}.yaml").read_text(encoding="utf-8"))
    data = getattr(datamodules, content["data"]["class_path"])(**content["data"]["init_args"], seed=1003)
    data.setup()
    fitted = WITH_COUNTERPART[config].fit(data.train[0].flatten(1), data.train[1].flatten())
    expected = fitted.score(data.test[0].flatten(1), data.test[1].flatten())
    assert measures.reference_score(made_up(config, tmp_path)) == pytest.approx(expected, abs=1e-6)
    run = made_up(config, tmp_path, test__accuracy=0.75)
    assert measures.test_score_minus_reference(run) == pytest.approx(0.75 - expected, abs=1e-6)


def test_the_score_is_the_accuracy_or_r2(tmp_path):
    assert measures.test_score(made_up("base", tmp_path, test__accuracy=0.9, test__loss=0.1)) == 0.9
    assert measures.test_score(made_up("two_layer", tmp_path, test__r2=0.4)) == 0.4
    assert math.isnan(measures.test_score(made_up("input_optimization", tmp_path, test__loss=0.1)))
    assert math.isnan(measures.reference_score(made_up("recurrent", tmp_path)))
    assert measures.loss_decades(made_up("input_optimization", tmp_path, train__loss=1e-3)) == pytest.approx(-3)


@pytest.fixture
def results(shared: Shared) -> Results:
    return shared.of("architectures")


def test_every_condition_has_a_config_of_its_own(results):
    assert sorted(condition.name for condition in results.plan.grid.conditions) == CONFIGS


def test_overlapping_test_samples_widen_a_derived_score(results):
    # Without the correction the interval of a difference of test scores would be too narrow.
    plan = results.plan
    data = {"test": 300, "train": 1200, "disjoint_test": False}
    for condition, seeds in plan.run_seeds.items():
        for seed in seeds:
            path = plan.directory / condition.name / f"seed={seed}" / run_directory.RESULT
            run_directory.write_json(path, {**run_directory.read_result(path.parent), "data": data})
    widened = {sample: one.overlap for sample, one in runner.judge(plan, {}, Pool(jobs=1)).samples.items()}
    assert widened["L25-fully-connected"] == 0.25
    assert widened["L43-recurrent"] == 0.25
    assert widened["L55-input-optimization"] == 0.0


def test_the_declared_measures_are_summed_up_from_results_csv(results):
    found = pages.declared(results)
    assert list(found) == [condition.name for condition in results.plan.grid.conditions]
    for name, measured in found.items():
        assert list(measured) == ["test_score", "reference_score"]
        for measure, (mean, half, n) in measured.items():
            values = results.frame.loc[results.frame["condition"] == name, measure].dropna()
            assert n == len(values)
            if n:
                student = scipy.stats.t.interval(0.95, n - 1, values.mean(), scipy.stats.sem(values))
                assert mean == pytest.approx(values.mean(), rel=1e-12)
                assert mean + half == pytest.approx(student[1], rel=1e-9)
            else:
                assert math.isnan(mean)


def test_only_official_results_become_the_reference(results):
    kept = (catalogue.ROOT / "architectures" / reference.FILE).read_bytes()
    with pytest.raises(UserError, match="only official results are kept as the reference; exploratory: L02-perceptron"):
        pages.keep(results)
    assert (catalogue.ROOT / "architectures" / reference.FILE).read_bytes() == kept
