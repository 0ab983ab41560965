"""The measures and contrasts of `normalization` on made-up runs with known answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.normalization import measures as m

Rows = list[tuple[int, int, str, float]]


@pytest.fixture
def made_up(tmp_path: Path):
    """A run with these rows of metrics.csv."""
    count = iter(range(100))

    def make(rows: Rows, steps: int = 400, **settings) -> Run:
        directory = tmp_path / str(next(count))
        directory.mkdir()
        run_directory.append_metrics(directory / run_directory.METRICS, rows)
        return Run(Condition(()), 1000, directory, settings, {"status": "ok", "steps": steps, "measures": {}})

    return make


def accuracies(*values: float) -> Rows:
    return [(epoch, 20 * (epoch + 1), "val/accuracy", value) for epoch, value in enumerate(values)]


def landscape(*records_: tuple[float, float]) -> Rows:
    """Loss and gradient change at steps 0, 10, 20, …; the range of the loss is twice the change."""
    rows: Rows = []
    for index, (loss, change) in enumerate(records_):
        values = {"landscape/loss": loss, m.CHANGE: change, m.RANGE: 2 * change}
        rows += [(0, 10 * index, name, value) for name, value in values.items()]
    return rows


def test_the_first_time_at_the_target_counts(made_up):
    run = made_up(accuracies(0.2, 0.85, 0.9, 0.7, 0.95))
    assert m.log2_steps_to_target(run) == math.log2(60)
    assert m.reached_target(run) == 1.0


def test_who_never_arrives_counts_as_the_budget(made_up):
    run = made_up(accuracies(0.2, 0.8999, 0.5))
    assert m.log2_steps_to_target(run) == math.log2(400)
    assert m.reached_target(run) == 0.0
    assert m.log2_steps_to_target(made_up([(0, 20, "train/accuracy", 1.0)])) == math.log2(400)


def test_differences(made_up):
    none, ours = (made_up([(0, 0, "x", 1.0)]) for _ in range(2))
    assert m.first_minus_last([(ours, 5.0), (none, 8.0)]) == -3.0


def test_growth_with_depth_is_a_difference_of_differences(made_up):
    points = [
        (made_up([(0, 0, "x", 1.0)], normalization=normalization, depth=depth), value)
        for normalization, depth, value in (("batch", 3, 6.0), ("none", 3, 8.5), ("batch", 1, 5.0), ("none", 1, 5.5))
    ]
    assert m.growth_with_depth(points) == (6.0 - 5.0) - (8.5 - 5.5)


def test_averages_of_logarithms(made_up):
    run = made_up(landscape((2.0, 4.0), (1.0, 1.0), (0.5, 0.5)))
    assert m.log2_gradient_change(run) == pytest.approx((2 + 0 - 1) / 3)
    assert m.log2_loss_range(run) == pytest.approx((2 + 0 - 1) / 3 + 1)
    assert math.isnan(m.log2_gradient_change(made_up(accuracies(0.5))))


def test_octaves_of_the_loss(made_up):
    run = made_up(landscape((2.0, 1.0), (1.99, 4.0), (1.0, 1.0), (0.99, 2.0), (0.5, 8.0), (0.49, 1.0)))
    assert m.by_octave(run, m.CHANGE) == pytest.approx({1: 0.0, 0: 1.0, -1: 2.0, -2: 0.0})


def test_states_are_matched_on_the_training_loss(made_up):
    """Ours is four times as smooth at every loss, and spends its time where all is rough: unmatched it looks worse."""
    theirs = made_up(landscape((2.0, 1.0), (2.1, 1.0), (2.2, 1.0), (2.0, 1.0), (0.3, 64.0), (0.004, 100.0)))
    ours = made_up(landscape((2.5, 0.25), (0.3, 16.0), (0.4, 16.0), (0.28, 16.0), (0.02, 0.001)))
    assert m.log2_gradient_change(ours) < m.log2_gradient_change(theirs) + 10
    assert m.matched_gradient_change([(ours, 0.0), (theirs, 0.0)]) == pytest.approx(-2.0)
    assert m.matched_loss_range([(ours, 0.0), (theirs, 0.0)]) == pytest.approx(-2.0)
    half = made_up(landscape((2.5, 0.5), (0.3, 32.0)))
    points = [(ours, 0.0), (half, 0.0), (theirs, 0.0)]
    assert m.largest_matched_change(points) == pytest.approx(-1.0)


def test_nothing_shared_is_no_number(made_up):
    one, other = made_up(landscape((2.0, 1.0))), made_up(landscape((0.1, 1.0)))
    assert math.isnan(m.matched_gradient_change([(one, 0.0), (other, 0.0)]))
    assert math.isnan(m.matched_gradient_change([(one, 0.0), (made_up(accuracies(0.5)), 0.0)]))


def test_changed_predictions_of_the_second_half(made_up):
    rows: Rows = [(0, 5 * k, "modes/changed", value) for k, value in enumerate((1.0, 1.0, 0.5, 0.25))]
    assert m.changed_predictions(made_up(rows)) == pytest.approx(0.375)
    assert math.isnan(m.changed_predictions(made_up(accuracies(0.5))))
