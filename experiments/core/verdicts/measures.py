"""Measures and contrasts every experiment can use; an experiment's own are in its `measures.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.core.grid.runs import Run


def largest_deviation(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the value farthest from 0, with its sign."""
    return max((value for _, value in points), key=abs)


def largest_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the largest of what the later conditions have more than the first: all have less if it is negative."""
    return max(_differences(points))


def smallest_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the smallest of what the later conditions have more than the first: all have more if it is positive."""
    return min(_differences(points))


def _differences(points: Sequence[tuple[Run, float]]) -> list[float]:
    (_, first), *later = points
    return [value - first for _, value in later]
