"""The contrasts over a grid, on made-up grids with known answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.hyperparameters import measures as m
from experiments.hyperparameters.experiment import GRID, experiment

Table = Mapping[tuple[str, int, float], float]


def run(normalization: str, depth: int, rate: float, validation: float, status: str = "ok") -> Run:
    settings = {"normalization": normalization, "depth": depth, "lr": rate}
    return Run(
        Condition(()), 1000, Path("nowhere"), settings, {"status": status, "measures": {"val/accuracy": validation}}
    )


def grid(test: Table, validation: Table | None = None) -> list[tuple[Run, float]]:
    """Points of one seed: test accuracy by cell, and the same on validation if not said otherwise."""
    return [(run(*cell, (validation or test)[cell]), value) for cell, value in test.items()]


WORKABLE = {
    ("none", 1, 0.1): 0.90,
    ("none", 1, 1.0): 0.89,
    ("none", 6, 0.1): 0.10,
    ("none", 6, 1.0): 0.94,
    ("batch", 1, 0.1): 0.95,
    ("batch", 1, 1.0): 0.92,
    ("batch", 6, 0.1): 0.93,
    ("batch", 6, 1.0): 0.20,
    ("layer", 1, 0.1): 0.50,
    ("layer", 1, 1.0): 0.60,
    ("layer", 6, 0.1): 0.70,
    ("layer", 6, 1.0): 0.80,
}


def test_a_cell_works_if_it_is_near_the_best_of_all():
    """Best .95: .90, just five points below, works; .89 does not. LayerNorm's own best, .80, does not count."""
    points = grid(WORKABLE)
    assert m.workable_cells(points) == {"none": 2, "batch": 3, "layer": 0}
    assert m.batch_more_workable(points) == 1
    assert m.layer_more_workable(points) == -2
    assert sorted(m.workable(points)) == [
        ("batch", 1, 0.1),
        ("batch", 1, 1.0),
        ("batch", 6, 0.1),
        ("none", 1, 0.1),
        ("none", 6, 1.0),
    ]


def test_a_rate_is_shared_if_it_works_at_every_depth():
    points = grid(WORKABLE)
    assert m.shared_rates(points) == {"none": 0, "batch": 1, "layer": 0}
    assert m.batch_more_shared_rates(points) == 1


def test_five_points_in_single_precision():
    """0.95 - 0.9 is a little more than 0.05 in binary."""
    points = grid({("none", 1, 0.1): 0.8999999761581421, ("batch", 1, 0.1): 0.949999988079071})
    assert m.workable_cells(points) == {"none": 1, "batch": 1}


def test_the_best_rate_is_chosen_on_validation_the_smallest_of_equals():
    test = {("none", 1, 0.1): 0.9, ("none", 1, 0.3): 0.5, ("none", 1, 1.0): 0.8, ("batch", 1, 0.3): 0.7}
    validation = {("none", 1, 0.1): 0.6, ("none", 1, 0.3): 0.8, ("none", 1, 1.0): 0.8, ("batch", 1, 0.3): 0.1}
    assert m.best_rates(grid(test, validation)[::-1]) == {("none", 1): 0.3, ("batch", 1): 0.3}


@pytest.mark.parametrize(("status", "validation"), [("diverged", 0.99), ("ok", math.nan)])
def test_a_diverged_run_is_nobodys_best_rate(status, validation):
    points = [(run("none", 1, 0.1, 0.3), 0.3), (run("none", 1, 1.0, validation, status), 0.1)]
    assert m.best_rates(points) == {("none", 1): 0.1}


# Three architectures A, B, C at two rates; tuned A .90 (rate .1), B .95 (1.0), C .93 (.1).
RANKS = {
    ("none", 1, 0.1): 0.90,
    ("none", 1, 1.0): 0.30,
    ("batch", 1, 0.1): 0.60,
    ("batch", 1, 1.0): 0.95,
    ("layer", 1, 0.1): 0.93,
    ("layer", 1, 1.0): 0.92,
}


def test_pairs_that_a_shared_rate_turns_round():
    """At .1 (A's and C's): A > B and C > B, both turned round; A < C as tuned. At 1.0 (B's): A < C < B as tuned."""
    points = grid(RANKS)
    assert dict(m.swapped_by_owner(points)) == pytest.approx(
        {("none", 1): 2 / 3, ("layer", 1): 2 / 3, ("batch", 1): 0.0}
    )
    assert m.swapped_pairs(points) == pytest.approx(4 / 9)
    assert m.shared_and_tuned(points, ("batch", 1)) == {
        ("none", 1): (0.30, 0.90),
        ("batch", 1): (0.95, 0.95),
        ("layer", 1): (0.92, 0.93),
    }


def test_false_gaps_are_those_that_tuning_closes():
    """At .1: A-B .30 apart and C-B .33, tuned .05 and .02: both false; A-C .03. At 1.0: A-B and A-C far, tuned near."""
    points = grid(RANKS)
    assert dict(m.false_gaps_by_owner(points)) == pytest.approx(
        {("none", 1): 2 / 3, ("layer", 1): 2 / 3, ("batch", 1): 2 / 3}
    )
    assert m.false_gaps(points) == pytest.approx(2 / 3)
    # Tuned, A is now six points behind B: at A's or B's rate that pair is apart for a reason.
    assert m.false_gaps(grid({**RANKS, ("none", 1, 0.1): 0.89})) == pytest.approx(1 / 3)


def test_a_point_is_no_difference():
    a, b = ("none", 1), ("batch", 1)
    assert m.swapped_share({a: 0.90, b: 0.91}, {a: 0.9, b: 0.5}) == 0
    assert m.swapped_share({a: 0.90, b: 0.92}, {a: 0.9, b: 0.5}) == 1
    assert m.swapped_share({a: 0.90, b: 0.92}, {a: 0.5, b: 0.9}) == 0


def test_the_floor_exchanges_the_samples_and_nothing_else():
    """Tuned on validation: A at .1, B at 1.0. On test A is ahead there, on validation B; other cells do not count."""
    test = {("none", 1, 0.1): 0.9, ("none", 1, 1.0): 0.0, ("batch", 1, 0.1): 0.0, ("batch", 1, 1.0): 0.8}
    validation = {("none", 1, 0.1): 0.7, ("none", 1, 1.0): 0.1, ("batch", 1, 0.1): 0.2, ("batch", 1, 1.0): 0.75}
    assert m.swapped_by_sample(grid(test, validation)) == 1.0
    assert m.swapped_by_sample(grid(test)) == 0.0


def test_the_grid_of_the_claims_is_the_grid_that_is_run():
    points = [point for block in experiment.grid for point in block]
    assert sorted(map(str, points)) == sorted(map(str, GRID))
    assert len(GRID) == 3 * 18
    assert {id(claim.conditions) for claim in experiment.claims if claim.contrast} == {id(GRID)}
