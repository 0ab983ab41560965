"""A small convolutional network for images and text."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from lightning_modules.base import LectureModule, ShapedSamples, not_none
from lightning_modules.fully_connected import options_of
from lightning_modules.layers import choose, validate_count
from lightning_modules.layers.activations import activation as build_activation
from lightning_modules.layers.dropout import dropout as build_dropout
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator

Convolution = nn.Conv1d | nn.Conv2d

NORMALIZATIONS: dict[str, type[nn.BatchNorm2d] | None] = {"none": None, "batch": nn.BatchNorm2d}
POOLINGS: dict[str, type[nn.MaxPool2d | nn.AvgPool2d] | None] = {
    "none": None,
    "max": nn.MaxPool2d,
    "average": nn.AvgPool2d,
}
POOLING_WINDOW = 2
PADDINGS = {"zeros": "zeros around", "circular": "the opposite border around", "none": "positions inside only"}
HEADS = {"average": "mean over the positions", "flatten": "every position a feature of its own"}


class SequenceConvolution(nn.Conv1d):
    """`nn.Conv1d` for sequences stored as images of one row, so that pooling can use the channels-last format."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels before, 1, positions) to (batch, channels after, 1, positions)."""
        around = int(self.padding[0])
        if self.padding_mode != "zeros":
            inputs, around = F.pad(inputs, (around, around, 0, 0), mode=self.padding_mode), 0
        return F.conv2d(inputs, self.weight.unsqueeze(2), self.bias, padding=(0, around))


def convolution(axes: int, channels: tuple[int, int], kernel_size: int, padding: str) -> Convolution:
    """Build a convolution without using the global generator; its values are undefined until initialised."""
    around = {"padding": 0} if padding == "none" else {"padding": kernel_size // 2, "padding_mode": padding}
    kind = SequenceConvolution if axes == 1 else nn.Conv2d
    built: Convolution = kind(*channels, kernel_size, device="meta", **around)
    return built.to_empty(device="cpu")


@torch.no_grad()
def initialize_convolution(layer: Convolution, name: str, gain: float, generator: Generator) -> None:
    """Fill a convolution's weights and biases as `initialize_linear` does those of a linear layer.

    The corresponding linear layer maps a patch of n = input channels × kernel positions numbers to the output
    channels. Each input contributes to m = output channels × kernel positions sums. The variances of
    `INITIALIZATIONS` hold with these n and m.

    Args:
        layer: the convolution.
        name: a key of `INITIALIZATIONS`.
        gain: multiplies the weights, and the biases of "default".
        generator: see `weight_generator`.

    Raises:
        ValueError: unknown name, a gain that is not positive, or a gain without effect.
    """
    n, outputs, positions = layer.weight[0].numel(), layer.out_channels, layer.weight[0, 0].numel()
    patch_layer = linear(n, outputs)
    initialize_linear(patch_layer, name, gain, generator)
    # In the linear layer, m is the number of output channels; only Xavier's variance depends on m.
    factor = ((n + outputs) / (n + outputs * positions)) ** 0.5 if name == "xavier" else 1.0
    layer.weight.copy_(factor * patch_layer.weight.view_as(layer.weight))
    layer.get_parameter("bias").copy_(patch_layer.bias)


@dataclass(kw_only=True, eq=False, repr=False)
class ConvolutionalOptions:
    """Options of a convolutional network."""

    kernel_size: int = 3
    """Kernel size along each axis; odd unless padding is none."""
    padding: str = "zeros"
    """zeros; circular (opposite borders are neighbours, so a shifted image gives exactly shifted maps); none."""
    pooling: str = "max"
    """max or average, which halve each axis after each activation; or none."""
    head: str = "average"
    """average (mean over the positions of each channel) or flatten (all positions)."""
    activation: str = "relu"
    """identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    normalization: str = "none"
    """none, or batch: normalise each channel over the batch and its positions, before the activation."""
    initialization: str = "default"
    """default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1) or zero (0); n = input channels × kernel
    positions."""
    gain: float = 1.0
    """Factor of the initial weights of the convolutions; n·Var(w) is proportional to its square."""
    dropout: float = 0.0
    """Probability that an output of a layer is dropped, in [0, 1)."""


class ConvolutionalLayer(nn.Module):
    """Convolution, normalisation, activation, pooling and dropout, in this order.

    The pre-activation a is the input of `activation`: (batch, channels, height, width) for images and (batch, channels,
    1, length) for sequences. A unit is a channel at a position. As in `FullyConnected`, the convolution keeps its bias
    before BatchNorm.

    Args:
        axes: 1 for sequences, 2 for images.
        channels: numbers of input and output channels.
        options: options of the network.
    """

    def __init__(self, axes: int, channels: tuple[int, int], options: ConvolutionalOptions) -> None:
        super().__init__()
        norms = choose("normalization", options.normalization, NORMALIZATIONS)
        pools = choose("pooling", options.pooling, POOLINGS)
        self.convolution = convolution(axes, channels, options.kernel_size, options.padding)
        self.normalization = None if norms is None else norms(channels[1])
        self.activation = build_activation(options.activation)
        self.pooling = None if pools is None else pools((1, POOLING_WINDOW) if axes == 1 else POOLING_WINDOW)
        self.dropout = build_dropout(options.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels before, height, width) to (batch, channels after, new height, new width)."""
        z: Tensor = self.convolution(inputs)
        if self.normalization is not None:
            z = self.normalization(z)
        z = self.activation(z)
        if self.pooling is not None:
            z = self.pooling(z)
        return z if self.dropout is None else self.dropout(z)


def map_sizes(sizes: Sequence[int], layers: int, kernel_size: int, padding: str, pooling: str) -> list[int]:
    """Compute the size of the last layer's output along each axis.

    Raises:
        ValueError: an axis becomes too short for the kernel, the padding or the pooling.
    """
    for layer in range(1, layers + 1):
        before = " × ".join(map(str, sizes))
        least = {"none": kernel_size, "circular": kernel_size // 2, "zeros": 1}[padding]
        inside = [size - kernel_size + 1 if padding == "none" else size for size in sizes]
        if min(sizes) < least or (pooling != "none" and min(inside) < POOLING_WINDOW):
            raise ValueError(
                f"layer {layer} of {layers} is given {before} positions, too few for kernel_size={kernel_size} with "
                f"padding={padding} and pooling={pooling}: take fewer layers or a smaller kernel"
            )
        sizes = inside if pooling == "none" else [size // POOLING_WINDOW for size in inside]
    return list(sizes)


class ConvolutionalNetwork(nn.Module):
    """Convolutional layers followed by a linear output layer.

    The output is a pure function of parameters, buffers and batch, except that dropout in training uses the global
    generator. Initial weights do not use it: see `layers.initialization.weight_generator`.

    Args:
        sample_shape: (channels, height, width) of images or (channels, length) of sequences.
        out_features: number of outputs, which have no activation.
        channels: output channels of each layer, starting at the input.
        seed: seed of the initial weights.
        options: see `ConvolutionalOptions`.

    Raises:
        TypeError: unknown option.
        ValueError: unknown name, number out of range, or samples with other axes or too small.
    """

    def __init__(
        self, sample_shape: Sequence[int], out_features: int, channels: Sequence[int], *, seed: int, **options: Any
    ) -> None:
        super().__init__()
        chosen = ConvolutionalOptions(**options)
        self.sample_shape = tuple(sample_shape)
        if len(self.sample_shape) not in (2, 3):
            raise ValueError(
                "a convolution needs samples of shape (channels, height, width) or (channels, length), "
                f"not {self.sample_shape}"
            )
        if not channels:
            raise ValueError("channels must list at least one number of channels, not []")
        for count in (*self.sample_shape, *channels, out_features):
            validate_count("the size of a layer", count)
        size, padding = chosen.kernel_size, chosen.padding
        validate_count("kernel_size", size)
        choose("padding", padding, PADDINGS)
        choose("pooling", chosen.pooling, POOLINGS)
        choose("head", chosen.head, HEADS)
        if padding != "none" and size % 2 == 0:
            raise ValueError(f"kernel_size must be odd with padding={padding}, not {size}: it has no middle")
        before, *positions = self.sample_shape
        sizes = map_sizes(positions, len(channels), size, padding, chosen.pooling)
        self.layers = nn.ModuleList(
            ConvolutionalLayer(len(positions), pair, chosen)
            for pair in zip((before, *channels), channels, strict=False)
        )
        self.average = chosen.head == "average"
        self.output = linear(channels[-1] * (1 if self.average else prod(sizes)), out_features)
        for name, module in self.named_modules():
            draws = weight_generator(seed, name)
            if isinstance(module, Convolution):
                initialize_convolution(module, chosen.initialization, chosen.gain, draws)
            elif isinstance(module, nn.Linear):
                initialize_linear(module, chosen.initialization, 1.0, draws)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, *sample_shape) to (batch, out_features).

        Raises:
            ValueError: samples of another shape.
        """
        if inputs.shape[1:] != self.sample_shape:
            shape = tuple(inputs.shape)
            raise ValueError(f"a batch must have samples of shape {self.sample_shape}; its shape is {shape}")
        images = inputs.unsqueeze(2) if inputs.dim() == 3 else inputs
        # On a CPU, pooling is slow in any other memory format.
        z = images.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            z = layer(z)
        z = z.flatten(2).mean(2) if self.average else z.flatten(1)
        outputs: Tensor = self.output(z)
        return outputs


@dataclass(kw_only=True, eq=False, repr=False)
class Convolutional(ConvolutionalOptions, ShapedSamples, LectureModule):
    """Small convolutional network: convolutions, each with activation and pooling, and a linear output.

    Slide "Réseau Fully-Connected" says that a fully connected network is unfit for images and text; this is the network
    to compare with. Samples are images (channels, height, width) or text (channels, length).

    Raises:
        ValueError: unknown name, number out of range, or samples with other axes or too small.
    """

    channels: list[int]
    """Output channels of each layer, starting at the input."""

    def configure_network(self) -> ConvolutionalNetwork:
        """Build the network."""
        options = options_of(ConvolutionalOptions, self)
        shape, outputs = not_none(self.sample_shape), not_none(self.num_classes)
        return ConvolutionalNetwork(shape, outputs, self.channels, seed=not_none(self.seed), **options)
