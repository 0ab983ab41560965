"""The recurrent network, which reads a sample step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Generator, Tensor, nn

from lightning_modules.base import LectureModule, ShapedSamples, not_none
from lightning_modules.fully_connected import options_of
from lightning_modules.layers import validate_count, validate_number
from lightning_modules.layers.activations import activation as build_activation
from lightning_modules.layers.initialization import INITIALIZATIONS, initialize_linear, linear, weight_generator


@torch.no_grad()
def initialize_recurrent(layer: nn.Linear, gain: float, generator: Generator) -> None:
    """Fill a square weight with gain × a random orthogonal matrix, which multiplies the norm of a vector by gain.

    Args:
        layer: a layer without bias.
        gain: all singular values of the weight, and its spectral radius.
        generator: see `weight_generator`.
    """
    weight = torch.empty(layer.weight.shape, dtype=torch.float64, device="cpu")
    layer.weight.copy_(gain * INITIALIZATIONS["orthogonal"](weight, generator))


@dataclass(kw_only=True, eq=False, repr=False)
class RecurrentOptions:
    """Options of a recurrent network."""

    steps: int | None = None
    """Number of steps; the numbers of a sample are read row by row and cut into this many equal parts (64 pixels in 32
    steps of 2). Default: one row (position, feature) per step."""
    activation: str = "tanh"
    """Activation of the state: tanh, relu, identity (a linear cell), sign, sign_straight_through, sigmoid, leaky_relu,
    elu, gelu or silu."""
    initialization: str = "default"
    """Initialisation of input and output weights: default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1)
    or zero (0)."""
    recurrent_gain: float = 1.0
    """Spectral radius of the recurrent weight, which starts as gain × an orthogonal matrix. In a linear cell, the
    gradient's norm is multiplied by it at every step."""


class RecurrentNetwork(nn.Module):
    """Elman's network: state_t = g(W x_t + b + R state_{t−1}) from state_0 = 0, and a linear output of the last state.

    The output is a pure function of parameters and batch. Initial weights do not use the global generator.
    `activation` is called once per step: its input at the t-th call is the pre-activation of step t.

    Args:
        sample_shape: (channels, rows, columns), (channels, length) or (features,).
        out_features: number of outputs, which have no activation.
        width: units of the state.
        seed: seed of the initial weights.
        options: see `RecurrentOptions`. With tanh or relu, the network is equivalent to torch's `nn.RNN`.

    Raises:
        TypeError: unknown option.
        ValueError: unknown name, number out of range, or steps that do not divide the sample.
    """

    def __init__(
        self, sample_shape: Sequence[int], out_features: int, width: int, *, seed: int, **options: Any
    ) -> None:
        super().__init__()
        chosen = RecurrentOptions(**options)
        self.sample_shape = tuple(sample_shape)
        for size in (*self.sample_shape, width, out_features):
            validate_count("the size of a layer", size)
        validate_number("recurrent_gain", chosen.recurrent_gain, above=0)
        numbers = prod(self.sample_shape)
        rows = self.sample_shape[0] if len(self.sample_shape) == 1 else self.sample_shape[1]
        self.steps = rows if chosen.steps is None else chosen.steps
        validate_count("steps", self.steps)
        if numbers % self.steps:
            raise ValueError(
                f"steps must divide the {numbers} numbers of a sample {self.sample_shape}, not {self.steps}"
            )
        self.input = linear(numbers // self.steps, width)
        self.recurrent = linear(width, width, bias=False)
        self.activation = build_activation(chosen.activation)
        self.output = linear(width, out_features)
        for name in ("input", "output"):
            initialize_linear(getattr(self, name), chosen.initialization, 1.0, weight_generator(seed, name))
        initialize_recurrent(self.recurrent, chosen.recurrent_gain, weight_generator(seed, "recurrent"))

    def sequence(self, inputs: Tensor) -> Tensor:
        """Cut samples into steps: (batch, *sample_shape) to (batch, steps, numbers per step).

        Raises:
            ValueError: samples of another shape.
        """
        if inputs.shape[1:] != self.sample_shape:
            shape = tuple(inputs.shape)
            raise ValueError(f"a batch must have samples of shape {self.sample_shape}; its shape is {shape}")
        # A step contains all channels of a row.
        rows = inputs.transpose(1, 2) if inputs.dim() > 2 else inputs
        return rows.reshape(len(inputs), self.steps, -1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, *sample_shape) to (batch, out_features)."""
        # One matrix product for the inputs of all steps.
        driven: Tensor = self.input(self.sequence(inputs))
        state = torch.zeros_like(driven[:, 0])
        for drive in driven.unbind(1):
            state = self.activation(drive + self.recurrent(state))
        outputs: Tensor = self.output(state)
        return outputs


@dataclass(kw_only=True, eq=False, repr=False)
class Recurrent(RecurrentOptions, ShapedSamples, LectureModule):
    """Recurrent network (Elman's cell): reads an image row by row and computes the output from its last state.

    Its gradients can explode (slide "Gradient Clipping"): backpropagation through T steps multiplies the gradient by
    the recurrent weight T times. Elman 1990; Pascanu, Mikolov & Bengio 2013.

    Raises:
        ValueError: unknown name, number out of range, or steps that do not divide the sample.
    """

    width: int
    """Units of the state, >= 1."""

    def configure_network(self) -> RecurrentNetwork:
        """Build the network."""
        options = options_of(RecurrentOptions, self)
        shape, outputs = not_none(self.sample_shape), not_none(self.num_classes)
        return RecurrentNetwork(shape, outputs, self.width, seed=not_none(self.seed), **options)
