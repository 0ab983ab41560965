"""The measures of the experiment `losses` on made-up runs with known answers, and its plan."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.losses import measures


def looked_at(directory: Path, accuracies: list[float]) -> Run:
    """A run whose validation accuracy is seen every ten steps."""
    rows = [(k, 10 * (k + 1), "val/accuracy", value) for k, value in enumerate(accuracies)]
    rows += [(k, 10 * (k + 1), "train/accuracy", 1.0) for k in range(len(accuracies))]
    directory.mkdir(exist_ok=True)
    run_directory.append_metrics(directory / run_directory.METRICS, rows)
    return Run(Condition(()), 1000, directory, {}, {"status": "ok", "measures": {}})


def test_steps_to_the_target_are_those_of_the_first_look_that_reaches_it(tmp_path: Path) -> None:
    run = looked_at(tmp_path, [0.2, 0.69, 0.7, 0.5, 0.9])
    assert measures.log10_steps_to_target(run) == pytest.approx(math.log10(30))
    assert measures.arrived(run) == 1.0


def test_a_run_that_never_arrives_took_the_whole_budget(tmp_path: Path) -> None:
    run = looked_at(tmp_path, [0.2, 0.3, 0.6999])
    assert measures.log10_steps_to_target(run) == pytest.approx(math.log10(30))
    assert measures.arrived(run) == 0.0


def test_a_run_that_was_never_looked_at_has_no_time(tmp_path: Path) -> None:
    run = looked_at(tmp_path, [])
    assert math.isnan(measures.log10_steps_to_target(run))
    assert measures.arrived(run) == 0.0


def test_difference_of_differences() -> None:
    run = Run(Condition(()), 1000, Path("nowhere"), {}, {"status": "ok", "measures": {}})
    assert measures.difference_of_differences([(run, value) for value in (9.0, 2.0, 5.0, 4.0)]) == 6.0


def test_the_declared_budget_is_that_of_the_config() -> None:
    from experiments.losses.experiment import BUDGET

    plan = make_plan("losses", Options())
    trainer = plan.grid.merged(plan.grid.conditions[0])["trainer"]
    assert pytest.approx(math.log10(trainer["max_epochs"] * trainer["limit_train_batches"]), abs=1e-3) == BUDGET


def test_every_loss_has_trials_of_its_own() -> None:
    plan = make_plan("losses", Options())
    assert plan.grid.experiment.tuning is not None
    tuned = [c for c in plan.grid.conditions if c.overrides.get("lr") == "tuned"]
    names = {str(c.overrides.get("config", "")) for c in tuned}
    assert names == set(plan.grid.experiment.tuning.candidates)
