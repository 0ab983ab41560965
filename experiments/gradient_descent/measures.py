"""Measures of a run."""

from __future__ import annotations

import math

import numpy as np

from experiments.core.grid.runs import Run
from experiments.gradient_descent.quadratic import path_of, points_of, quadratic_of


def closed_form_error(run: Run) -> float:
    """Largest difference between a run's weights and the closed form, over all recorded steps.

    The closed form is that of plain gradient descent with a constant step; nan for other optimisers.
    """
    settings = run.settings
    if settings["optimizer"] != "sgd" or settings.get("momentum") or run.status != "ok":
        return math.nan
    loss = quadratic_of(*points_of(run))
    steps, path = path_of(run)
    truth = np.array([loss.after(step, path[0], float(settings["lr"])) for step in steps])
    return float((np.abs(path - truth) / (1 + np.abs(truth))).max())


def excess_loss(run: Run) -> float:
    """Training loss after the last step, minus that of the best line."""
    return float(quadratic_of(*points_of(run)).excess(path_of(run)[1][-1]))
