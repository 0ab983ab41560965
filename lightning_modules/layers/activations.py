"""Activation functions z = g(a), by the name a config gives them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.layers import choose


def _sign(a: Tensor) -> Tensor:
    # Of a number, no function that autograd would differentiate: but `where` keeps the graph, with gradient 0. Torch's
    # own sign turns NaN into 0, and a network that diverged would look well.
    return torch.where(a.isnan(), a, 2 * (a >= 0).to(a.dtype) - 1)


class Sign(nn.Module):
    """−1 below 0 and +1 from 0 on; unlike torch's sign, which is 0 at 0, it always decides.

    The derivative is 0 everywhere, so no layer before it ever learns. Slide "Non-linéarité".
    """

    def forward(self, a: Tensor) -> Tensor:
        """Any shape, kept; NaN stays NaN."""
        return _sign(a)


class StraightThroughSign(nn.Module):
    """`Sign` forwards; backwards the derivative of clip(a, −1, 1): 1 where |a| <= 1, else 0.

    The straight-through estimator of Bengio et al. 2013, clipped as by Hubara et al. 2016.
    """

    def forward(self, a: Tensor) -> Tensor:
        """Any shape, kept; NaN stays NaN."""
        # Not clamp, whose derivative at |a| = 1 is another from version to version of torch. The difference is exactly
        # 0: only its gradient counts.
        passing = torch.where(a.abs() <= 1, a, 0)
        return _sign(a).detach() + (passing - passing.detach())


# Never in place: an in-place activation overwrites the pre-activation that the instruments read, and
# `register_full_backward_hook` raises on it.
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
