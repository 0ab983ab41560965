"""Costs: the last module, whose inputs are the network's outputs and the targets. Slide "Type usuel de modules"."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.by_hand.activations import softmax
from lightning_modules.by_hand.module import StoringModule
from lightning_modules.layers import choose
from lightning_modules.losses import REDUCTIONS, validate_class_shape, validate_same_shape


class Cost(StoringModule, ABC):
    """L(z^end, y), a mean over the batch, and delta^end = ∂L/∂z^end, where the backward pass starts.

    Slide "Type usuel de modules".
    """

    @abstractmethod
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the cost, a scalar, and store what `backward` needs.

        Raises:
            ValueError: targets that do not match the outputs.
        """

    @abstractmethod
    def backward(self) -> Tensor:
        """Compute delta^end of the last forward pass, (batch, outputs)."""


class MSE(Cost):
    """L = 1/N Σ (z − y)²; delta^end = 2/N (z − y), where N = batch · outputs.

    Slide "Zoom sur le module k: forward / backward". Targets have the shape of the outputs.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, outputs), (batch, outputs) to ()."""
        validate_same_shape("mse", outputs, targets)
        difference = outputs - targets
        self.store(difference)
        return difference.square().mean()

    def backward(self) -> Tensor:
        """Compute 2/N (z − y), (batch, outputs)."""
        (difference,) = self.stored
        return 2 * difference / difference.numel()


class CrossEntropy(Cost):
    """L = mean of −z_k + log Σ_j e^(z_j), including softmax; delta_i^end = (softmax(z)_i − 1_{i=k}) / batch.

    Slide "Coût Cross-entropique". Targets are the labels k.
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, classes), (batch,) to ()."""
        validate_class_shape("cross_entropy", outputs, targets)
        self.store(outputs, targets)
        return (outputs.logsumexp(1) - outputs.gather(1, targets[:, None])[:, 0]).mean()

    def backward(self) -> Tensor:
        """Compute (softmax(z) − 1_{i=k}) / batch, (batch, classes)."""
        outputs, labels = self.stored
        return (softmax(outputs) - F.one_hot(labels, outputs.shape[1])) / len(outputs)


class BCE(Cost):
    """L = −Σ (y log ŷ + (1 − y) log(1 − ŷ)) with ŷ = σ(z), including sigmoid; delta_i^end = (ŷ_i − y_i) / batch.

    Slide "Cross-entropie binaire". Labels are independent, 0 or 1. The cost is computed in the equivalent form
    max(z, 0) − z·y + log(1 + e^(−|z|)), which is finite for every z.

    Args:
        reduction: reduction over the labels: "sum", as on the slide, or "mean", which divides L and delta by their
            number.

    Raises:
        ValueError: another reduction.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        choose("reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, labels), (batch, labels) to ()."""
        validate_same_shape("bce", outputs, targets)
        self.store(outputs, targets)
        cost = outputs.relu() - outputs * targets + (-outputs.abs()).exp().log1p()
        return cost.sum() / self._divisor(outputs)

    def backward(self) -> Tensor:
        """Compute (σ(z) − y) / batch or (σ(z) − y) / (batch · labels), (batch, labels)."""
        outputs, targets = self.stored
        return (torch.sigmoid(outputs) - targets) / self._divisor(outputs)

    def _divisor(self, outputs: Tensor) -> int:
        return len(outputs) if self.reduction == "sum" else outputs.numel()
