"""Activation modules, which have no parameters; their backward pass maps ∂L/∂z to ∂L/∂a.

Slides "Type usuel de modules" (∅ parameters) and "Apprentissage du réseau" (constant parameters).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_modules.by_hand.module import Module


class Sigmoid(Module):
    """z = σ(a) = 1 / (1 + e^(−a)); σ' = σ (1 − σ) <= 1/4. Slide "Gradient vanishing"."""

    def forward(self, a: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        z = torch.sigmoid(a)
        self.store(z)
        return z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        (z,) = self.stored
        return delta * z * (1 - z)


class Tanh(Module):
    """z = tanh(a); tanh' = 1 − tanh². Slide "Type usuel de modules"."""

    def forward(self, a: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        z = torch.tanh(a)
        self.store(z)
        return z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        (z,) = self.stored
        return delta * (1 - z.square())


class ReLU(Module):
    """z = max(0, a); its derivative is 1 where a > 0, and 0 elsewhere. Slide "Gradient vanishing"."""

    def forward(self, a: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        z = torch.relu(a)
        self.store(z)
        return z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        (z,) = self.stored
        # `where`, because 0 · inf is NaN.
        return delta.where(z > 0, 0.0)


def softmax(z: Tensor) -> Tensor:
    """Compute e^(z_i) / Σ_j e^(z_j) in each row; subtracting the row's largest z prevents overflow."""
    exponentials = (z - z.detach().amax(1, keepdim=True)).exp()
    return exponentials / exponentials.sum(1, keepdim=True)


class Softmax(Module):
    """p_i = e^(z_i) / Σ_j e^(z_j); ∂p_i/∂z_j = p_i (1_{i=j} − p_j). Slide "Coût Cross-entropique".

    Each output depends on every input: delta_j = p_j (delta_j − Σ_i delta_i p_i).
    """

    def forward(self, z: Tensor) -> Tensor:
        """(batch, classes) to (batch, classes)."""
        shares = softmax(z)
        self.store(shares)
        return shares

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, classes) to (batch, classes)."""
        (shares,) = self.stored
        return shares * (delta - (delta * shares).sum(1, keepdim=True))
