"""Checks without training: least squares and likelihood, mean and median of drawn samples, the slide's network."""

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
# Sample sizes, odd so that the median is one of the samples. Larger samples contain the smaller ones.
SIZES = (5, 21, 51, 101, 201)
# Number of estimates per variance; the ratio of two variances is then accurate to about 2 %.
REPETITIONS = 4000


def squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Compute the squared error of each sample, the lecture's cost."""
    return (prediction - y).square()


def absolute_error(prediction: Tensor, y: Tensor) -> Tensor:
    """Compute the absolute error of each sample, which the median minimises."""
    return (prediction - y).abs()


def least_squares_is_likelihood(seed: int) -> dict[str, float]:
    """Compare the slopes in ŷ of −log N(y; ŷ, σ²) and (ŷ − y)² / 2σ², which have the same minimum for every σ.

    The same for −log Laplace(y; ŷ, b) and |ŷ − y| / b. Likelihoods come from `torch.distributions`, slopes from
    autograd.
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
    """Simulate the variance of the mean divided by that of the median, for n samples of each noise distribution.

    Returns:
        `<law>/ratio/<n>` for every size. For the largest size, `<law>/doublings`: log2 of the ratio, and
        `<law>/theory_error`: the ratio divided by its limit for n → ∞, minus 1, if the limit is finite.
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
    """The lecture's example of a module: two linear layers with five tanh units between them."""

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
    """Compare `TwoLayer` with the slide's module at equal weights."""
    features = 10
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        slide = AsOnTheSlide(features).double()
    network = TwoLayer(num_features=features, num_classes=1, seed=seed).network.double()
    # Both have their parameters in the same order: weight and bias of the first layer, then of the second.
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
