"""The plan of the real experiment: what it predicts of every condition is what a run stores."""

import subprocess
import sys

import pytest

from experiments.core.execution.planner import Planner
from experiments.core.files import run_directory
from experiments.core.grid.plan import Options, make_plan
from experiments.core.training.command_line import read_command
from experiments.core.training.parsing import ParsedConfig, resolve

IMPORTS_FIRST = """
import {first}
import sys
sys.argv = sys.argv[:1]
from experiments.core.training.parsing import resolve
from experiments.core.training.command_line import read_command
trainer = resolve(read_command([
    "--config=experiments/vanishing/base.yaml",
    "--config=experiments/vanishing/initialization.yaml",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_test_batches=1.0",
]).config)["trainer"]
print(repr([trainer[name] for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches")]))
"""


def test_conditions_that_share_files_are_resolved_as_if_each_were_parsed_alone(tmp_path):
    plan = make_plan("vanishing", Options(runs=tmp_path))
    planner = Planner(plan)
    hashes = set()
    for condition in plan.grid.conditions:
        (task,) = planner.tasks(condition, [1007], {"lr": 0.2}, tmp_path / condition.name)
        alone = run_directory.config_hash(ParsedConfig({**task.config, "seed_everything": 1007}).resolved)
        assert task.config_hash == alone, condition.name
        hashes.add(alone)
    assert len(hashes) == len(plan.grid.conditions)


def test_one_batch_stays_one_batch():
    overlay = "experiments/vanishing/initialization.yaml"
    words = [*("--config", "experiments/vanishing/base.yaml", "--config", overlay), "--trainer.limit_train_batches=1"]
    trainer = resolve(read_command([*words, "--trainer.limit_test_batches=1.0"]).config)["trainer"]
    found = [trainer[name] for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches")]
    assert repr(found) == "[1, 0, 1.0]"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lightning", "experiments.core.commands.run", "torchvision.transforms.v2"])
def test_one_batch_stays_one_batch_whatever_was_imported_before(first):
    code = IMPORTS_FIRST.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1, 0, 1.0]"


def test_only_the_frozen_data_set_and_scale_are_official(tmp_path):
    assert make_plan("vanishing", Options(runs=tmp_path)).official
    assert not make_plan("vanishing", Options(runs=tmp_path, data="fashion_mnist")).official
    assert not make_plan("vanishing", Options(runs=tmp_path, scale="full")).official


def test_at_most_sixteen_conditions_are_trained(tmp_path):
    trained = [c for c in make_plan("vanishing", Options(runs=tmp_path)).grid.conditions if "config" not in c.overrides]
    assert 0 < len(trained) <= 16
