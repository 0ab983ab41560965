"""The measures and contrasts on made-up runs with known answers, and the definition at a glance."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from experiments.core.definitions import TUNED
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.optimizers import measures
from lightning_modules.optimization import OPTIMIZERS


def made_up(status: str = "ok", **recorded: float) -> Run:
    names = {name.replace("_", "/"): value for name, value in recorded.items()}
    return Run(Condition(()), 1000, Path("nowhere"), {}, {"status": status, "measures": names})


def points(*values: float) -> list[tuple[Run, float]]:
    return [(made_up(), value) for value in values]


def test_the_final_loss_is_that_of_the_fixed_samples():
    assert measures.final_loss(made_up(sample_loss=0.25, train_loss=9.0, val_loss=8.0)) == 0.25


def test_steps_to_the_target_in_decades():
    assert measures.decades_to_target(made_up(target_steps=100)) == pytest.approx(2)
    assert math.isnan(measures.decades_to_target(made_up(target_steps=0)))
    assert math.isnan(measures.decades_to_target(made_up()))


@pytest.mark.parametrize(("status", "reached", "expected"), [("ok", 1, 1), ("ok", 0, 0), ("diverged", 1, 0)])
def test_a_run_that_diverged_did_not_arrive(status, reached, expected):
    assert measures.arrived(made_up(status, target_arrived=reached)) == expected


@pytest.mark.parametrize(
    ("values", "ahead"),
    [
        ((0.5, 0.4, 0.3), 2),
        ((0.5, 0.49, 0.47), 1),
        # Exactly the lead is not enough.
        ((0.5, 0.48), 0),
        ((0.5, 0.6, 0.5), 0),
        # A diverged variant is not ahead; of a diverged plain descent, all are.
        ((0.5, 2.303, 0.1), 1),
        ((2.303, 0.4, 0.4, 0.4), 3),
    ],
)
def test_variants_ahead_of_the_first(values, ahead):
    assert measures.variants_ahead(points(*values)) == ahead


def test_the_spread_of_the_others_against_their_gain():
    # Spread .1, mean .3, gain .2.
    assert measures.spread_minus_gain(points(0.5, 0.25, 0.35, 0.3)) == pytest.approx(-0.1)
    # No gain at all: the spread remains.
    assert measures.spread_minus_gain(points(0.3, 0.2, 0.4)) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def plan() -> Any:
    return make_plan("optimizers", Options())


def test_eleven_variants_and_plain_descent_have_equal_trials(plan):
    tuning = plan.grid.experiment.tuning
    assert {condition.overrides["lr"] for condition in plan.grid.conditions} == {TUNED}
    short = [c for c in plan.grid.conditions if "config" not in c.overrides]
    kinds = {(s["optimizer"], s.get("momentum"), s.get("nesterov")) for s in map(plan.grid.settings, short)}
    assert len(short) == len(kinds) == 12
    assert {kind[0] for kind in kinds} == set(tuning.candidates) == set(OPTIMIZERS)
    assert len({len(values) for values in tuning.candidates.values()}) == 1
    assert tuning.minimize.startswith("val/")
    assert len(tuning.seeds) == 3
    assert set(tuning.seeds).isdisjoint(range(1000, 1030))


def test_the_count_is_over_all_variants_with_plain_descent_first(plan):
    (claim,) = [c for c in plan.grid.experiment.claims if c.contrast == "variants_ahead"]
    used = [plan.grid.find(overrides, claim.id) for overrides in claim.used_conditions]
    assert used[0].name == "lr=tuned"
    assert set(used) == {c for c in plan.grid.conditions if "config" not in c.overrides}
    assert claim.above == (len(used) - 1) / 2
    assert claim.resolution == 1


def test_budgets_differ_in_time_and_decay_alone(plan):
    short, long = (plan.grid.settings(plan.grid.condition({"lr": TUNED, **o})) for o in ({}, {"config": "decayed"}))
    changed = {name for name in short if short[name] != long[name]}
    assert changed == {"schedule", "max_epochs"}
    assert (short["schedule"], long["schedule"]) == ("constant", "linear")
    steps = short["num_train"] // short["batch_size"]
    assert (steps * short["max_epochs"], steps * long["max_epochs"]) == (200, 400)


def test_the_lead_of_the_count_is_that_of_the_claims(plan):
    losses = [c for c in plan.grid.experiment.claims if c.measure == "final_loss" and c.below is not None]
    assert {claim.below for claim in losses} == {-measures.LEAD}


def test_exactly_one_control(plan):
    assert [claim.id for claim in plan.grid.experiment.claims if claim.control] == ["L53-control"]
