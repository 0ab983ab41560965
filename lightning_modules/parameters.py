"""Counting parameters, and the width at which two architectures have as many."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lightning_modules.layers import check_count


def parameter_count(network: nn.Module) -> int:
    """Count the numbers that training changes: frozen parameters and buffers are left out."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def matched_width(target: int, build: Callable[[int], nn.Module]) -> int:
    """Find the width, >= 1, at which a network's parameter count is nearest to a target; of two, the smaller.

    Slide "Réseau Fully-Connected": what a kind of layer is good for shows at equal parameters only.

    Args:
        target: `parameter_count` of the network to compare with, >= 1.
        build: from a width to a network that grows with it:
            `lambda width: FullyConnectedNetwork(784, 10, [width], seed=0)`.

    Raises:
        ValueError: the target is no count.
    """
    check_count("target", target)
    low, high = 1, 2
    while parameter_count(build(high)) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameter_count(build(middle)) < target else (low, middle)
    return min(low, high, key=lambda width: abs(parameter_count(build(width)) - target))
