"""The fully connected network, and its training."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from lightning_modules.base import FlatSamples, LectureModule, known
from lightning_modules.layers import check_count, choose
from lightning_modules.layers.activations import activation as build_activation
from lightning_modules.layers.dropout import dropout as build_dropout
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.layers.normalization import POSITIONS
from lightning_modules.layers.normalization import normalization as build_normalization


@dataclass(kw_only=True, eq=False, repr=False)
class LinearOptions:
    """What there is to choose about the linear layers of a network."""

    initialization: str = "default"
    """Of all layers: default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1) or zero (0)."""
    bias: bool = True
    """Whether the linear layers have one."""


@dataclass(kw_only=True, eq=False, repr=False)
class HiddenOptions(LinearOptions):
    """What there is to choose about the hidden layers of a network."""

    activation: str = "relu"
    """identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    normalization: str = "none"
    """Of hidden layers: none, batch or layer."""
    normalization_position: str | None = None
    """before (if not given) or after the activation; only with a normalization."""
    gain: float = 1.0
    """Factor of the initial weights of hidden layers; n·Var(w) grows by its square."""
    output_gain: float = 1.0
    """Factor of the initial weights of the output: a large one makes sure, and wrong, at the start."""
    dropout: float = 0.0
    """Probability of a hidden unit's output to be dropped, in [0, 1)."""
    dropout_mask: str | None = None
    """sample (if not given), a mask for each sample; or batch, one an iteration for all its samples; only with
    dropout."""
    residual: bool = False
    """Add a hidden layer's input to its output wherever both have the same size."""


def options_of(kind: type, thing: Any) -> dict[str, Any]:
    """Pick the options that a dataclass declares from an object that has them."""
    return {option.name: getattr(thing, option.name) for option in fields(kind)}


class HiddenLayer(nn.Module):
    """Linear map, normalisation, activation and dropout, in this order or with the normalisation after the activation.

    The pre-activation a is the input of `activation`; z its output. The linear map keeps its bias before a
    BatchNorm, which makes it redundant: every network has the same parameters, and comparisons change one thing.

    Args:
        in_features: size of the input.
        out_features: number of units.
        options: of the network; a residual sum needs equal sizes.
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
    """A succession of linear maps and activations.

    A pure function of parameters, buffers and batch; only dropout, in training, draws from the global generator.
    Building it draws from no global generator either: see `layers.initialization.weight_generator`.

    Args:
        in_features: size of a flattened sample.
        out_features: number of outputs, which have no activation.
        hidden: number of units of each hidden layer, nearest the input first.
        seed: seed of the initial weights.
        options: see `HiddenOptions`: `activation="tanh"`.

    Raises:
        TypeError: an option that does not exist.
        ValueError: a name that does not exist, a number out of range, or an option without effect.
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
            check_count("the size of a layer", size)
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
            ValueError: a sample has another size than `in_features`.
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
    """Read the sizes of the hidden layers from either way of giving them.

    Raises:
        ValueError: neither way or both, a number below 1, or no hidden layer.
    """
    if hidden is not None:
        if depth is not None or width is not None:
            raise ValueError(f"give depth and width or hidden, not both: depth={depth}, width={width}, hidden={hidden}")
        if not hidden:
            raise ValueError("hidden must list at least one width, not []")
        return list(hidden)
    if depth is None or width is None:
        raise ValueError(f"give depth and width or hidden: depth={depth}, width={width}, hidden={hidden}")
    check_count("depth", depth)
    check_count("width", width)
    return [width] * depth


@dataclass(kw_only=True, eq=False, repr=False)
class FullyConnected(HiddenOptions, FlatSamples, LectureModule):
    """Fully connected network: linear layers, each followed by an activation, and a linear output.

    Slide "Réseau Fully-Connected". The shape is given by depth and width, or by the list hidden.

    Raises:
        ValueError: a name that does not exist, a number out of range, or an option that would have no effect.
    """

    depth: int | None = None
    """Number of hidden layers, >= 1."""
    width: int | None = None
    """Units of each hidden layer, >= 1."""
    hidden: list[int] | None = None
    """Units of each hidden layer as a list, nearest the input first; instead of depth and width."""

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        return FullyConnectedNetwork(
            known(self.num_features),
            known(self.num_classes),
            hidden_widths(self.depth, self.width, self.hidden),
            seed=known(self.seed),
            **options_of(HiddenOptions, self),
        )
