"""Measures of a run. Decades are powers of ten: -1 means ten times smaller."""

from __future__ import annotations

import math

from experiments.core.grid.runs import Run
from experiments.vanishing import theory

PLATEAU_ACCURACY = 0.5


def delta_decades_per_layer(run: Run) -> float:
    """log10 of the factor by which delta_a changes per layer, from the last hidden layer to the first, at step 0."""
    delta = _by_layer(run, "initial/gradient/delta_a")
    return _decades(delta[0], delta[-1]) / (len(delta) - 1) if len(delta) > 1 else math.nan


def weight_decades_per_layer(run: Run) -> float:
    """log10 of the factor by which the weights' gradient changes per layer; it also depends on the forward signal."""
    gradient = _by_layer(run, "initial/gradient/weight")
    return _decades(gradient[0], gradient[-1]) / (len(gradient) - 1) if len(gradient) > 1 else math.nan


def decay_drift(run: Run) -> float:
    """Decades per layer in the half near the input minus those near the output; 0 if the decay is exponential."""
    delta = _by_layer(run, "initial/gradient/delta_a")
    middle = len(delta) // 2
    if middle < 2:
        return math.nan
    return _decades(delta[0], delta[middle]) / middle - _decades(delta[middle], delta[-1]) / (len(delta) - 1 - middle)


def predicted_decades_per_layer(run: Run) -> float:
    """Mean-field prediction of `delta_decades_per_layer`, from the measured variance of the first layer."""
    settings = run.settings
    known = settings["activation"] in theory.FUNCTIONS and settings["initialization"] in theory.N_VAR_W
    plain = known and settings["normalization"] == "none" and not settings["residual"]
    depth, mean, std = (
        int(settings["depth"]),
        run["initial/activation/mean/layer_01"],
        run["initial/activation/std/layer_01"],
    )
    if not plain or depth < 2 or math.isnan(std):
        return math.nan
    initialization, gain = str(settings["initialization"]), float(settings["gain"])
    factor = theory.decay_factor(
        activation=str(settings["activation"]),
        n_var_w=theory.weight_variance(initialization, gain),
        var_b=theory.bias_variance(initialization, gain, int(settings["width"])),
        first_variance=mean**2 + std**2,
        depth=depth,
    )
    return math.log10(factor)


def decay_rate_error(run: Run) -> float:
    """Measured factor per layer divided by the predicted one, minus 1."""
    return float(10 ** (delta_decades_per_layer(run) - predicted_decades_per_layer(run)) - 1)


def saturated_gradient_decades(run: Run) -> float:
    """log10 of delta_a for 6 <= |a| < 8 divided by delta_a for |a| < 1, the effect of saturation."""
    return _decades(run["initial/saturation/delta_a/6-8"], run["initial/saturation/delta_a/0-1"])


def saturated_derivative_decades(run: Run) -> float:
    """log10 of g'(a) for 6 <= |a| < 8 divided by g'(a) for |a| < 1, the predicted effect of saturation."""
    return _decades(run["initial/saturation/derivative/6-8"], run["initial/saturation/derivative/0-1"])


def saturation_error(run: Run) -> float:
    """Measured minus predicted effect of saturation, in decades."""
    return saturated_gradient_decades(run) - saturated_derivative_decades(run)


def left_plateau(run: Run) -> float:
    """1 if the training accuracy of the last epoch exceeds one half, else 0."""
    return float(run["train/accuracy"] > PLATEAU_ACCURACY)


def dead_units(run: Run) -> float:
    """Share of ReLU units that no validation sample activates at the end of training."""
    shares = _by_layer(run, "activation/dead")
    return sum(shares) / len(shares) if shares else math.nan


def _by_layer(run: Run, name: str) -> list[float]:
    recorded = run.recorded
    return [recorded[key] for key in sorted(recorded) if key.startswith(f"{name}/layer_")]


def _decades(value: float, reference: float) -> float:
    return math.log10(value / reference) if value > 0 and reference > 0 else math.nan
