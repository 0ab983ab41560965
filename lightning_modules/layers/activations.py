"""Activation functions z = g(a), by the name a config gives them."""

from __future__ import annotations

from torch import nn

from lightning_modules.layers import choose

# Never in place: an in-place activation overwrites the pre-activation that the instruments read, and
# `register_full_backward_hook` raises on it.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
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
