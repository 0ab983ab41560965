"""Cost of a run until it reached the target, in steps, samples and seconds, and its dependence on the batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from experiments.core.grid.runs import Run


def steps_to_target(run: Run) -> float:
    """Optimiser steps until the training loss first reached the target; all steps if it never did."""
    return run["target/steps"]


def samples_to_target(run: Run) -> float:
    """Training samples used until the training loss first reached the target, counted with repetition."""
    return run["target/samples"]


def decades_of_steps(run: Run) -> float:
    """log10 of the steps to the target."""
    return _decades(steps_to_target(run))


def decades_of_samples(run: Run) -> float:
    """log10 of the samples to the target."""
    return _decades(samples_to_target(run))


def seconds(run: Run) -> float:
    """Wall-clock seconds of the run; in a stack, one seed's share."""
    return float(run.result.get("wall_seconds", math.nan))


def decades_of_seconds(run: Run) -> float:
    """log10 of the wall-clock seconds."""
    return _decades(seconds(run))


def arrived(run: Run) -> float:
    """1 if the training loss reached the target within the budget, else 0; a diverged run counts as 0."""
    return float(run.status == "ok" and run["target/arrived"] == 1)


def batch_size(run: Run) -> int:
    """Samples per batch; the size of the training split for `full`."""
    size = run.settings["batch_size"]
    return int(run.result["data"]["train"]) if size == "full" else int(size)


def samples_after(step: int, size: int, num_train: int) -> int:
    """Training samples used in a number of steps; the last batch of an epoch has the remaining samples."""
    epochs, rest = divmod(step, math.ceil(num_train / size))
    return epochs * num_train + rest * size


def rank_correlation_with_batch_size(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: Spearman's rank correlation of the measure with the batch size; 0 if the measure is constant."""
    values = np.array([value for _, value in points])
    if np.ptp(values) == 0:
        return 0.0
    return float(stats.spearmanr([batch_size(run) for run, _ in points], values).statistic)


def _decades(count: float) -> float:
    return math.log10(count) if count > 0 else math.nan
