"""Measures and contrasts every experiment can use; an experiment's own are in its `measures.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.core.results import Run


def largest_deviation(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: the value farthest from 0, with its sign."""
    return max((value for _, value in points), key=abs)
