"""The linear module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.by_hand.module import Module, accumulate


class Linear(Module):
    """z^k = W^t z^(k-1) + b; delta_j^(k-1) = Σ_n delta_n^k w_jn; ∂L/∂w_jn = Σ_batch delta_n^k z_j^(k-1).

    Slides "Type usuel de modules" and "Zoom sur le module k: forward / backward". Each w_jn acts on one output and each
    z_j on all outputs, hence the sum over n in the delta. The lecture's W is (inputs, outputs); `weight` is its
    transpose, as in torch.

    Args:
        weight: initial W^t, (outputs, inputs).
        bias: initial b, (outputs,), or None for no bias.

    Raises:
        ValueError: shapes that do not match.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        if weight.dim() != 2 or (bias is not None and bias.shape != weight.shape[:1]):
            shapes = f"{tuple(weight.shape)} and {None if bias is None else tuple(bias.shape)}"
            raise ValueError(f"weight must be (outputs, inputs) and bias (outputs,) or None, not {shapes}")
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, z: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs).

        Raises:
            ValueError: a batch of another shape.
        """
        if z.dim() != 2 or z.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"a batch must have {self.weight.shape[1]} features a sample; its shape is {tuple(z.shape)}"
            )
        self.store(z)
        outputs = z @ self.weight.T
        return outputs if self.bias is None else outputs + self.bias

    @torch.no_grad()
    def backward(self, delta: Tensor) -> Tensor:
        """(batch, outputs) to (batch, inputs)."""
        (z,) = self.stored
        accumulate(self.weight, delta.T @ z)
        if self.bias is not None:
            accumulate(self.bias, delta.sum(0))
        return delta @ self.weight
