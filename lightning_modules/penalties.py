"""Penalties on the weights (the lecture's ‖W‖^p): their value, and the parameters that they act on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_modules.layers.normalization import NORMALIZATIONS

# The parameter `weight` of these layers is a scale, not a weight between two layers.
NORMALIZATION_LAYERS = (*(module for module in NORMALIZATIONS.values() if module is not None), nn.BatchNorm2d)


def penalized_weights(network: nn.Module) -> list[nn.Parameter]:
    """List the weights that penalties and weight decay act on, without biases, normalisation scales and frozen ones."""
    return [
        parameter
        for module in network.modules()
        if not isinstance(module, NORMALIZATION_LAYERS)
        for name, parameter in module.named_parameters(recurse=False)
        if name.startswith("weight") and parameter.requires_grad
    ]


def penalty(weights: Iterable[Tensor], l1: float, l2: float) -> Tensor:
    """Compute l1·Σ|w| + l2·Σw². Slide "Lutter contre le sur-apprentissage".

    The gradient of the second term is 2·l2·w: with plain SGD it is equivalent to `weight_decay = 2·l2`.

    Args:
        weights: at least one tensor.
        l1: factor of the sum of absolute values, >= 0.
        l2: factor of the sum of squares, >= 0.

    Returns:
        A scalar.
    """
    terms = []
    for weight in weights:
        if l1:
            terms.append(l1 * weight.abs().sum())
        if l2:
            terms.append(l2 * weight.square().sum())
    return torch.stack(terms).sum()
