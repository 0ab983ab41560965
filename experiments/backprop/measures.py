"""Measures of this experiment's checks."""

from __future__ import annotations

import math

from experiments.core.grid.runs import Run

# log10 that replaces that of an error of exactly 0: a tenth of double precision's rounding unit.
NOTHING = -17.0


def error_decades(check: Run) -> float:
    """log10 of the largest error of the correct form; at least -17."""
    return _decades(check["error"])


def transcribed_decades(check: Run) -> float:
    """log10 of the median error of the transcribed form; nan if a check has none."""
    return _decades(check["transcribed"])


def _decades(error: float) -> float:
    return math.log10(error) if error > 10**NOTHING else (math.nan if math.isnan(error) else NOTHING)
