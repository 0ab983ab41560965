"""Conditions have one name each, whichever way they are written; axes become options of the right section."""

from __future__ import annotations

import copy
import itertools

import pytest

from experiments.core.files.errors import UserError
from experiments.core.grid.conditions import SAFE_NAME, Condition, chosen_values, full_key, laid

SECTIONS = {"model": {"depth", "lr", "seed", "residual"}, "data": {"batch_size", "seed"}, "trainer": {"max_epochs"}}


def test_what_repeats_the_config_below_is_dropped(tiny):
    grid = tiny.plan().grid
    assert grid.condition({}) == grid.condition({"activation": "sigmoid", "depth": 2, "lr": 0.1, "max_epochs": 2})
    assert grid.condition({}).name == "base"
    assert grid.condition({"activation": "relu", "depth": 2}).name == "activation=relu"
    assert grid.condition({"model.depth": 2, "trainer.max_epochs": 2, "data.batch_size": 32}) == grid.condition({})


def test_a_full_key_is_compared_in_its_own_section(tiny):
    tiny.edit("base.yaml", "trainer:", "trainer:\n  limit_val_batches: 32")
    grid = tiny.plan().grid
    assert grid.condition({"data.limit_val_batches": 32}).overrides == {"data.limit_val_batches": 32}
    assert grid.condition({"trainer.limit_val_batches": 32}).name == "base"


def test_the_order_of_overrides_does_not_matter(tiny):
    grid, overrides = tiny.plan().grid, {"config": "start", "activation": "relu", "depth": 4, "lr": "tuned"}
    found = {grid.condition(dict(order)) for order in itertools.permutations(overrides.items())}
    assert [condition.name for condition in found] == ["start,activation=relu,depth=4,lr=tuned"]


def test_an_overlay_is_what_lies_below(tiny):
    grid = tiny.plan().grid
    assert grid.condition({"config": "start", "width": 16}) == grid.condition({"config": "start"})
    assert grid.condition({"config": "start", "width": 8}).name == "start,width=8"


def test_the_overlay_of_the_scale_lies_below_too(tiny):
    """smoke.yaml sets max_epochs to 1: there, 1 changes nothing and base.yaml's own 2 does."""
    quick, smoke = tiny.plan().grid, tiny.plan(scale="smoke").grid
    assert [quick.condition({"max_epochs": n}).name for n in (1, 2)] == ["max_epochs=1", "base"]
    assert [smoke.condition({"max_epochs": n}).name for n in (1, 2)] == ["base", "max_epochs=2"]


def test_a_condition_reached_twice_is_one(tiny):
    tiny.edit("experiment.py", 'axes(activation="relu", lr="tuned"),', 'axes(activation="relu", depth=[2, 3]),')
    names = [condition.name for condition in tiny.plan().grid.conditions]
    assert names == ["base", "activation=relu", "activation=relu,depth=3", "start", "start,activation=relu"]


def test_a_scale_can_add_blocks(tiny):
    tiny.edit("experiment.py", "figures=(),", 'figures=(), scale_grid={"full": [axes(depth=[7])]},')
    assert len(tiny.plan(scale="full").grid.conditions) == len(tiny.plan().grid.conditions) + 1


def test_files_lie_in_the_order_base_data_own_scale_both(tiny):
    for name in ("digits", "digits-smoke"):
        tiny.write(f"{name}.yaml", "trainer: {log_every_n_steps: 1}")
    grid = tiny.plan(scale="smoke").grid
    files = grid.files(grid.condition({"config": "start", "depth": 3}))
    assert [path.stem for path in files] == ["base", "digits", "start", "smoke", "digits-smoke"]


def test_settings_are_what_a_run_runs_with(tiny):
    grid = tiny.plan(scale="smoke").grid
    settings = grid.settings(grid.condition({"config": "start", "activation": "relu", "model.depth": 4}))
    wanted = {"activation": "relu", "depth": 4, "width": 16, "batch_size": 32, "max_epochs": 1, "limit_val_batches": 0}
    assert {name: settings[name] for name in wanted} == wanted


def test_names_are_safe_for_every_file_system(tiny):
    for condition in tiny.plan().grid.conditions:
        assert SAFE_NAME.fullmatch(condition.name)
    assert not SAFE_NAME.fullmatch("a/b")
    assert not SAFE_NAME.fullmatch("a b")
    assert not SAFE_NAME.fullmatch("a:b")


def test_minus_says_only_what_differs(tiny):
    claim = tiny.plan().grid.experiment.claims[0]
    assert claim.used_conditions == [{"activation": "relu"}, {"activation": "sigmoid"}]
    tuned = type(claim)(**{**vars(claim), "where": {"depth": 3, "lr": 0.2}, "minus": {"lr": 0.1}})
    assert tuned.used_conditions == [{"depth": 3, "lr": 0.2}, {"depth": 3, "lr": 0.1}]


def test_values_of_a_condition():
    condition = Condition((("config", "x"), ("lr", "tuned"), ("residual", True), ("trainer.max_epochs", 3)))
    assert chosen_values(condition, {"lr": 0.25}) == {"lr": 0.25, "residual": True, "trainer.max_epochs": 3}


RESOLVED = {
    "seed_everything": 1,
    "model": {"class_path": "M", "init_args": {"depth": 8, "lr": 0.1, "momentum": None}},
    "data": {"class_path": "D", "init_args": {"batch_size": 64}},
    "trainer": {"max_epochs": 3, "callbacks": []},
}


def test_values_are_laid_over_a_resolved_config_which_stays_as_it_was():
    before = copy.deepcopy(RESOLVED)
    values = {"model.init_args.depth": 2, "model.lr": 0.2, "data.batch_size": 8, "trainer.max_epochs": 1}
    config, is_resolved = laid(RESOLVED, values)
    assert is_resolved
    assert before == RESOLVED
    assert config["model"] == {"class_path": "M", "init_args": {"depth": 2, "lr": 0.2, "momentum": None}}
    assert (config["data"]["init_args"], config["trainer"]["max_epochs"]) == ({"batch_size": 8}, 1)


@pytest.mark.parametrize("values", [{"model.lr": 1}, {"model.momentum": 0.9}, {"data.batch_size": "full"}])
def test_a_value_of_another_type_is_left_to_the_parser(values):
    assert not laid(RESOLVED, values)[1]


def test_keys_find_their_section():
    assert full_key("depth", SECTIONS) == "model.depth"
    assert full_key("batch_size", SECTIONS) == "data.batch_size"
    assert full_key("max_epochs", SECTIONS) == "trainer.max_epochs"
    assert full_key("data.anything", SECTIONS) == "data.anything"
    with pytest.raises(UserError, match=r"axis 'seed' is ambiguous: model\.seed, data\.seed"):
        full_key("seed", SECTIONS)
    with pytest.raises(UserError, match="axis 'dpth' is no argument of model, data or trainer; did you mean 'depth'"):
        full_key("dpth", SECTIONS)
