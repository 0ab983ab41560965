"""The checks with right and wrong formulas, the theory against known values, the measures on made-up runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from sklearn.linear_model import LinearRegression
from torch import nn

from datamodules import Diabetes
from experiments.core.definitions import CHECKED
from experiments.core.files import run_directory
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.regression import checks, measures, theory

EXPERIMENT = catalogue.load("regression")


@pytest.mark.parametrize("claim", [c for c in EXPERIMENT.claims if c.kind in CHECKED], ids=lambda c: c.id)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_checks_pass(claim, seed):
    found = getattr(checks, claim.check)(seed)
    assert found["draws"] >= 200
    assert found["error"] <= claim.tolerance


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("squared_error", lambda prediction, y: (prediction - y).abs()),
        ("squared_error", lambda prediction, y: 2 * (prediction - y).square()),
        ("squared_error", lambda prediction, y: (prediction + y).square()),
        ("absolute_error", lambda prediction, y: (prediction - y).square()),
    ],
)
def test_another_cost_is_not_the_likelihoods(name, wrong, monkeypatch):
    monkeypatch.setattr(checks, name, wrong)
    assert checks.least_squares_is_likelihood(0)["error"] > 1e-3


def test_another_activation_is_not_the_slides(monkeypatch):
    monkeypatch.setattr(checks.nn, "Tanh", nn.Sigmoid)
    assert checks.two_layer_network(0)["error"] > 1e-3


def test_a_check_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    checks.two_layer_network(3)
    assert torch.equal(state, torch.get_rng_state())


@pytest.fixture(scope="module")
def simulated():
    return [checks.mean_against_median(seed) for seed in range(3)]


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_the_simulation_agrees_with_theory_at_every_size(simulated, law):
    for n in checks.SIZES:
        mean = np.mean([found[f"{law}/ratio/{n}"] for found in simulated])
        # Three seeds of 4,000: a relative error of about 1 %.
        assert mean == pytest.approx(theory.variance_ratio(law, n), rel=0.05)


def test_what_is_claimed_is_about_the_largest_size(simulated):
    for found in simulated:
        for law in theory.LAWS:
            assert found[f"{law}/doublings"] == pytest.approx(math.log2(found[f"{law}/ratio/201"]), rel=1e-12)
        assert found["gaussian/theory_error"] == pytest.approx(found["gaussian/ratio/201"] * math.pi / 2 - 1, rel=1e-9)
        assert found["laplace/theory_error"] == pytest.approx(found["laplace/ratio/201"] / 2 - 1, rel=1e-9)
        assert "student/theory_error" not in found
    assert simulated[0] != simulated[1]
    assert simulated[0] == checks.mean_against_median(0)


def test_wrong_noise_would_be_seen(monkeypatch):
    monkeypatch.setattr(checks, "NOISES", {"gaussian": checks.NOISES["laplace"]})
    assert abs(checks.mean_against_median(0)["gaussian/theory_error"]) > 0.5


def test_limits_of_the_ratio():
    assert theory.limit_ratio("gaussian") == pytest.approx(2 / math.pi, rel=1e-12)
    assert theory.limit_ratio("laplace") == pytest.approx(2.0, rel=1e-12)
    assert math.isinf(theory.limit_ratio("student"))
    for law in ("gaussian", "laplace"):
        assert theory.variance_ratio(law, 5001) == pytest.approx(theory.limit_ratio(law), rel=0.03)


def test_variance_of_a_median():
    # Of five standard normal numbers: tables of order statistics have .28683.
    assert theory.median_variance("gaussian", 5) == pytest.approx(0.28683, abs=1e-4)
    draws = stats.laplace.rvs(size=(200_000, 7), random_state=0)
    assert theory.median_variance("laplace", 7) == pytest.approx(np.median(draws, axis=1).var(), rel=0.02)


def made_up(directory: Path, status: str = "ok", **recorded: float) -> Run:
    content = {"data": {"class_path": "Diabetes", "init_args": {"batch_size": "full"}}, "seed_everything": 1003}
    (directory / run_directory.CONFIG).write_text(yaml.safe_dump(content), encoding="utf-8")
    named = {name.replace("__", "/"): value for name, value in recorded.items()}
    return Run(Condition(()), 1003, directory, {}, {"status": status, "measures": named})


def test_r2_is_compared_with_least_squares_on_the_same_split(tmp_path):
    data = Diabetes(batch_size="full", seed=1003)
    data.setup()
    fitted = LinearRegression().fit(data.train[0], data.train[1])
    expected = fitted.score(data.test[0], data.test[1])
    run = made_up(tmp_path, final_test__r2=0.4, test__r2=0.1)
    assert measures.test_ols_r2(run) == pytest.approx(expected, abs=1e-6)
    # Of the last step, not of the best: least squares is where training goes.
    assert measures.test_r2_minus_ols(run) == pytest.approx(0.4 - expected, abs=1e-6)


def test_divergence_is_an_outcome(tmp_path):
    assert measures.diverged(made_up(tmp_path, "diverged")) == 1.0
    assert measures.diverged(made_up(tmp_path, "ok")) == 0.0
