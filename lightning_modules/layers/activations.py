"""Activation functions z = g(a), by the names used in configs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.layers import choose


def _sign(a: Tensor) -> Tensor:
    # `where` keeps the autograd graph, with gradient 0. Torch's sign maps NaN to 0, which would hide a divergence.
    return torch.where(a.isnan(), a, 2 * (a >= 0).to(a.dtype) - 1)


class Sign(nn.Module):
    """−1 for a < 0 and +1 for a >= 0; torch's sign is 0 at 0.

    The derivative is 0 everywhere, so the layers before it never learn. Slide "Non-linéarité".
    """

    def forward(self, a: Tensor) -> Tensor:
        """Keep the shape; NaN stays NaN."""
        return _sign(a)


class StraightThroughSign(nn.Module):
    """`Sign` in the forward pass; in the backward pass the derivative of clip(a, −1, 1): 1 where |a| <= 1, else 0.

    The straight-through estimator of Bengio et al. 2013, clipped as by Hubara et al. 2016.
    """

    def forward(self, a: Tensor) -> Tensor:
        """Keep the shape; NaN stays NaN."""
        # Not clamp, whose derivative at |a| = 1 depends on the version of torch. The added difference is exactly 0 and
        # only has a gradient.
        passing = torch.where(a.abs() <= 1, a, 0)
        return _sign(a).detach() + (passing - passing.detach())


# Never in place: an in-place activation overwrites the pre-activation that instruments read, and
# `register_full_backward_hook` raises an error.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "sign": Sign,
    "sign_straight_through": StraightThroughSign,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activation(name: str) -> nn.Module:
    """Build an activation, with torch's constants: slope .01 (leaky_relu), alpha 1 (elu), exact erf (gelu).

    Args:
        name: a key of `ACTIVATIONS`.

    Raises:
        ValueError: unknown name.
    """
    return choose("activation", name, ACTIVATIONS)()
