"""The same seed leaves the same bytes, whatever the number of workers, the logger and the order of the conditions.

What is run has dropout, BatchNorm, augmentation, a schedule and two optimisers, and its seeds are trained in stacks.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stress.chaos import BASE, NAME, REPOSITORY, Storm

SEEDS = 2
RUNS = 4 * SEEDS
# Shorter than under the storm, and with the logger that experiments have.
EDITS = {
    "max_epochs: 6": "max_epochs: 2",
    "batch_size: 32,": "batch_size: 32, num_train: 320, num_val: 100, num_test: 100,",
    "logger: false": """logger: {class_path: TensorBoardLogger, init_args: {save_dir: ., name: "", version: ""}}""",
}
DOOR = """\
import sys

if __name__ == "__main__":
    from experiments.core.commands import parser, run as runner
    from experiments.core.execution import schedule

    runner.show = lambda plan, chosen, pool, redraw: runner.judge(plan, chosen, pool)
    if "--backwards" in sys.argv:
        sys.argv.remove("--backwards")
        forwards = schedule.pending
        schedule.pending = lambda tasks: forwards(tasks)[::-1]
    sys.exit(parser.main(sys.argv[1:]))
"""
HOW = {
    "one worker, csv": ("--jobs=1", "--logger=csv"),
    "two workers, tensorboard": ("--jobs=2", "--logger=tensorboard"),
    "one worker, csv, backwards": ("--jobs=1", "--logger=csv", "--backwards"),
}
FIRST, *OTHERS = HOW


def run(storm: Storm, runs: Path, words: Sequence[str]) -> Path:
    """Give the command in a process of its own; give the directory of its results."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [sys.executable, str(storm.tree / "door.py"), "run", NAME, f"--seeds={SEEDS}", f"--runs={runs}", *words],
        env=environment,
        cwd=storm.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return runs / f"{NAME}-seeds={SEEDS}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The results of the experiment, run in every way."""
    storm = Storm(tmp_path_factory.mktemp("storm"))
    base = BASE
    for old, new in EDITS.items():
        assert base.count(old) == 1
        base = base.replace(old, new)
    (storm.tree / "experiments" / NAME / "base.yaml").write_text(base, encoding="utf-8")
    (storm.tree / "door.py").write_text(DOOR, encoding="utf-8")
    return {name: run(storm, storm.folder / name, words) for name, words in HOW.items()}


def runs_of(directory: Path) -> list[str]:
    """Every run, as condition/seed."""
    return sorted(str(path.parent.relative_to(directory)) for path in directory.rglob("result.json"))


def result(run: Path) -> dict[str, Any]:
    """What a run's `result.json` says, without its time and its circumstances."""
    content: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert content.pop("wall_seconds") > 0
    assert content.pop("environment")["threads"] == 1
    return content


def weights(run: Path) -> dict[str, bytes]:
    """The bytes of each tensor of the network that is kept."""
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    return {name: value.numpy().tobytes() for name, value in state.items()}


def table(directory: Path) -> list[dict[str, str]]:
    """The lines of `results.csv`, without seconds."""
    with (directory / "results.csv").open(newline="", encoding="utf-8") as file:
        return [{name: text for name, text in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


def order(directory: Path) -> list[str]:
    """The conditions as they were finished."""
    paths = sorted(directory.rglob("result.json"), key=lambda path: path.stat().st_mtime_ns)
    return list(dict.fromkeys(path.parents[1].name for path in paths))


def test_what_is_compared_was_run_as_it_says(ran):
    first, (parallel, backwards) = ran[FIRST], (ran[how] for how in OTHERS)
    assert len(runs_of(first)) == RUNS
    assert {result(first / run)["stack"] for run in runs_of(first)} == {SEEDS}
    assert order(backwards) == order(first)[::-1]
    for directory, events in ((first, 0), (backwards, 0), (parallel, RUNS)):
        assert len(list(directory.glob("*/seed=*/events.out.tfevents.*"))) == events
    # Neither two seeds nor two conditions are the same network.
    assert len({tuple(weights(first / run).values()) for run in runs_of(first)}) == RUNS


@pytest.mark.parametrize("how", OTHERS)
def test_the_same_bytes(ran, how):
    first, other = ran[FIRST], ran[how]
    assert runs_of(other) == runs_of(first)
    for run in runs_of(first):
        assert (other / run / "metrics.csv").read_bytes() == (first / run / "metrics.csv").read_bytes(), run
        assert result(other / run) == result(first / run), run
        assert weights(other / run) == weights(first / run), run
    assert table(other) == table(first)
    assert (other / "verdicts.json").read_bytes() == (first / "verdicts.json").read_bytes()
