"""Contrasts that every experiment can use; an experiment's own measures and contrasts are in its `measures.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.core.grid.runs import Run


def largest_deviation(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the value with the largest absolute value, with its sign."""
    return max((value for _, value in points), key=abs)


def largest_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the largest difference of a later condition to the first; if negative, all have less than it."""
    return max(_differences(points))


def smallest_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the smallest difference of a later condition to the first; if positive, all have more than it."""
    return min(_differences(points))


def _differences(points: Sequence[tuple[Run, float]]) -> list[float]:
    (_, first), *later = points
    return [value - first for _, value in later]
