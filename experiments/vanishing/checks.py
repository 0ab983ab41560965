"""Checks of identities: pure functions of a seed that return the largest error of many draws."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.layers.activations import activation

DRAWS = 1000


def active_relu_derivative(seed: int) -> dict[str, float]:
    """Verify that ReLU's derivative is exactly 1 where the unit is active and exactly 0 elsewhere."""
    a = _draws(seed, scale=10.0)
    return _error(_slope("relu", a), (a > 0).double())


def sigmoid_identities(seed: int) -> dict[str, float]:
    """Verify σ(x) = 1 - σ(-x) = e^x / (e^x + 1), σ(0) = ½, σ' = σ(1 - σ) and σ' <= ¼."""
    x = _draws(seed, scale=10.0)
    sigmoid = activation("sigmoid")
    s, slope = sigmoid(x), _slope("sigmoid", x)
    left = torch.cat([s, s, slope, sigmoid(torch.zeros(1, dtype=x.dtype)), slope.clamp(max=0.25)])
    right = torch.cat([1 - sigmoid(-x), x.exp() / (x.exp() + 1), s * (1 - s), torch.full((1,), 0.5), slope])
    return _error(left, right)


def _draws(seed: int, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(DRAWS, generator=generator, dtype=torch.float64)


def _slope(name: str, a: Tensor) -> Tensor:
    point = a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(name)(point).sum(), point)
    return slope


def _error(value: Tensor, truth: Tensor) -> dict[str, float]:
    error = ((value - truth).abs() / (1 + truth.abs())).max()
    return {"error": float(error), "draws": float(DRAWS)}
