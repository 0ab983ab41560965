"""Least squares without training: likelihoods, the mean against the median on made-up samples, the slide's network."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal

from datamodules.synthetic import NOISES, uniform
from experiments.regression import theory
from lightning_modules.two_layer import TwoLayer

DRAWS = 200
# Samples that an estimate is made of, all odd: there the median is one of them. The larger contain the smaller.
SIZES = (5, 21, 51, 101, 201)
# Estimates that a variance is taken over: the ratio of two is then known to about 2 %.
REPETITIONS = 4000


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Compute the lecture's cost of each sample."""
    return (prediction - y).square()


def absolute_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Compute the cost that the median minimises, of each sample."""
    return (prediction - y).abs()


def least_squares_is_likelihood(seed: int) -> dict[str, float]:
    """−log N(y; ŷ, σ²) and (ŷ − y)² / 2σ² have the same slope in ŷ, and so the same minimum, whatever σ.

    So do −log Laplace(y; ŷ, b) and |ŷ − y| / b. Against `torch.distributions` and autograd.
    """
    prediction, y, log_scale = torch.randn(3, DRAWS, generator=_generator(seed), dtype=torch.float64)
    scale = log_scale.exp()
    of_costs = [
        _slope(lambda at: squared_error(at, y) / (2 * scale.square()), prediction),
        _slope(lambda at: absolute_error(at, y) / scale, prediction),
    ]
    of_laws = [
        _slope(lambda at: _surprise(Normal(at, scale), y), prediction),
        _slope(lambda at: _surprise(Laplace(at, scale), y), prediction),
    ]
    return _error(torch.cat(of_costs), torch.cat(of_laws))


def mean_against_median(seed: int) -> dict[str, float]:
    """Variance of the mean over that of the median of n samples of each noise law, by simulation.

    Returns:
        `<law>/ratio/<n>` at every size; at the largest, `<law>/doublings`: log2 of the ratio; `<law>/theory_error`:
        the ratio over its limit for n → ∞, minus 1, where that is finite.
    """
    numbers = {}
    for law, noise in NOISES.items():
        samples = noise(uniform(seed, f"location/{law}", REPETITIONS, SIZES[-1]))
        for n in SIZES:
            ratio = float(samples[:, :n].mean(1).var() / samples[:, :n].median(1).values.var())
            numbers[f"{law}/ratio/{n}"] = ratio
        numbers[f"{law}/doublings"] = math.log2(ratio)
        if math.isfinite(limit := theory.limit_ratio(law)):
            numbers[f"{law}/theory_error"] = ratio / limit - 1
    return numbers


class AsOnTheSlide(nn.Module):
    """The lecture's example of a module: five units between two linear layers."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, 5)
        self.activation = nn.Tanh()
        self.second = nn.Linear(5, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, features) to (batch, 1)."""
        outputs: Tensor = self.second(self.activation(self.first(inputs)))
        return outputs


def two_layer_network(seed: int) -> dict[str, float]:
    """`TwoLayer` with the slide's module's weights computes what that computes."""
    features = 10
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        slide = AsOnTheSlide(features).double()
    network = TwoLayer(num_features=features, num_classes=1, seed=seed).network.double()
    # Both list their parameters from the input on: weight and bias of one layer, then of the other.
    network.load_state_dict(dict(zip(network.state_dict(), slide.state_dict().values(), strict=True)))
    inputs = torch.randn(DRAWS, features, generator=_generator(seed), dtype=torch.float64)
    with torch.no_grad():
        return _error(network(inputs), slide(inputs))


def _surprise(law: Distribution, y: Tensor) -> Tensor:
    surprise: Tensor = -law.log_prob(y)
    return surprise


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    point = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(point).sum(), point)
    return slope


def _error(value: Tensor, truth: Tensor) -> dict[str, float]:
    error = ((value - truth).abs() / (1 + truth.abs())).max()
    return {"error": float(error), "draws": float(DRAWS)}
