"""The measures on made-up runs with known answers, the check against torch and wrong schedules, the definition."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.core.definitions import TUNED
from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.one_cycle import checks, measures


def made_up(schedule: str = "one_cycle", steps: int = 50, directory: Path = Path("nowhere"), **recorded: float) -> Run:
    names = {name.replace("_", "/"): value for name, value in recorded.items()}
    return Run(
        Condition(()), 1000, directory, {"schedule": schedule}, {"status": "ok", "steps": steps, "measures": names}
    )


def with_losses(directory: Path, losses: dict[int, float], steps: int = 1000) -> Run:
    rows = [(0, step, "input/loss", loss) for step, loss in losses.items()]
    run_directory.append_metrics(directory / run_directory.METRICS, [*rows, (0, 3, "val/loss", 1e-9)])
    return made_up(steps=steps, directory=directory)


def test_final_decades_are_those_of_the_last_loss():
    assert measures.final_decades(made_up(val_loss=1e-3, train_loss=1.0)) == pytest.approx(-3)
    assert math.isnan(measures.final_decades(made_up()))


def test_the_first_step_at_the_target_counts(tmp_path):
    run = with_losses(tmp_path, {0: 2.0, 5: 0.011, 10: 0.01, 15: 0.5, 20: 0.001})
    assert measures.decades_to_target(run) == pytest.approx(1)
    assert measures.arrived(run) == 1


def test_without_arrival_all_steps_count(tmp_path):
    run = with_losses(tmp_path, {0: 2.0, 5: 0.02}, steps=100)
    assert measures.decades_to_target(run) == pytest.approx(2)
    assert measures.arrived(run) == 0


def test_at_the_target_from_the_start(tmp_path):
    assert measures.decades_to_target(with_losses(tmp_path, {0: 0.001})) == 0


def test_accuracy_above_chance():
    assert measures.accuracy_above_chance(made_up(test_accuracy=0.35)) == pytest.approx(0.25)


def points(schedule: str, decades: dict[int, float]) -> list[tuple[Run, float]]:
    return [(made_up(schedule, steps), value) for steps, value in decades.items()]


@pytest.mark.parametrize(
    ("cycle", "other", "ratio"),
    [
        ({50: -1.0, 100: -2.5, 200: -3.0}, {50: -2.1, 100: -2.0, 200: -4.0}, 2.0),
        ({50: -2.0, 100: -1.0}, {50: 0.0, 100: -2.0}, 0.5),
        # The smallest budget counts, also where a larger one misses; exactly the target is enough.
        ({50: -1.0, 75: -2.0, 100: -1.0}, {50: -1.0, 75: -2.0, 100: -3.0}, 1.0),
        ({50: -1.0, 200: -1.5}, {50: -1.0, 200: -2.5}, 2.0),
        ({50: -1.0}, {50: math.inf}, 1.0),
    ],
)
def test_the_budget_saved_is_the_ratio_of_the_smallest_budgets(cycle, other, ratio):
    mixed = [*points("constant", other), *points("one_cycle", cycle)]
    assert measures.budget_saved(mixed) == pytest.approx(math.log10(ratio))


def test_what_never_reaches_the_target_counts_as_twice_the_largest_budget(plan):
    conditions = [
        c for claim in plan.grid.experiment.claims if claim.contrast == "budget_saved" for c in claim.conditions
    ]
    settings = [plan.grid.settings(plan.grid.condition(overrides)) for overrides in conditions]
    steps = {1200 // s["batch_size"] * s["max_epochs"] for s in settings}
    assert steps == {50, 75, 100, 200}
    assert 2 * max(steps) == measures.NEVER == measures.smallest_budget([])


# The check


@pytest.mark.parametrize("seed", [1000, 1001, 1009])
def test_the_cycle_has_the_ends_it_should(seed):
    numbers = checks.ends_of_the_cycle(seed)
    assert 0 <= numbers["error"] <= 1e-12
    assert numbers["draws"] >= 200


@pytest.mark.parametrize("total", [10, 150, 1000])
@pytest.mark.parametrize("given", [0.5, 1e-3, 7.0])
def test_torch_overwrites_the_rate_that_the_optimiser_was_given(total, given):
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=given)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, epochs=total, steps_per_epoch=1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 / checks.DIV_FACTOR, rel=1e-12)
    for _ in range(total - 1):
        optimizer.step()
        schedule.step()
    last = 0.5 / checks.DIV_FACTOR / checks.FINAL_DIV_FACTOR
    assert optimizer.param_groups[0]["lr"] == pytest.approx(last, rel=1e-9)


@pytest.mark.parametrize("wrong", [lambda _step: 1.0, lambda step: 1 / 25 if step == 0 else 0.0])
def test_the_check_notices_another_schedule(monkeypatch, wrong):
    other = torch.optim.lr_scheduler.LambdaLR
    monkeypatch.setattr(checks, "build_schedule", lambda optimizer, *_: other(optimizer, wrong))
    assert checks.ends_of_the_cycle(1000)["error"] > 0.5


# The definition


@pytest.fixture(scope="module")
def plan() -> Any:
    return make_plan("one_cycle", Options())


def test_schedules_that_are_compared_have_the_same_trials(plan):
    tuning = plan.grid.experiment.tuning
    tuned = [c for c in plan.grid.conditions if c.overrides.get("lr") == TUNED]
    assert tuning.by == "config"
    assert {c.overrides.get("config", "") for c in tuned} == set(tuning.candidates)
    assert len({len(values) for values in tuning.candidates.values()}) == 1
    assert len(tuning.seeds) == 3
    assert set(tuning.seeds).isdisjoint(range(1000, 1030))
    for config in tuning.candidates:
        kinds = {plan.grid.settings(c)["schedule"] for c in tuned if c.overrides.get("config", "") == config}
        assert {"one_cycle", "constant", "cosine"} <= kinds


def test_budgets_differ_in_time_alone(plan):
    base = plan.grid.settings(plan.grid.condition({"lr": TUNED}))
    for config in ("steps_75", "steps_100", "steps_200"):
        other = plan.grid.settings(plan.grid.condition({"config": config, "lr": TUNED}))
        assert {name for name in base if base[name] != other.get(name)} == {"max_epochs", "check_val_every_n_epoch"}
        # The only validation is the last, which is about the noise as the run leaves it.
        assert other["check_val_every_n_epoch"] == other["max_epochs"]
        assert 25 * other["max_epochs"] == int(config.removeprefix("steps_"))


def test_the_pictures_are_of_the_slides_run(plan):
    settings = plan.grid.settings(plan.grid.condition({"config": "pictures"}))
    assert {k: settings[k] for k in ("optimizer", "lr", "schedule")} == {
        "optimizer": "adamw",
        "lr": 0.5,
        "schedule": "one_cycle",
    }
    assert 1200 // settings["batch_size"] * settings["max_epochs"] == 1000


def test_no_two_seeds_of_a_claim_share_test_images(plan):
    weights = plan.grid.settings(plan.grid.condition({"config": "weights", "lr": TUNED}))
    most = max(claim.n for claim in plan.grid.experiment.claims if claim.measure.startswith("test/"))
    assert most * weights["num_test"] <= 10_000


def test_exactly_one_control(plan):
    assert [claim.id for claim in plan.grid.experiment.claims if claim.control] == ["L57-control"]
