"""The fully connected network."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from lightning_modules.base import FlatSamples, LectureModule, not_none
from lightning_modules.layers import choose, validate_count
from lightning_modules.layers.activations import activation as build_activation
from lightning_modules.layers.dropout import dropout as build_dropout
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.layers.normalization import POSITIONS
from lightning_modules.layers.normalization import normalization as build_normalization


@dataclass(kw_only=True, eq=False, repr=False)
class LinearOptions:
    """Options of the linear layers of a network."""

    initialization: str = "default"
    """Initialisation of all layers: default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1) or zero
    (0)."""
    bias: bool = True
    """Whether the linear layers have a bias."""


@dataclass(kw_only=True, eq=False, repr=False)
class HiddenOptions(LinearOptions):
    """Options of the hidden layers of a network."""

    activation: str = "relu"
    """identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    normalization: str = "none"
    """Normalisation of hidden layers: none, batch or layer."""
    normalization_position: str | None = None
    """before (default) or after the activation; only with a normalization."""
    gain: float = 1.0
    """Factor of the initial weights of hidden layers; n·Var(w) is proportional to its square."""
    output_gain: float = 1.0
    """Factor of the initial weights of the output layer; with a large one the network starts out confident and
    wrong."""
    dropout: float = 0.0
    """Probability that a hidden unit's output is dropped, in [0, 1)."""
    dropout_mask: str | None = None
    """sample (default): one mask per sample; batch: one mask for all samples of a batch; only with dropout."""
    residual: bool = False
    """Add a hidden layer's input to its output where both have the same size."""


def options_of(kind: type, thing: Any) -> dict[str, Any]:
    """Return the attributes of an object that are fields of a dataclass, by name."""
    return {option.name: getattr(thing, option.name) for option in fields(kind)}


class HiddenLayer(nn.Module):
    """Linear map, normalisation, activation and dropout, in this order or with the normalisation after the activation.

    The pre-activation a is the input of `activation`; z is its output. The linear map keeps its bias before BatchNorm,
    where it is redundant, so that networks with and without BatchNorm differ in nothing else.

    Args:
        in_features: size of the input.
        out_features: number of units.
        options: options of the network; a residual sum needs equal sizes.
    """

    def __init__(self, in_features: int, out_features: int, options: HiddenOptions) -> None:
        super().__init__()
        self.linear = linear(in_features, out_features, options.bias)
        self.normalization = build_normalization(options.normalization, out_features)
        self.activation = build_activation(options.activation)
        self.dropout = build_dropout(options.dropout, options.dropout_mask)
        self.normalize_first = options.normalization_position != "after"
        self.residual = options.residual and in_features == out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in_features) to (batch, out_features)."""
        z: Tensor = self.linear(inputs)
        if self.normalization is not None and self.normalize_first:
            z = self.normalization(z)
        z = self.activation(z)
        if self.normalization is not None and not self.normalize_first:
            z = self.normalization(z)
        if self.dropout is not None:
            z = self.dropout(z)
        return inputs + z if self.residual else z


class FullyConnectedNetwork(nn.Module):
    """Hidden layers followed by a linear output layer.

    The output is a pure function of parameters, buffers and batch, except that dropout in training uses the global
    generator. Initial weights do not use it: see `layers.initialization.weight_generator`.

    Args:
        in_features: size of a flattened sample.
        out_features: number of outputs, which have no activation.
        hidden: number of units of each hidden layer, starting at the input.
        seed: seed of the initial weights.
        options: see `HiddenOptions`, for example `activation="tanh"`.

    Raises:
        TypeError: unknown option.
        ValueError: unknown name, number out of range, or option without effect.
    """

    def __init__(
        self, in_features: int, out_features: int, hidden: Sequence[int], *, seed: int, **options: Any
    ) -> None:
        super().__init__()
        chosen = HiddenOptions(**options)
        choose("normalization_position", chosen.normalization_position or "before", POSITIONS)
        if chosen.normalization_position is not None and chosen.normalization == "none":
            position = chosen.normalization_position
            raise ValueError(f"normalization_position={position} has no effect: normalization is none")
        sizes = [in_features, *hidden]
        for size in (*sizes, out_features):
            validate_count("the size of a layer", size)
        pairs = list(itertools.pairwise(sizes))
        if chosen.residual and all(before != after for before, after in pairs):
            raise ValueError(f"residual=True has no effect: no two consecutive layers of {sizes} have the same size")
        self.in_features = in_features
        self.hidden = nn.ModuleList(HiddenLayer(before, after, chosen) for before, after in pairs)
        self.output = linear(sizes[-1], out_features, chosen.bias)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                factor = chosen.output_gain if module is self.output else chosen.gain
                initialize_linear(module, chosen.initialization, factor, weight_generator(seed, name))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …) to (batch, out_features).

        Raises:
            ValueError: samples of a size other than `in_features`.
        """
        z = inputs.flatten(1) if inputs.dim() > 1 else inputs
        if z.dim() != 2 or z.shape[1] != self.in_features:
            shape = tuple(inputs.shape)
            raise ValueError(f"a batch must have {self.in_features} features a sample; its shape is {shape}")
        for layer in self.hidden:
            z = layer(z)
        outputs: Tensor = self.output(z)
        return outputs


def hidden_widths(depth: int | None, width: int | None, hidden: Sequence[int] | None) -> list[int]:
    """Return the sizes of the hidden layers, given as depth and width or as a list.

    Raises:
        ValueError: neither or both are given, a number below 1, or no hidden layer.
    """
    if hidden is not None:
        if depth is not None or width is not None:
            raise ValueError(f"give depth and width or hidden, not both: depth={depth}, width={width}, hidden={hidden}")
        if not hidden:
            raise ValueError("hidden must list at least one width, not []")
        return list(hidden)
    if depth is None or width is None:
        raise ValueError(f"give depth and width or hidden: depth={depth}, width={width}, hidden={hidden}")
    validate_count("depth", depth)
    validate_count("width", width)
    return [width] * depth


@dataclass(kw_only=True, eq=False, repr=False)
class FullyConnected(HiddenOptions, FlatSamples, LectureModule):
    """Fully connected network: linear layers, each followed by an activation, and a linear output.

    Slide "Réseau Fully-Connected". Give either depth and width, or the list hidden.

    Raises:
        ValueError: unknown name, number out of range, or option without effect.
    """

    depth: int | None = None
    """Number of hidden layers, >= 1."""
    width: int | None = None
    """Units of each hidden layer, >= 1."""
    hidden: list[int] | None = None
    """Units of each hidden layer as a list, starting at the input; instead of depth and width."""

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        return FullyConnectedNetwork(
            not_none(self.num_features),
            not_none(self.num_classes),
            hidden_widths(self.depth, self.width, self.hidden),
            seed=not_none(self.seed),
            **options_of(HiddenOptions, self),
        )
