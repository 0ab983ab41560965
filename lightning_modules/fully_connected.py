"""The fully connected network, and its training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lightning_modules.base import LectureModule
from lightning_modules.layers import check_count, choose
from lightning_modules.layers.activations import activation as build_activation
from lightning_modules.layers.dropout import dropout as build_dropout
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.layers.normalization import POSITIONS
from lightning_modules.layers.normalization import normalization as build_normalization


class HiddenLayer(nn.Module):
    """Linear map, normalisation, activation and dropout, in this order or with the normalisation after the activation.

    The pre-activation a is the input of `activation`; z its output. The linear map keeps its bias before a
    BatchNorm, which makes it redundant: every network has the same parameters, and comparisons change one thing.

    Args:
        in_features: size of the input.
        out_features: number of units.
        activation: see `layers.activations`.
        normalization: see `layers.normalization`.
        normalization_position: "before" or "after" the activation.
        dropout: probability of a unit's output to be dropped.
        dropout_mask: see `layers.dropout`.
        residual: add the layer's input to its output.
        bias: whether the linear map has one.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str,
        normalization: str,
        normalization_position: str,
        dropout: float,
        dropout_mask: str | None,
        residual: bool,
        bias: bool,
    ) -> None:
        super().__init__()
        self.linear = linear(in_features, out_features, bias)
        self.normalization = build_normalization(normalization, out_features)
        self.activation = build_activation(activation)
        self.dropout = build_dropout(dropout, dropout_mask)
        self.normalize_first = normalization_position == "before"
        self.residual = residual

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
        activation: see `layers.activations`.
        normalization: see `layers.normalization`; of hidden layers.
        normalization_position: "before" (if not given) or "after" the activation.
        initialization: see `layers.initialization`; of all layers.
        gain: factor of the initial weights of the hidden layers.
        output_gain: factor of the initial weights of the output.
        dropout: probability of a hidden unit's output to be dropped, in [0, 1).
        dropout_mask: see `layers.dropout`.
        residual: add a hidden layer's input to its output wherever both have the same size.
        bias: whether the linear maps have one.

    Raises:
        ValueError: a name that does not exist, a number out of range, or an option without effect.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int],
        *,
        seed: int,
        activation: str = "relu",
        normalization: str = "none",
        normalization_position: str | None = None,
        initialization: str = "default",
        gain: float = 1.0,
        output_gain: float = 1.0,
        dropout: float = 0.0,
        dropout_mask: str | None = None,
        residual: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        position = "before" if normalization_position is None else normalization_position
        choose("normalization_position", position, POSITIONS)
        if normalization_position is not None and normalization == "none":
            raise ValueError(f"normalization_position={position} has no effect: normalization is none")
        sizes = [in_features, *hidden]
        for size in (*sizes, out_features):
            check_count("the size of a layer", size)
        pairs = list(itertools.pairwise(sizes))
        if residual and all(before != after for before, after in pairs):
            raise ValueError(f"residual=True has no effect: no two consecutive layers of {sizes} have the same size")
        self.in_features = in_features
        self.hidden = nn.ModuleList(
            HiddenLayer(
                before,
                after,
                activation,
                normalization,
                position,
                dropout,
                dropout_mask,
                residual and before == after,
                bias,
            )
            for before, after in pairs
        )
        self.output = linear(sizes[-1], out_features, bias)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                factor = output_gain if module is self.output else gain
                initialize_linear(module, initialization, factor, weight_generator(seed, name))

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


class FullyConnected(LectureModule):
    """Fully connected network: linear layers, each followed by an activation, and a linear output.

    Slide "Réseau Fully-Connected". The shape is given by depth and width, or by the list hidden.

    Args:
        num_features: size of a flattened sample; the data module knows it.
        num_classes: number of outputs: of classes, or of target columns for mse; the data module knows it.
        depth: number of hidden layers, >= 1.
        width: units of each hidden layer, >= 1.
        hidden: units of each hidden layer as a list, nearest the input first; instead of depth and width.
        activation: identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu.
        normalization: of hidden layers: none, batch or layer.
        normalization_position: before (if not given) or after the activation; only with a normalization.
        initialization: default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1) or zero (0).
        gain: factor of the initial weights of hidden layers; n·Var(w) grows by its square.
        output_gain: factor of the initial weights of the output: a large one makes sure, and wrong, at the start.
        dropout: probability of a hidden unit's output to be dropped, in [0, 1).
        dropout_mask: sample (if not given), a mask for each sample; or batch, one an iteration for all its samples;
            only with dropout.
        residual: add a hidden layer's input to its output wherever both have the same size.
        bias: whether the linear layers have one.
        training: of `LectureModule`.

    Raises:
        ValueError: a name that does not exist, a number out of range, or an option that would have no effect.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        depth: int | None = None,
        width: int | None = None,
        hidden: list[int] | None = None,
        activation: str = "relu",
        normalization: str = "none",
        normalization_position: str | None = None,
        initialization: str = "default",
        gain: float = 1.0,
        output_gain: float = 1.0,
        dropout: float = 0.0,
        dropout_mask: str | None = None,
        residual: bool = False,
        bias: bool = True,
        **training: Any,
    ) -> None:
        check_count("num_features", num_features)
        check_count("num_classes", num_classes)
        self.num_features = num_features
        self.num_classes = num_classes
        self.widths = hidden_widths(depth, width, hidden)
        self.activation = activation
        self.normalization = normalization
        self.normalization_position = normalization_position
        self.initialization = initialization
        self.gain = gain
        self.output_gain = output_gain
        self.dropout = dropout
        self.dropout_mask = dropout_mask
        self.residual = residual
        self.bias = bias
        super().__init__(**training)

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        return FullyConnectedNetwork(
            self.num_features,
            self.num_classes,
            self.widths,
            seed=self.seed,
            activation=self.activation,
            normalization=self.normalization,
            normalization_position=self.normalization_position,
            initialization=self.initialization,
            gain=self.gain,
            output_gain=self.output_gain,
            dropout=self.dropout,
            dropout_mask=self.dropout_mask,
            residual=self.residual,
            bias=self.bias,
        )
