"""The measures of the experiment `clipping` on made-up runs with known answers, and its plan."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.clipping import measures
from experiments.clipping.experiment import MEDIAN, NINTH_DECILE, RATES
from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run


def made_up(directory: Path, series: dict[str, dict[int, float]], status: str = "ok", **recorded: float) -> Run:
    """A run with values of metrics by epoch."""
    directory.mkdir(exist_ok=True)
    rows = [(e, e, name, value) for name, values in series.items() for e, value in values.items()]
    run_directory.append_metrics(directory / run_directory.METRICS, rows)
    return Run(Condition(()), 1000, directory, {}, {"status": status, "measures": recorded})


def trained(config: str, rate: float) -> Run:
    settings = {"config": config, "lr": rate}
    return Run(Condition(()), 1000, Path("nowhere"), settings, {"status": "ok", "measures": {}})


@pytest.mark.parametrize(
    ("status", "loss", "expected"),
    [
        ("ok", 2.30, 0.0),
        ("ok", 2.31, 1.0),
        ("ok", math.nan, 1.0),
        ("ok", math.inf, 1.0),
        ("diverged", 0.1, 1.0),
    ],
)
def test_failed_is_no_better_than_a_guess(tmp_path: Path, status: str, loss: float, expected: float) -> None:
    assert measures.failed(made_up(tmp_path, {}, status, **{"train/loss": loss})) == expected


def test_a_run_without_a_loss_failed(tmp_path: Path) -> None:
    assert measures.failed(made_up(tmp_path, {})) == 1.0


def test_the_largest_finite_norm(tmp_path: Path) -> None:
    norms = {0: 1.0, 1: 1e4, 2: math.inf, 3: math.nan, 4: 10.0}
    assert measures.log10_largest_norm(made_up(tmp_path, {"gradient/norm_before": norms})) == pytest.approx(4.0)


def test_no_norm_was_recorded(tmp_path: Path) -> None:
    assert math.isnan(measures.log10_largest_norm(made_up(tmp_path, {"gradient/norm_after": {0: 1.0}})))


def test_best_validation_loss(tmp_path: Path) -> None:
    assert measures.best_val_loss(made_up(tmp_path, {"val/loss": {0: 2.0, 1: 0.5, 2: math.nan}})) == 0.5


def test_held_out_loss_is_read_off_a_line_at_equal_training_loss(tmp_path: Path) -> None:
    """Held-out loss 1 − training loss near 0.4: 0.6 there. What lies outside the band has no say."""
    losses = {0: 2.0, 1: 0.49, 2: 0.45, 3: 0.35, 4: 0.31, 5: 0.1}
    held_out = {epoch: 1 - loss for epoch, loss in losses.items()} | {0: 50.0, 5: 70.0}
    run = made_up(tmp_path, {"train/loss": losses, "val/loss": held_out})
    assert measures.val_loss_at_equal_training(run) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "losses", [{0: 2.0, 1: 0.5, 2: 0.4, 3: 0.1}, {0: 0.4, 1: 0.4, 2: 0.4, 3: 0.1}, {0: 0.5, 1: 0.45, 2: 0.4, 3: 0.31}]
)
def test_a_band_that_is_not_crossed_gives_no_line(tmp_path: Path, losses: dict[int, float]) -> None:
    run = made_up(tmp_path, {"train/loss": losses, "val/loss": dict.fromkeys(losses, 1.0)})
    assert measures.val_loss_at_equal_training(run) == math.inf


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ((0, 0, 1), 0.1),
        ((0, 0, 0), 1.0),
        # Beyond the first failure luck does not count.
        ((0, 1, 0), 0.01),
        ((1, 0, 0), 0.001),
    ],
)
def test_the_largest_rate_below_the_first_failure(failures: tuple[int, ...], expected: float) -> None:
    found = measures.largest_working({rate: float(x) for rate, x in zip((0.01, 0.1, 1.0), failures, strict=True)})
    assert found == pytest.approx(math.log10(expected))


def test_gain_is_clipped_minus_unclipped_whatever_the_order() -> None:
    failures = {("clipped", 0.1): 0, ("clipped", 1.0): 0, ("unclipped", 0.1): 0, ("unclipped", 1.0): 1}
    points = [(trained(*place), float(failed)) for place, failed in failures.items()]
    assert measures.log10_lr_gain(points) == pytest.approx(1.0)
    assert measures.log10_lr_gain(points[::-1]) == pytest.approx(1.0)


def test_rates_are_half_a_decade_apart() -> None:
    assert np.diff(np.log10(RATES)) == pytest.approx([0.5] * (len(RATES) - 1), abs=0.03)


def test_the_plan_pairs_every_rate_and_tunes_every_threshold() -> None:
    plan = make_plan("clipping", Options())
    arms = {name: set() for name in ("clipped", "unclipped")}
    for condition in plan.grid.conditions:
        config = str(condition.overrides["config"])
        if config in arms:
            arms[config].add(plan.grid.settings(condition)["lr"])
    assert arms["clipped"] == arms["unclipped"] == set(RATES)
    tuned = [c for c in plan.grid.conditions if c.overrides.get("lr") == "tuned"]
    assert {c.overrides["gradient_clip_val"] for c in tuned} == {1e30, MEDIAN, NINTH_DECILE}


def test_thirty_seeds_decide_the_share_at_the_large_rate() -> None:
    plan = make_plan("clipping", Options())
    thirty = {condition.name for condition, seeds in plan.run_seeds.items() if len(seeds) == 30}
    assert thirty == {"clipped", "unclipped"}


def test_a_run_without_an_epoch_gives_no_line(tmp_path: Path) -> None:
    assert measures.val_loss_at_equal_training(made_up(tmp_path, {"train/loss": {}})) == math.inf
