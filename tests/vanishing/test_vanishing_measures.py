"""The measures on made-up runs with known answers, the checks with right and wrong formulas, the grid at a glance."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import pytest
from torch import nn

from experiments.core.definitions import INFERENTIAL, TUNED
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.core.verdicts import measures as core
from experiments.vanishing import checks, measures, theory

SETTINGS = {
    "activation": "sigmoid",
    "initialization": "default",
    "normalization": "none",
    "residual": False,
    "gain": 1.0,
    "depth": 5,
    "width": 64,
}


def made_up(recorded: dict[str, float | None], **settings) -> Run:
    result = {"status": "ok", "measures": recorded}
    return Run(Condition(()), 1000, Path("nowhere"), {**SETTINGS, **settings}, result)


def by_layer(name: str, values) -> dict[str, float]:
    return {f"{name}/layer_{k:02d}": value for k, value in enumerate(values, start=1)}


def deltas(*values: float) -> Run:
    return made_up(by_layer("initial/gradient/delta_a", values), depth=len(values))


def test_decades_per_layer_are_negative_where_the_gradient_vanishes():
    """Layer 1 is nearest the input: 1e-4 there and 1e-1 in the fourth is a factor of ten a layer."""
    assert measures.delta_decades_per_layer(deltas(1e-4, 1e-3, 1e-2, 1e-1)) == pytest.approx(-1.0)
    assert measures.delta_decades_per_layer(deltas(4.0, 2.0, 1.0)) == pytest.approx(math.log10(2))
    # Only the ends count, whatever lies between.
    assert measures.delta_decades_per_layer(deltas(1e-2, 7.0, 1.0)) == pytest.approx(-1.0)
    assert math.isnan(measures.delta_decades_per_layer(deltas(1.0)))
    assert math.isnan(measures.delta_decades_per_layer(deltas(0.0, 1.0)))


def test_twelve_layers_are_in_the_order_of_their_numbers():
    run = deltas(*(10.0**k for k in range(12)))
    assert measures.delta_decades_per_layer(run) == pytest.approx(-1.0)


def test_weight_decades_leave_the_output_layer_out():
    recorded = by_layer("initial/gradient/weight", [1e-3, 1e-2, 1e-1])
    assert measures.weight_decades_per_layer(
        made_up({**recorded, "initial/gradient/weight/output": 50.0})
    ) == pytest.approx(-1)


def test_only_the_initial_gradient_counts():
    recorded = by_layer("initial/gradient/delta_a", [1e-2, 1.0]) | by_layer("gradient/delta_a", [5.0, 1.0])
    assert measures.delta_decades_per_layer(made_up(recorded)) == pytest.approx(-2.0)


def test_drift_is_the_rate_near_the_input_minus_that_near_the_output():
    assert measures.decay_drift(deltas(*(10.0**k for k in range(10)))) == pytest.approx(0.0, abs=1e-12)
    # Five layers: half a decade a layer from 1 to 3, two decades a layer from 3 to 5.
    assert measures.decay_drift(deltas(1.0, 10**0.5, 10.0, 1e3, 1e5)) == pytest.approx(-0.5 + 2.0)
    assert math.isnan(measures.decay_drift(deltas(1.0, 2.0, 3.0)))


def test_the_prediction_takes_the_mean_square_of_the_first_layer():
    recorded = {"initial/activation/mean/layer_01": 0.3, "initial/activation/std/layer_01": 0.4}
    expected = theory.decay_factor("sigmoid", 1 / 3, 1 / (3 * 64), first_variance=0.25, depth=5)
    assert measures.predicted_decades_per_layer(made_up(recorded)) == pytest.approx(math.log10(expected), rel=1e-12)
    he = made_up(recorded, activation="relu", initialization="he", gain=3.0)
    assert measures.predicted_decades_per_layer(he) == pytest.approx(math.log10(3.0), rel=1e-9)


@pytest.mark.parametrize(
    "setting",
    [
        {"normalization": "batch"},
        {"residual": True},
        {"depth": 1},
        {"activation": "gelu"},
        {"initialization": "orthogonal"},
    ],
    ids=str,
)
def test_where_the_theory_says_nothing_the_prediction_is_nan(setting):
    recorded = {"initial/activation/mean/layer_01": 0.3, "initial/activation/std/layer_01": 0.4}
    assert math.isnan(measures.predicted_decades_per_layer(made_up(recorded, **setting)))
    assert math.isnan(measures.predicted_decades_per_layer(made_up({})))


def test_the_rate_error_is_relative():
    start = {"initial/activation/mean/layer_01": 0.0, "initial/activation/std/layer_01": 1.0}
    recorded = {**start, **by_layer("initial/gradient/delta_a", [1.1**2, 1.1, 1.0])}
    run = made_up(recorded, activation="identity", initialization="xavier", depth=3)
    assert measures.decay_rate_error(run) == pytest.approx(0.1, rel=1e-9)


def test_saturation_compares_the_outer_bin_with_the_inner():
    names = ("initial/saturation/delta_a/6-8", "initial/saturation/delta_a/0-1")
    slopes = ("initial/saturation/derivative/6-8", "initial/saturation/derivative/0-1")
    run = made_up({names[0]: 2e-3, names[1]: 2.0, slopes[0]: 1e-3, slopes[1]: 0.25})
    assert measures.saturated_gradient_decades(run) == pytest.approx(-3.0)
    assert measures.saturated_derivative_decades(run) == pytest.approx(math.log10(1e-3 / 0.25))
    assert measures.saturation_error(run) == pytest.approx(-3.0 - math.log10(4e-3))
    assert math.isnan(measures.saturated_gradient_decades(made_up({names[0]: None, names[1]: 2.0})))


@pytest.mark.parametrize(("accuracy", "left"), [(0.1, 0.0), (0.5, 0.0), (0.51, 1.0), (1.0, 1.0), (None, 0.0)])
def test_leaving_the_plateau_is_more_than_half_right_in_the_last_epoch(accuracy, left):
    run = made_up({"train/accuracy": accuracy, "test/accuracy": 1.0, "val/accuracy": 1.0})
    assert measures.left_plateau(run) == left


def test_dead_units_are_those_at_the_end_averaged_over_layers():
    recorded = by_layer("activation/dead", [0.0, 0.5]) | by_layer("initial/activation/dead", [1.0, 1.0])
    assert measures.dead_units(made_up(recorded)) == 0.25
    assert math.isnan(measures.dead_units(made_up({})))


@pytest.mark.parametrize(("values", "largest"), [((0.1, -0.3, 0.2), -0.3), ((0.1, -0.05, 0.3), 0.3), ((-0.2,), -0.2)])
def test_the_largest_deviation_keeps_its_sign(values, largest):
    assert core.largest_deviation([(None, value) for value in values]) == largest


# Checks


CHECKS = {"active_relu_derivative": 0.0, "sigmoid_identities": 1e-12}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("seed", [1000, 1001, 1009])
def test_checks_find_no_error(name, seed):
    numbers = getattr(checks, name)(seed)
    assert 0 <= numbers["error"] <= CHECKS[name]
    assert numbers["draws"] >= 1000


@pytest.mark.parametrize("name", CHECKS)
def test_checks_are_functions_of_the_seed(name):
    check = getattr(checks, name)
    assert check(1000) == check(1000)
    assert checks._draws(1000, 1.0).tolist() != checks._draws(1001, 1.0).tolist()


class Steeper(nn.Module):
    """A sigmoid of 1.001 times the argument: right at 0, wrong elsewhere."""

    def forward(self, a):
        return (1.001 * a).sigmoid()


class Shifted(nn.Module):
    """A sigmoid that is not 1/2 at 0."""

    def forward(self, a):
        return a.sigmoid() + 1e-9


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("active_relu_derivative", nn.LeakyReLU(1e-6)),
        ("active_relu_derivative", nn.ELU()),
        ("active_relu_derivative", nn.SiLU()),
        ("sigmoid_identities", Steeper()),
        ("sigmoid_identities", Shifted()),
        ("sigmoid_identities", nn.Tanh()),
        ("sigmoid_identities", nn.Hardsigmoid()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_checks_notice_a_wrong_formula(monkeypatch, name, wrong):
    monkeypatch.setattr(checks, "activation", lambda _: wrong)
    assert getattr(checks, name)(1000)["error"] > 100 * CHECKS[name] + 1e-10


# The definition


@pytest.fixture(scope="module")
def plan():
    return make_plan("vanishing", Options())


def test_every_name_in_the_definition_exists(plan):
    experiment = plan.grid.experiment
    functions = dict(inspect.getmembers(core, inspect.isfunction)) | dict(
        inspect.getmembers(measures, inspect.isfunction)
    )
    recorded = {"test/accuracy"}
    for name in [*experiment.measures, *(claim.measure for claim in experiment.claims if claim.measure)]:
        assert name in functions or name in recorded
    for claim in experiment.claims:
        assert not claim.contrast or claim.contrast in functions
        assert not claim.check or callable(getattr(checks, claim.check))
        assert claim.statement != claim.statement_fr
        assert claim.lecture_line[0] == "L"
        assert claim.lecture_line[1:].isdigit()


def test_every_experiment_that_can_conclude_has_a_control_and_ten_claims(plan):
    claims = plan.grid.experiment.claims
    assert sum(claim.kind in INFERENTIAL for claim in claims) >= 10
    assert any(claim.control for claim in claims)


def test_quick_trains_at_most_sixteen_conditions(plan):
    trained = [c for c in plan.grid.conditions if plan.grid.settings(c).get("limit_val_batches") != 0]
    assert len(trained) <= 16


def test_means_rest_on_ten_seeds_and_proportions_on_thirty(plan):
    for claim in plan.grid.experiment.claims:
        if claim.kind in INFERENTIAL:
            assert claim.n == (30 if claim.kind == "proportion" else 10), claim.id
    lengths = {len(seeds) for seeds in plan.run_seeds.values()}
    assert lengths == {10, 30}
    assert all(seeds.start == 1000 for seeds in plan.run_seeds.values())
    few = make_plan("vanishing", Options(seeds=2))
    assert {len(seeds) for seeds in few.run_seeds.values()} == {2}


def test_measurements_at_initialisation_are_of_one_step(plan):
    start = [c for c in plan.grid.conditions if c.overrides.get("config") == "initialization"]
    assert len(start) >= 12
    for condition in start:
        settings = plan.grid.settings(condition)
        assert (settings["max_steps"], settings["limit_val_batches"]) == (1, 0)
        assert settings["batch_size"] == 256


def test_each_activation_has_as_many_trials_at_rates_of_its_own(plan):
    tuning = plan.grid.experiment.tuning
    asking = {plan.grid.settings(c)[tuning.by] for c in plan.grid.conditions if c.overrides.get(tuning.axis) == TUNED}
    assert asking == set(tuning.candidates) == {"sigmoid", "relu"}
    assert len(tuning.seeds) == 3
    assert set(tuning.seeds).isdisjoint(range(1000, 1030))
    assert tuning.minimize.startswith("val/")


@pytest.mark.parametrize("scale", catalogue.SCALES)
@pytest.mark.parametrize("data", ["digits", "fashion_mnist"])
def test_the_claims_name_conditions_at_every_scale_and_on_all_data(scale, data):
    grid = make_plan("vanishing", Options(scale=scale, data=data)).grid
    assert {condition.name for condition in make_plan("vanishing", Options()).grid.conditions} <= {
        condition.name for condition in grid.conditions
    }
    assert (data == "digits") == all(path.stem != "fashion_mnist" for path in grid.files(grid.conditions[0]))
