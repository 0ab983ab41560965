"""Initial weights; each layer has its own random generator."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from lightning_modules.layers import choose, validate_number

Fill = Callable[[Tensor, Generator], Tensor]


def _default(weight: Tensor, generator: Generator) -> Tensor:
    bound = weight.shape[1] ** -0.5
    return nn.init.uniform_(weight, -bound, bound, generator)


def _xavier(weight: Tensor, generator: Generator) -> Tensor:
    return nn.init.xavier_normal_(weight, generator=generator)


def _he(weight: Tensor, generator: Generator) -> Tensor:
    return nn.init.kaiming_normal_(weight, generator=generator)


def _orthogonal(weight: Tensor, generator: Generator) -> Tensor:
    return nn.init.orthogonal_(weight, generator=generator)


def _zero(weight: Tensor, _generator: Generator) -> Tensor:
    return nn.init.zeros_(weight)


# The comments give Var(w) for a weight between n inputs and m outputs, and n·Var(w) for n = m.
INITIALIZATIONS: dict[str, Fill] = {
    "default": _default,  # 1/(3n), 1/3: torch's Linear
    # 2/(n+m), 1: Glorot & Bengio 2010. Normal instead of the paper's uniform distribution, with the same variance, so
    # that Xavier and He draw the same numbers from one seed and differ only in scale.
    "xavier": _xavier,
    "he": _he,  # 2/n, 2: He et al. 2015
    "orthogonal": _orthogonal,  # 1/max(n, m), 1: Saxe et al. 2014
    "zero": _zero,  # 0, 0: usual for the perceptron; the units of a hidden layer would stay equal
}


def weight_generator(seed: int, layer: str) -> Generator:
    """Return the random generator of one layer's weights.

    It depends only on the seed and the layer's name. A change of depth, activation, normalisation or dropout therefore
    does not change the weights of other layers, and layers of equal name and shape start from equal weights.

    Args:
        seed: the run's seed.
        layer: the layer's name inside its network, for example "hidden.0.linear".
    """
    return Generator().manual_seed(random.Random(f"{seed}/weights/{layer}").getrandbits(63))


def linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """Build a linear layer without using the global generator; its values are undefined until initialised."""
    return nn.Linear(in_features, out_features, bias, device="meta").to_empty(device="cpu")


@torch.no_grad()
def initialize_linear(linear: nn.Linear, name: str, gain: float, generator: Generator) -> None:
    """Fill the weights and biases of a linear layer.

    Biases are zero, except for "default", which draws them like torch from U(±1/√n), after the weights.

    Args:
        linear: a layer of n inputs and m outputs.
        name: a key of `INITIALIZATIONS`.
        gain: factor of the weights, and of the biases of "default"; n·Var(w) is proportional to gain².
        generator: see `weight_generator`.

    Raises:
        ValueError: unknown name, a gain that is not positive, or a gain without effect because all weights are zero.
    """
    fill = choose("initialization", name, INITIALIZATIONS)
    validate_number("gain", gain, above=0)
    if name == "zero" and gain != 1:
        raise ValueError(f"gain={gain} has no effect: initialization is zero")
    # Drawn in double precision on the CPU, so that all devices and precisions get the same weights up to rounding.
    weight = torch.empty(linear.weight.shape, dtype=torch.float64, device="cpu")
    linear.weight.copy_(gain * fill(weight, generator))
    bias = dict(linear.named_parameters()).get("bias")
    if bias is None:
        return
    if name == "default":
        bound = gain / math.sqrt(linear.in_features)
        bias.copy_(nn.init.uniform_(torch.empty(bias.shape, dtype=torch.float64), -bound, bound, generator))
    else:
        bias.zero_()
