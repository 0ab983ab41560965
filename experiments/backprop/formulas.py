"""The slides' formulas for the gradient, in their correct and, where it differs, their transcribed form.

The network is that of the slides "Calcul du gradient: chain rule": two inputs, two hidden units, one output unit, and g
on these three units. w_ij leads from i to j, and w_0j is the bias. All functions compute many draws of weights at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def _sigmoid_slope(a: Tensor) -> Tensor:
    return torch.sigmoid(a) * torch.sigmoid(-a)


def _tanh_slope(a: Tensor) -> Tensor:
    return 1 - torch.tanh(a).square()


# The non-linearity g and its derivative.
FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "sigmoid": (torch.sigmoid, _sigmoid_slope),
    "tanh": (torch.tanh, _tanh_slope),
}


@dataclass(frozen=True)
class SmallNetwork:
    """Draws of the slides' network, with one sample each.

    Args:
        first: w^(1), (draws, 3, 2): row 0 has the biases, row i the weights from x_i, column j the weights to unit j.
        second: w^(2), (draws, 3): the bias, then the weights from z_1 and z_2.
        x: (draws, 2).
        y: (draws,).
        activation: a key of `FUNCTIONS`.
    """

    first: Tensor
    second: Tensor
    x: Tensor
    y: Tensor
    activation: str

    @property
    def a(self) -> Tensor:
        """Activations of the hidden units, (draws, 2): a_j = w_0j + Σ_i w_ij x_i."""
        return self.first[:, 0] + (self.first[:, 1:] * self.x[:, :, None]).sum(1)

    @property
    def z(self) -> Tensor:
        """Outputs of the hidden units, (draws, 2): z_j = g(a_j)."""
        return FUNCTIONS[self.activation][0](self.a)

    @property
    def a3(self) -> Tensor:
        """Activation of the output unit, (draws,)."""
        return self.second[:, 0] + (self.second[:, 1:] * self.z).sum(1)

    @property
    def outputs(self) -> Tensor:
        """ŷ = g(a_3), (draws,)."""
        return FUNCTIONS[self.activation][0](self.a3)

    @property
    def loss(self) -> Tensor:
        """L = (ŷ − y)², (draws,). Slide "Apprentissage"."""
        return (self.outputs - self.y).square()

    def slope(self, a: Tensor) -> Tensor:
        """g'(a)."""
        return FUNCTIONS[self.activation][1](a)


def draw_network(seed: int, draws: int, activation: str) -> SmallNetwork:
    """Draw weights, inputs and targets from a standard normal distribution, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(draws, *shape, generator=generator, dtype=torch.float64)

    return SmallNetwork(normal(3, 2), normal(3), normal(2), normal(), activation)


def with_one(values: Tensor) -> Tensor:
    """Prepend the constant input of the bias: (draws, n) to (draws, n + 1)."""
    return torch.cat([torch.ones_like(values[:, :1]), values], 1)


def output_delta(network: SmallNetwork) -> Tensor:
    """∂L/∂a_3 = 2 g'(a_3) (ŷ − y), (draws,). Slide "Calcul du gradient: chain rule"."""
    return 2 * network.slope(network.a3) * (network.outputs - network.y)


def last_layer(network: SmallNetwork) -> Tensor:
    """∂L/∂w_i1^(2) = 2 g'(a_3) (ŷ − y) z_i, (draws, 3), with z_0 = 1 for the bias."""
    return output_delta(network)[:, None] * with_one(network.z)


def first_layer(network: SmallNetwork) -> Tensor:
    """∂L/∂w_ij^(1) = ∂L/∂a_3 g'(a_j) w_j1^(2) x_i, (draws, 3, 2), with x_0 = 1 for the bias."""
    delta = output_delta(network)[:, None] * network.slope(network.a) * network.second[:, 1:]
    return with_one(network.x)[:, :, None] * delta[:, None]


def first_layer_transcribed(network: SmallNetwork) -> Tensor:
    """∂L/∂a_3 x_i, (draws, 3, 2): the last line of the slide as transcribed, without g'(a_j) w_j1."""
    return with_one(network.x)[:, :, None] * output_delta(network)[:, None, None].expand(-1, 1, 2)


def propagated(slope: Tensor, weights: Tensor, delta: Tensor) -> Tensor:
    """δ_j = g'(a_j) Σ_k w_jk δ_k, a sum over the units k of the next layer. Slide "Cas général".

    Args:
        slope: g'(a_j), (…, j).
        weights: w_jk, (…, j, k).
        delta: δ_k = ∂L/∂a_k, (…, k).
    """
    return slope * (weights * delta[..., None, :]).sum(-1)


def propagated_transcribed(slope: Tensor, weights: Tensor, delta: Tensor) -> Tensor:
    """Σ_k g'(a_k) w_jk δ_k, as transcribed, with the derivative of the wrong layer.

    Args:
        slope: g'(a_k), (…, k).
        weights: w_jk, (…, j, k).
        delta: δ_k = ∂L/∂a_k, (…, k).
    """
    return (slope[..., None, :] * weights * delta[..., None, :]).sum(-1)
