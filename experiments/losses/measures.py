"""Measures of a run: steps to a validation accuracy; and contrasts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.core.grid.runs import Run

# Every loss reaches this validation accuracy from the default initialisation, and it is far above guessing.
TARGET = 0.7


def log10_steps_to_target(run: Run) -> float:
    """log10 of the optimiser steps until the validation accuracy first is 0.7; of all steps if it never is."""
    seen = run.series("val/accuracy")
    arrivals = [step for _, step, value in seen if value >= TARGET]
    last = [step for _, step, _ in seen][-1:]
    return math.log10((arrivals or last)[0]) if seen else math.nan


def arrived(run: Run) -> float:
    """1 if the validation accuracy reaches 0.7 at some validation, else 0."""
    return float(any(value >= TARGET for *_, value in run.series("val/accuracy")))


def difference_of_differences(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast of four conditions: (first − second) − (third − fourth)."""
    first, second, third, fourth = (value for _, value in points)
    return (first - second) - (third - fourth)
