"""Measures of a run, and contrasts."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.core.grid.runs import Run

FIRST_LAYER = "parameter/hidden.0.linear.weight/"


def solved(run: Run) -> float:
    """1 if every test point is classified correctly, else 0."""
    return float(run["test/accuracy"] == 1)


def first_layer_movement(run: Run) -> float:
    """Largest change of a first-layer weight during training; nan if there is no hidden layer."""
    recorded = run.recorded
    names = [name for name in recorded if name.startswith(FIRST_LAYER)]
    return max((abs(recorded[name] - recorded[f"initial/{name}"]) for name in names), default=float("nan"))


def smallest_pair_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of pairs of conditions, one per data set: the smallest difference, first minus second."""
    return min(_pair_differences(points))


def largest_pair_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of pairs of conditions, one per data set: the difference with the largest absolute value, with sign."""
    return max(_pair_differences(points), key=abs)


def _pair_differences(points: Sequence[tuple[Run, float]]) -> list[float]:
    values = [value for _, value in points]
    return [first - second for first, second in zip(values[::2], values[1::2], strict=True)]
