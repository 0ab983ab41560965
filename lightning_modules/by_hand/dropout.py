"""Dropout as a module."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.by_hand.module import Module
from lightning_modules.layers import validate_number


class Dropout(Module):
    """z^k = m · z^(k-1), where m is 0 with probability p, else 1 / (1 − p); delta^(k-1) = m · delta^k.

    Slide "Lutter contre le sur-apprentissage". Inverted dropout, as in torch: training scales the remaining outputs, so
    that evaluation is the identity. The mask is drawn per sample and unit from torch's global generator; on the CPU it
    equals that of `nn.Dropout`.

    Args:
        probability: probability p that a unit's output is dropped, in [0, 1).

    Raises:
        ValueError: a probability out of range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        validate_number("dropout", probability, minimum=0, below=1)
        self.probability = probability

    def forward(self, z: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        kept = 1 - self.probability
        # No draw if nothing is dropped, so that the generator has the same state as after nn.Dropout.
        draws = self.training and self.probability > 0
        mask = torch.empty_like(z).bernoulli_(kept) / kept if draws else torch.ones_like(z)
        self.store(mask)
        return mask * z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        (mask,) = self.stored
        return mask * delta
