"""Means over seeds with their intervals: of columns of results.csv, and of metrics over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats


class MeanInterval(NamedTuple):
    """Mean over seeds and its 95 % Student interval at each point, shape (points,) each.

    The mean is nan where no seed has a value, the interval where fewer than two have one.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def rows_of(results: Results, overrides: Overrides) -> pd.DataFrame:
    """Return the rows of results.csv of one condition: one a finished run."""
    condition = results.plan.grid.condition(overrides)
    return results.frame[results.frame["condition"] == condition.name]


def values_of(rows: pd.DataFrame, name: str) -> Floats:
    """Return one column of some rows of results.csv, shape (n,); nan where a run has no value."""
    return np.asarray(rows[name] if name in rows else np.full(len(rows), math.nan), dtype=float)


def mean_and_interval(x: Sequence[float] | Floats, values: Floats) -> MeanInterval:
    """Return mean and interval of the finite values at each point.

    Args:
        x: where, length p.
        values: shape (p, seeds); nan where a seed has none.
    """
    summary = np.full((len(x), 3), math.nan)
    finite = np.isfinite(values)
    complete = finite.all(axis=1) & (values.shape[1] > 1)
    if complete.any():
        summary[complete, 0] = values[complete].mean(axis=1)
        summary[complete, 1:] = st.student_interval(values[complete], 1 - st.ALPHA)
    for index in np.flatnonzero(finite.any(axis=1) & ~complete):
        some = values[index, finite[index]]
        summary[index, 0] = some.mean()
        if len(some) > 1:
            summary[index, 1:] = st.student_interval(some, 1 - st.ALPHA)
    return MeanInterval(np.asarray(x, dtype=float), *summary.T)


def history(
    runs: Sequence[Run], metric: str, by: str = "step", averaged: Callable[[Floats], Floats] = np.asarray
) -> MeanInterval:
    """Return mean and interval of a metric of `metrics.csv` over the runs of a condition, by `step` or by `epoch`.

    A run that diverged counts as long as its values are finite.

    Args:
        runs: of the condition.
        metric: its name.
        by: what x is.
        averaged: what is averaged instead of the values: their logarithm, for instance.
    """
    place = {"epoch": 0, "step": 1}[by]
    series = [{row[place]: row[2] for row in run.series(metric)} for run in runs]
    x = sorted(set().union(*series))
    values = [[seed.get(point, math.nan) for seed in series] for point in x]
    return mean_and_interval(x, averaged(np.array(values, dtype=float).reshape(len(x), len(series))))
