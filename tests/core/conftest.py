"""A whole experiment that takes seconds."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import experiments
from experiments.core.commands import for_each
from experiments.core.commands import run as runner
from experiments.core.execution.workers import Pool
from experiments.core.grid import catalogue, plan

FILES = {
    "base.yaml": """
        seed_everything: 1000
        model:
          class_path: FullyConnected
          init_args: {depth: 2, width: 8, activation: sigmoid, optimizer: sgd, lr: 0.1}
        data:
          class_path: Digits
          init_args: {batch_size: 32, num_train: 64, num_val: 64, num_test: 64}
        trainer:
          max_epochs: 2
          callbacks:
            - {class_path: GradientFlow}
            - {class_path: Divergence}
            - {class_path: BestWeights}
        """,
    "start.yaml": """
        model: {init_args: {width: 16}}
        trainer: {max_epochs: 1, limit_train_batches: 1, limit_val_batches: 0}
        """,
    "smoke.yaml": "trainer: {max_epochs: 1}",
    "experiment.py": """
        '''A sentence about the tiny experiment.'''
        from experiments.core.definitions import Claim, Experiment, Tuning, axes

        def claim(id, **fields):
            return Claim(id, statement="s", statement_fr="s", slide="s", **fields)

        experiment = Experiment(
            title="Tiny", title_fr="Petite", data=("digits",), figures=(), seeds=3,
            grid=[
                axes(activation=["sigmoid", "relu"]),
                axes(activation="relu", lr="tuned"),
                axes(config="start", activation=["sigmoid", "relu"]),
            ],
            tuning=Tuning("lr", by="activation", candidates={"relu": (1e-6, 0.1, 1e30)}, seeds=(900, 901)),
            measures=("twice_accuracy",),
            claims=[
                claim("L1-difference", kind="effect", measure="test/accuracy", where={"activation": "relu"},
                      minus={"activation": "sigmoid"}, above=0.05, n=3, if_diverged=0.1),
                claim("L2-sum", kind="effect", measure="initial/gradient/delta_a/layer_01", contrast="sum_of_values",
                      conditions=[{"config": "start"}, {"config": "start", "activation": "relu"}], above=1e-6, n=3),
                claim("L3-more", kind="measured", measure="twice_accuracy", where={"activation": "relu"}, n=4),
                claim("L4-check", kind="exact", check="zero", tolerance=0.0, n=2),
            ],
        )
        """,
    "measures.py": """
        def twice_accuracy(run):
            return 2 * run["test/accuracy"]

        def sum_of_values(points):
            return sum(value for _, value in points)
        """,
    "checks.py": """
        def zero(seed):
            return {"error": 0.0, "draws": 1000.0}
        """,
}


@dataclass(frozen=True)
class Tiny:
    """An experiment of 16 short runs, 6 of tuning and 2 checks, in a folder of its own."""

    folder: Path
    call: Callable[..., Any]

    def write(self, name: str, text: str) -> None:
        """Write one of its files."""
        (self.folder / name).write_text(textwrap.dedent(text.removeprefix("\n")))
        for module in [module for module in sys.modules if module.startswith("experiments.tiny")]:
            del sys.modules[module]
        importlib.invalidate_caches()

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands once in one of its files."""
        text = (self.folder / name).read_text()
        assert text.count(old) == 1
        self.write(name, text.replace(old, new))

    def plan(self, **choice: Any) -> plan.Plan:
        """What `run tiny` with these options would do."""
        return plan.make_plan("tiny", plan.Options(**choice))

    def run(self, *args: str) -> Any:
        """`python -m experiments run tiny …`, with the quickest logger."""
        return self.call("run", "tiny", "--logger=csv", *args)


def judge_only(plan: plan.Plan, chosen: Any, pool: Pool, redraw: bool) -> None:
    runner.judge(plan, chosen, pool)


class InThisProcess(Pool):
    """No workers: the same function, called in the order in which a pool with one worker would."""

    def start(self) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any, rank: int = 0) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands call their tasks in this process: starting workers takes ten seconds of CPU time."""
    monkeypatch.setattr(for_each, "Pool", InThisProcess)


@pytest.fixture
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, command: Any) -> Iterator[Tiny]:
    """The tiny experiment in the place of all others; run in this process, without figures and report."""
    root = tmp_path_factory.mktemp("experiments")
    (root / "tiny").mkdir()
    (root / "core").symlink_to(catalogue.ROOT / "core")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(catalogue, "ROOT", root)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(root)])
    monkeypatch.setattr(runner, "show", judge_only)
    experiment = Tiny(root / "tiny", command)
    for name, text in FILES.items():
        experiment.write(name, text)
    yield experiment
    experiment.write("experiment.py", "")  # forgets its modules


@pytest.fixture
def refused(command: Callable[..., Any], here: Path) -> Callable[..., str]:
    """Call a command that must be refused; gives the one line it printed, without `error: `."""

    def check(*args: str | Path) -> str:
        before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
        answer = command(*args)
        assert answer.code == 2, answer.out + answer.err
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert answer.err.endswith("\n")
        assert "Traceback" not in answer.err + answer.out
        assert before == {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
        assert not (here / "runs").is_dir()
        return answer.err.removeprefix("error: ").rstrip("\n")

    return check
