"""Dropout as a module."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.by_hand.module import Module
from lightning_modules.layers import check_number


class Dropout(Module):
    """z^k = m · z^(k-1), with m = 0 with the given probability, else 1 / (1 − p); delta^(k-1) = m · delta^k.

    Slide "Lutter contre le sur-apprentissage". Inverted, as in torch: what is kept is enlarged in training, so that
    evaluation passes everything on unchanged. One draw a sample and unit, from torch's global generator: on the CPU
    the very draw that `nn.Dropout` makes.

    Args:
        probability: of a unit's output to be dropped, in [0, 1).

    Raises:
        ValueError: a probability out of range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        check_number("dropout", probability, minimum=0, below=1)
        self.probability = probability

    def forward(self, z: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        kept = 1 - self.probability
        # Without a draw where nothing is dropped: the generator stays where nn.Dropout leaves it.
        draws = self.training and self.probability > 0
        mask = torch.empty_like(z).bernoulli_(kept) / kept if draws else torch.ones_like(z)
        self.store(mask)
        return mask * z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        (mask,) = self.stored
        return mask * delta
