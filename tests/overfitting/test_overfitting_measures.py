"""The measures of the experiment `overfitting` on made-up runs with known answers, and its plan."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.overfitting import measures
from experiments.overfitting.experiment import AS_MANY_PARAMETERS
from lightning_modules.fully_connected import FullyConnectedNetwork

Series = dict[str, dict[int, float]]


def made_up(directory: Path, series: Series, depth: int = 1, **recorded: float) -> Run:
    """A run with values of metrics by epoch, ten steps each."""
    directory.mkdir(exist_ok=True)
    rows = [(e, 10 * (e + 1), name, v) for name, values in series.items() for e, v in values.items()]
    run_directory.append_metrics(directory / run_directory.METRICS, rows)
    return Run(Condition(()), 1000, directory, {"depth": depth}, {"status": "ok", "measures": recorded})


def test_what_training_on_cost_is_last_minus_best(tmp_path: Path) -> None:
    recorded = {"final_test/loss": 1.5, "test/loss": 0.9, "final_test/accuracy": 0.7, "test/accuracy": 0.76}
    run = made_up(tmp_path, {}, **recorded)
    assert measures.test_loss_excess(run) == pytest.approx(0.6)
    assert measures.test_accuracy_excess(run) == pytest.approx(-0.06)
    assert measures.test_accuracy_over_chance(run) == pytest.approx(0.6)


def test_best_epoch_and_best_loss(tmp_path: Path) -> None:
    run = made_up(tmp_path, {"val/loss": {1: 0.9, 3: 0.7, 5: 0.8}, "val/accuracy": {1: 0.1}})
    assert measures.best_val_loss(run) == 0.7
    assert measures.best_epoch(run) == 4.0


def test_a_rate_too_small_to_learn_anything_is_never_the_best(tmp_path: Path) -> None:
    learned = made_up(tmp_path / "a", {"train/loss": {0: 2.0, 1: 0.5}, "val/loss": {1: 0.9}})
    idle = made_up(tmp_path / "b", {"train/loss": {0: 2.0, 1: 0.51}, "val/loss": {1: 0.8}})
    assert measures.best_val_loss_if_learned(learned) == 0.9
    assert measures.best_val_loss_if_learned(idle) == math.inf


def test_a_loss_that_is_no_number_is_not_the_best(tmp_path: Path) -> None:
    assert measures.best_val_loss(made_up(tmp_path, {"val/loss": {1: math.nan, 3: 2.0}})) == 2.0


def test_nothing_was_looked_at(tmp_path: Path) -> None:
    run = made_up(tmp_path, {"train/accuracy": {}})
    for measure in (measures.best_val_loss, measures.best_epoch, measures.val_loss_excess_when_learned):
        assert math.isnan(measure(run))
    assert math.isnan(measures.learned_epoch(run))
    assert measures.by_heart(run) == 0.0


def test_excess_when_the_training_loss_is_down(tmp_path: Path) -> None:
    """Training reaches 0.5 in epoch 3 (counted from 0), between looks of 0.8 and 1.0."""
    trained = {0: 2.0, 1: 1.0, 2: 0.6, 3: 0.5, 4: 0.2, 5: 0.6}
    run = made_up(tmp_path, {"train/loss": trained, "val/loss": {0: 0.7, 2: 0.8, 4: 1.0}})
    assert measures.val_loss_excess_when_learned(run) == pytest.approx(0.9 - 0.7)
    assert measures.learned_epoch(run) == 4.0


def test_a_training_loss_that_never_is_down_counts_at_the_end(tmp_path: Path) -> None:
    run = made_up(tmp_path, {"train/loss": {0: 2.0, 1: 0.51}, "val/loss": {0: 0.7, 1: 0.75}})
    assert measures.val_loss_excess_when_learned(run) == pytest.approx(0.05)
    assert measures.learned_epoch(run) == 2.0


def test_learnt_by_heart(tmp_path: Path) -> None:
    run = made_up(tmp_path / "a", {"train/accuracy": {0: 0.3, 1: 0.95, 2: 0.94}})
    assert (measures.by_heart_epoch(run), measures.by_heart(run)) == (2.0, 1.0)
    run = made_up(tmp_path / "b", {"train/accuracy": {0: 0.3, 1: 0.94}})
    assert (measures.by_heart_epoch(run), measures.by_heart(run)) == (2.0, 0.0)


def test_slope_against_the_number_of_layers(tmp_path: Path) -> None:
    points = [(made_up(tmp_path / str(depth), {}, depth), 0.3 + 0.05 * depth) for depth in (8, 1, 4)]
    assert measures.slope_per_layer(points) == pytest.approx(0.05)
    # Not the mean of the slopes, nor that of the ends: least squares.
    bent = [(run, 1.0 if run.settings["depth"] == 4 else 0.0) for run, _ in points]
    assert measures.slope_per_layer(bent) == pytest.approx((4 - 13 / 3) / sum((d - 13 / 3) ** 2 for d in (1, 4, 8)))


def test_the_wide_network_has_as_many_parameters_as_the_deep_one() -> None:
    def parameters(hidden: list[int]) -> int:
        return sum(p.numel() for p in FullyConnectedNetwork(196, 10, hidden, seed=0).parameters())

    wide, deep = parameters([AS_MANY_PARAMETERS]), parameters([128] * 8)
    assert (wide, deep) == (142_012, 142_090)
    assert abs(wide - deep) < (196 + 10 + 1) / 2


def test_the_plan_trains_what_the_claims_compare() -> None:
    plan = make_plan("overfitting", Options())
    assert {c.name for c in plan.grid.conditions} == {
        "lr=tuned",
        "depth=4,lr=tuned",
        "depth=8,lr=tuned",
        "lr=tuned,width=686",
        "true_labels",
        "true_labels,depth=4",
        "true_labels,depth=8",
        "depth=4,label_noise=1",
    }
