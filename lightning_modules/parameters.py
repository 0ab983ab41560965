"""The number of parameters, and the width at which two architectures have equally many."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lightning_modules.layers import validate_count


def parameter_count(network: nn.Module) -> int:
    """Count the trainable parameters of a network, without frozen parameters and buffers."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def matched_width(target: int, build: Callable[[int], nn.Module]) -> int:
    """Find the width, >= 1, whose parameter count is nearest to a target; the smaller width if two are equally near.

    Slide "Réseau Fully-Connected": architectures are compared at equal numbers of parameters.

    Args:
        target: `parameter_count` of the network to compare with, >= 1.
        build: function from a width to a network whose parameter count increases with the width, for example
            `lambda width: FullyConnectedNetwork(784, 10, [width], seed=0)`.

    Raises:
        ValueError: the target is not a whole number >= 1.
    """
    validate_count("target", target)
    low, high = 1, 2
    while parameter_count(build(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameter_count(build(middle)) < target else (low, middle)
    return min(low, high, key=lambda width: abs(parameter_count(build(width)) - target))
