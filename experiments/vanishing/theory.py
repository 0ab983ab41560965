"""Mean-field theory of infinitely wide networks at initialisation: the factor by which a layer changes the gradient.

Sources: Poole et al. 2016 and Schoenholz et al. 2017 for the recursion; Glorot & Bengio 2010 and He et al. 2015 for the
initialisations. Everything is a closed form or a one-dimensional Gaussian integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Midpoints, none of them at 0, so that a step such as ReLU's derivative is integrated without bias. An odd number of
# Gauss–Hermite nodes has an error of several per cent.
_STEP = 0.005
_NODES: Array = np.arange(-10.0, 10.0, _STEP) + _STEP / 2
_WEIGHTS: Array = np.exp(-(_NODES**2) / 2) * _STEP / math.sqrt(2 * math.pi)


def _sigmoid(a: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(a / 2)))


# The non-linearity g and its derivative.
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "identity": (lambda a: a, np.ones_like),
    "sigmoid": (_sigmoid, lambda a: _sigmoid(a) * _sigmoid(-a)),
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(float)),
}


# n·Var(w) of a square layer with gain 1.
N_VAR_W = {"default": 1 / 3, "xavier": 1.0, "he": 2.0}


def gaussian_mean(function: Callable[[Array], Array], variance: float) -> float:
    """Compute E[f(x)] for normal x with mean 0 and a given variance."""
    return float(np.sum(_WEIGHTS * function(math.sqrt(variance) * _NODES)))


def weight_variance(initialization: str, gain: float) -> float:
    """Return n·Var(w) of a square layer: gain² times 1/3 for PyTorch's default, 1 for Xavier, 2 for He."""
    return N_VAR_W[initialization] * gain**2


def bias_variance(initialization: str, gain: float, width: int) -> float:
    """Return Var(b): PyTorch's default draws biases like weights; other initialisations set them to zero."""
    return gain**2 / (3 * width) if initialization == "default" else 0.0


def decay_factor(activation: str, n_var_w: float, var_b: float, first_variance: float, depth: int) -> float:
    """Predict the factor by which delta_a changes from a layer to the previous one, averaged over the network.

    Args:
        activation: name of the non-linearity.
        n_var_w: n·Var(w) of the hidden layers.
        var_b: variance of the biases.
        first_variance: measured mean square of the first layer's pre-activations.
        depth: number of hidden layers, at least 2.

    Returns:
        The geometric mean over layers 1 … depth-1 of sqrt(n Var(w) E[g'(a)²]).
    """
    g, slope = FUNCTIONS[activation]
    variance, log_factor = first_variance, 0.0
    for _ in range(depth - 1):
        log_factor += 0.5 * math.log(n_var_w * gaussian_mean(lambda a: slope(a) ** 2, variance))
        variance = n_var_w * gaussian_mean(lambda a: g(a) ** 2, variance) + var_b
    return math.exp(log_factor / (depth - 1))
