"""Which runs one call of `run` means: seeds, directories, whether its verdicts count; and what tuning chooses."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from experiments.core.commands import run as runner
from experiments.core.execution import tuning
from experiments.core.execution.planner import Planner, check_tasks
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import FIRST_SEED
from experiments.core.grid.plan import Options, make_plan


def seeds(plan) -> dict[str, list[int]]:
    return {condition.name: list(found) for condition, found in plan.run_seeds.items()}


def test_each_condition_has_the_seeds_its_claims_ask_for(tiny):
    three, four = [1000, 1001, 1002], [1000, 1001, 1002, 1003]
    assert seeds(tiny.plan()) == {
        "base": three,
        "activation=relu": four,  # of L3, whose n is 4
        "activation=relu,lr=tuned": three,
        "start": three,
        "start,activation=relu": three,
    }


def test_fewer_seeds_hold_for_every_claim_and_more_for_those_that_ask_less(tiny):
    assert set(map(len, seeds(tiny.plan(seeds=2)).values())) == {2}
    assert set(map(len, seeds(tiny.plan(seeds=1)).values())) == {1}
    assert set(map(len, seeds(tiny.plan(seeds=7)).values())) == {7}
    assert set(map(len, seeds(tiny.plan(scale="smoke")).values())) == {2}
    assert set(map(len, seeds(tiny.plan(scale="full")).values())) == {20}


@pytest.mark.parametrize(
    ("choice", "place"),
    [
        ({}, "tiny"),
        ({"data": "digits"}, "tiny"),
        ({"scale": "smoke"}, "tiny-smoke"),
        ({"data": "wine"}, "tiny-wine"),
        ({"data": "wine", "scale": "full"}, "tiny-wine-full"),
        ({"seeds": 3}, "tiny"),
        ({"seeds": 5}, "tiny-seeds=5"),
        ({"scale": "smoke", "seeds": 2}, "tiny-smoke"),
        ({"scale": "smoke", "seeds": 3}, "tiny-smoke-seeds=3"),
        ({"jobs": 7, "logger": "csv"}, "tiny"),
    ],
    ids=str,
)
def test_only_what_differs_stands_in_the_name_of_the_directory(tiny, choice, place):
    tiny.write("wine.yaml", "data: {class_path: Digits}")
    tiny.edit("experiment.py", 'data=("digits",)', 'data=("digits", "wine")')
    assert tiny.plan(**choice).directory == Path("runs") / place
    assert tiny.plan(**choice, runs=Path("elsewhere")).directory == Path("elsewhere") / place


QUICK = ("architectures", "augmentation", "vanishing")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in catalogue.names()],
)
def test_every_condition_of_every_experiment_can_be_asked_for_at_full_scale(name):
    plan = make_plan(name, Options(scale="full"))
    assert plan.grid.data == "fashion_mnist" or "fashion_mnist" not in plan.grid.experiment.data
    planner, values, seeds = Planner(plan), tuning.untuned(plan), plan.run_seeds
    for condition in plan.grid.conditions:
        tuned = {plan.tuned_axis: values[condition]} if condition in values else {}
        assert planner.config(condition, tuned)["seed_everything"] == FIRST_SEED
        assert len(seeds[condition]) >= 20


def test_a_scale_may_take_another_data_set_unless_one_is_asked_for(tiny):
    tiny.write("wine.yaml", "data: {class_path: Digits}")
    tiny.edit("experiment.py", 'data=("digits",)', 'data=("digits", "wine"), scale_data={"full": "wine"}')
    assert [tiny.plan(scale=scale).grid.data for scale in ("smoke", "quick", "full")] == ["digits", "digits", "wine"]
    assert tiny.plan(scale="full").directory == Path("runs/tiny-wine-full")
    assert tiny.plan(scale="full", data="digits").grid.data == "digits"


def test_overrides_have_a_place_of_their_own(tiny):
    one, two = "--model.depth=3", "--model.width=4"
    places = {tiny.plan(overrides=o).directory for o in [(), (one,), (two,), (one, two)]}
    assert len(places) == 4
    assert tiny.plan(overrides=(one, two)).directory == tiny.plan(overrides=(two, one)).directory
    assert all(place.name.startswith("tiny-") for place in places - {Path("runs/tiny")})


def test_only_the_frozen_conditions_are_official(tiny):
    assert tiny.plan().official
    assert not tiny.plan(scale="smoke").official
    assert not tiny.plan(scale="full").official
    assert not tiny.plan(overrides=("--model.depth=3",)).official


def test_smoke_and_a_single_seed_conclude_nothing(tiny):
    assert tiny.plan().gives_verdicts
    assert tiny.plan(seeds=2).gives_verdicts
    assert not tiny.plan(seeds=1).gives_verdicts
    assert not tiny.plan(scale="smoke").gives_verdicts


def test_planning_writes_nothing(tiny, here):
    tiny.plan(overrides=("--model.depth=3",))
    assert not list(here.iterdir())


def test_the_command_repeats_the_plan(tiny, monkeypatch):
    plan = tiny.plan(scale="smoke", seeds=5, overrides=("--model.depth=3",))
    understood = []
    monkeypatch.setattr(runner, "run", lambda name, choice: understood.append(make_plan(name, choice)) or 0)
    assert tiny.call(*plan.command.removeprefix("python -m experiments ").split()).code == 0
    assert understood == [plan]


def test_checks_have_one_task_a_seed(tiny):
    directories = [str(task.directory) for task in check_tasks(tiny.plan())]
    assert directories == ["runs/tiny/check=zero/seed=1000", "runs/tiny/check=zero/seed=1001"]
    assert len(check_tasks(tiny.plan(seeds=1))) == 1


def condition(plan, **overrides):
    return plan.grid.condition(overrides)


def test_a_task_holds_the_config_of_its_run(tiny):
    plan = tiny.plan(scale="smoke", logger="csv", overrides=("--data.num_train=128",))
    place = plan.directory / "x"
    one, two = Planner(plan).tasks(condition(plan, activation="relu", lr="tuned"), [1000, 1001], {"lr": 0.25}, place)
    model, data, trainer = one.config["model"]["init_args"], one.config["data"]["init_args"], one.config["trainer"]
    assert (model["depth"], model["activation"], model["lr"]) == (2, "relu", 0.25)
    assert (data["batch_size"], data["num_train"]) == (32, 128)
    assert trainer["max_epochs"] == 1  # of smoke.yaml
    assert trainer["logger"]["class_path"].endswith(".CSVLogger")
    assert (one.seed, one.directory) == (1000, place / "seed=1000")
    assert one.config == two.config
    assert one.config_hash != two.config_hash


def test_the_state_of_a_task_is_read_from_its_files(tiny):
    plan = tiny.plan(logger="csv")
    (task,) = Planner(plan).tasks(condition(plan), [1000], {}, plan.directory / "base")
    assert task.state == "missing"
    task.directory.mkdir(parents=True)
    result = task.directory / "result.json"
    good = {"status": "ok", "config_hash": task.config_hash}
    for content, state in [
        ("", "missing"),
        ("[1]", "missing"),
        (json.dumps(good), "missing"),  # the logger's file is not there
        (json.dumps({**good, "status": "failed"}), "outdated"),
        (json.dumps({**good, "config_hash": "another"}), "outdated"),
    ]:
        result.write_text(content)
        assert task.state == state
    (task.directory / "csv").mkdir()
    (task.directory / "csv" / "metrics.csv").touch()
    for status in ("ok", "diverged"):
        result.write_text(json.dumps({**good, "status": status}))
        assert task.state == "finished"


# What tuning chooses.


def score(task, value: float | None, status: str = "ok") -> None:
    task.directory.mkdir(parents=True)
    (task.directory / "result.json").write_text(json.dumps({"status": status, "measures": {"val/loss": value}}))


@pytest.fixture
def trials(tiny):
    plan = tiny.plan()
    return plan, tuning.trials(plan, Planner(plan))


def test_every_candidate_is_tried_on_the_tuning_seeds(trials):
    plan, tried = trials
    assert {trial.condition.name for trial in tried} == {"activation=relu,lr=tuned"}
    assert [trial.value for trial in tried] == [1e-6, 0.1, 1e30]
    assert [[task.seed for task in trial.tasks] for trial in tried] == [[900, 901]] * 3
    assert [trial.tasks[0].directory.parent.name for trial in tried] == [
        "activation=relu,lr=1e-06",
        "activation=relu,lr=0.1",
        "activation=relu,lr=1e+30",
    ]
    assert all(task.config["model"]["init_args"]["lr"] == 0.1 for task in tried[1].tasks)
    evaluation = {seed for found in plan.run_seeds.values() for seed in found}
    assert evaluation.isdisjoint({900, 901})


@pytest.mark.parametrize(
    ("losses", "best", "at_edge"),
    [
        ([(2.0, 2.0), (1.0, 1.2), (1.4, 1.4)], 0.1, "0"),
        ([(2.0, 2.0), (0.1, 3.0), (1.4, 1.4)], 1e30, "1"),  # the mean decides, not the best seed
        ([(1.0, 1.0), (1.2, 1.2), (1.4, 1.4)], 1e-6, "1"),
        ([(2.0, 2.0), (0.1, None), (1.4, 1.4)], 1e30, "1"),  # a loss that is no number
        ([(2.0, 2.0), (0.1, "diverged"), (2.1, 2.1)], 1e-6, "1"),
        ([(2.0, 2.0), (0.1, "missing"), (2.1, 2.1)], 1e-6, "1"),
    ],
    ids=str,
)
def test_the_smallest_mean_validation_loss_is_chosen(trials, losses, best, at_edge):
    plan, tried = trials
    for trial, pair in zip(tried, losses, strict=True):
        for task, loss in zip(trial.tasks, pair, strict=True):
            if loss != "missing":
                score(task, 0.1 if loss == "diverged" else loss, "diverged" if loss == "diverged" else "ok")
    relu = condition(plan, activation="relu", lr="tuned")
    assert tuning.choose(plan, tried) == {relu: best}
    with (plan.directory / "tuning.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == [1e-6, 0.1, 1e30]
    assert [(float(row["lr"]), row["at_edge"]) for row in rows if row["chosen"] == "1"] == [(best, at_edge)]
    for row, pair in zip(rows, losses, strict=True):
        sound = all(isinstance(loss, float) for loss in pair)
        assert float(row["val/loss"]) == (pytest.approx(sum(pair) / 2) if sound else math.inf)
    assert tuning.read_chosen(plan) == {relu: best}


def test_where_nothing_is_concluded_nothing_is_tuned(tiny):
    plan = tiny.plan(scale="smoke")
    assert tuning.trials(plan, Planner(plan)) == []
    relu = condition(plan, activation="relu", lr="tuned")
    assert tuning.choose(plan, []) == tuning.read_chosen(plan) == {relu: 0.1}
    assert not plan.directory.exists()


def test_a_condition_without_candidates_is_refused(tiny):
    tiny.edit("experiment.py", 'axes(activation="relu", lr="tuned")', 'axes(activation="tanh", lr="tuned")')
    answer = tiny.run()
    assert answer.code == 2
    said = "condition 'activation=tanh,lr=tuned' asks for tuning, which has no candidates for it"
    assert answer.err == f"error: experiments/tiny/experiment.py: {said}\n"
