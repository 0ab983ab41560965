"""The measures on made-up runs with known answers, and the checks against enumeration, autograd and wrong formulas."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datamodules.loader import Order, Samples, ordered_loader
from experiments.batch_size import checks, measures
from experiments.core.definitions import TUNED
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from lightning_modules.fully_connected import FullyConnectedNetwork


def made_up(size: int | str = 64, status: str = "ok", **recorded: float) -> Run:
    names = {f"target/{name}": value for name, value in recorded.items()}
    result = {"status": status, "measures": names, "data": {"train": 1200}, "wall_seconds": 0.5}
    return Run(Condition(()), 1000, Path("nowhere"), {"batch_size": size}, result)


def test_each_way_of_counting():
    run = made_up(steps=1000, samples=64000, arrived=1)
    assert measures.steps_to_target(run) == 1000
    assert measures.samples_to_target(run) == 64000
    assert measures.decades_of_steps(run) == pytest.approx(3)
    assert measures.decades_of_samples(run) == pytest.approx(math.log10(64000))
    assert measures.seconds(run) == 0.5
    assert measures.decades_of_seconds(run) == pytest.approx(math.log10(0.5))
    assert math.isnan(measures.decades_of_steps(made_up(steps=0)))


@pytest.mark.parametrize(("status", "reached", "expected"), [("ok", 1, 1), ("ok", 0, 0), ("diverged", 1, 0)])
def test_a_run_that_diverged_did_not_arrive(status, reached, expected):
    assert measures.arrived(made_up(status=status, arrived=reached)) == expected


def test_full_is_the_number_of_training_samples():
    assert measures.batch_size(made_up("full")) == 1200
    assert measures.batch_size(made_up(16)) == 16


def points(values: dict[int | str, float]) -> list[tuple[Run, float]]:
    return [(made_up(size), value) for size, value in values.items()]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({1: 9.0, 4: 5.0, "full": 1.0}, -1.0),
        ({"full": 7.0, 1: 1.0, 64: 2.0}, 1.0),
        # Ranks 1 2 3 against 1 3 2: 1 - 6·2/(3·8).
        ({1: 1.0, 4: 3.0, 16: 2.0}, 0.5),
        ({1: 3.0, 4: 3.0, 16: 3.0}, 0.0),
    ],
)
def test_the_rank_correlation_is_with_the_number_of_samples(values, expected):
    assert measures.rank_correlation_with_batch_size(points(values)) == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 7, 64, 99, 100])
def test_samples_used_are_those_of_the_loader(size):
    loader = ordered_loader(Samples((torch.zeros(100, 2), torch.zeros(100))), Order(100, batch_size=size, seed=0))
    used, step = 0, 0
    assert measures.samples_after(0, size, 100) == 0
    for _ in range(3):
        for x, _ in loader:
            used, step = used + len(x), step + 1
            assert measures.samples_after(step, size, 100) == used


# Checks


def network() -> FullyConnectedNetwork:
    return FullyConnectedNetwork(6, 3, [4], seed=0, activation="tanh").double()


def samples(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=draws, dtype=torch.float64), torch.randint(3, (n,), generator=draws)


def test_sample_gradients_are_those_of_autograd():
    some, (x, y) = network(), samples(5)
    found = checks.sample_gradients(some, x, y)
    for row, inputs, label in zip(found, x, y, strict=True):
        some.zero_grad()
        F.cross_entropy(some(inputs[None]), label[None]).backward()
        truth = torch.cat([p.grad.flatten() for p in some.parameters()])
        torch.testing.assert_close(row, truth, atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_the_theory_of_drawing_without_replacement_by_enumeration(size):
    deviations = checks.sample_gradients(network(), *samples(6))
    deviations -= deviations.mean(0)
    every = [deviations[list(rows)].mean(0).square().sum().item() for rows in itertools.combinations(range(6), size)]
    single = deviations.square().sum(1).mean().item()
    assert np.mean(every) == pytest.approx(single / size * (6 - size) / 5, abs=1e-12)


def test_drawn_variances_approach_it():
    deviations = checks.sample_gradients(network(), *samples(40)).float()
    deviations -= deviations.mean(0)
    single = deviations.square().sum(1).mean().item()
    for size in (1, 4, 20):
        found = checks._variance(deviations, size, torch.Generator().manual_seed(1))
        assert found == pytest.approx(single / size * (40 - size) / 39, rel=0.25)
    assert checks._variance(deviations, 40, torch.Generator().manual_seed(1)) == pytest.approx(0, abs=1e-12)


@pytest.fixture(scope="module")
def variance() -> dict[str, float]:
    return checks.gradient_variance(1000)


def test_the_variance_falls_as_one_over_the_size(variance):
    assert abs(variance["slope_error"]) < 0.05
    sizes = [f"{size:04d}" for size in checks.SIZES]
    for size in sizes:
        assert variance[f"variance/{size}"] == pytest.approx(variance[f"theory/{size}"], rel=0.25)
    decades = np.log10([variance[f"variance/{size}"] for size in sizes[:4]])
    steps = np.log10([1, 4, 16, 64])
    slope = ((steps - steps.mean()) * (decades - decades.mean())).sum() / ((steps - steps.mean()) ** 2).sum()
    assert variance["slope_error"] == pytest.approx(slope + 1, rel=1e-6)


def test_checks_are_functions_of_the_seed(variance):
    assert checks.gradient_variance(1000) == variance
    assert checks.gradient_variance(1001) != variance


def test_a_sum_in_place_of_the_mean_has_another_slope(monkeypatch):
    mean = checks._variance
    monkeypatch.setattr(checks, "_variance", lambda rows, size, draws: size**2 * mean(rows, size, draws))
    assert checks.gradient_variance(1000)["slope_error"] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("seed", [1000, 1009])
def test_the_mean_of_batch_gradients_is_the_gradient(seed):
    numbers = checks.batch_gradients(seed)
    assert numbers["error"] <= 1e-12
    assert numbers["draws"] >= 200


def test_the_check_notices_batches_of_another_loss(monkeypatch):
    whole = checks.gradient
    monkeypatch.setattr(checks, "gradient", lambda n, x, y: whole(n, x, y) * (1 + 1e-6 * len(x)))
    assert checks.batch_gradients(1000)["error"] > 1e-8


# The definition


@pytest.fixture(scope="module")
def plan() -> Any:
    return make_plan("batch_size", Options())


def test_every_batch_size_has_as_many_trials_on_seeds_of_their_own(plan):
    tuning = plan.grid.experiment.tuning
    sizes = {plan.grid.settings(condition)["batch_size"] for condition in plan.grid.conditions}
    assert set(tuning.candidates) == sizes == {1, 4, 16, 64, 256, "full"}
    assert all(condition.overrides["lr"] == TUNED for condition in plan.grid.conditions)
    assert len(tuning.seeds) == 3
    assert set(tuning.seeds).isdisjoint(range(1000, 1030))


def test_a_run_that_never_arrives_costs_at_least_its_budget(plan):
    settings = plan.grid.settings(plan.grid.conditions[0])
    for claim in plan.grid.experiment.claims:
        if claim.arrived:
            spent = settings["max_steps"] * (1200 if "samples" in claim.measure else 1)
            assert claim.if_diverged in (spent, pytest.approx(math.log10(spent), abs=0.01)), claim.id


def test_the_control_is_the_opposite_of_a_claim(plan):
    claims = {claim.id: claim for claim in plan.grid.experiment.claims}
    assert [claim.id for claim in claims.values() if claim.control] == ["L52-control"]
    assert claims["L52-control"].below == -claims["L52-samples-rise"].above
