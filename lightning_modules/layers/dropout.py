"""Dropout with a mask per sample or per batch. Slide "Dropout"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.layers import choose, validate_number


class BatchDropout(nn.Module):
    """Drop the same units for all samples of a batch, which gives one thinned network per iteration as on the slide.

    The remaining units are scaled by 1/(1 − p), which keeps the mean; nothing is dropped in evaluation. The mask is
    drawn from the global generator, as in `nn.Dropout`.

    Args:
        p: probability that a unit is dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …) to (batch, …)."""
        return inputs * F.dropout(torch.ones_like(inputs[:1]), self.p, self.training)

    def extra_repr(self) -> str:
        """Show p, like `nn.Dropout`."""
        return f"p={self.p}"


DROPOUT_MASKS: dict[str, type[nn.Dropout] | type[BatchDropout]] = {"sample": nn.Dropout, "batch": BatchDropout}


def dropout(p: float, mask: str | None = None) -> nn.Module | None:
    """Build a dropout module.

    Args:
        p: probability that a unit's output is dropped, in [0, 1).
        mask: "sample" (default), one mask per sample (Srivastava et al. 2014, and torch); or "batch", one mask for all
            samples of a batch.

    Returns:
        The module, or None for p = 0.

    Raises:
        ValueError: unknown name, number out of range, or a mask with p = 0.
    """
    validate_number("dropout", p, minimum=0, below=1)
    build = choose("dropout_mask", "sample" if mask is None else mask, DROPOUT_MASKS)
    if p:
        return build(p)
    if mask is not None:
        raise ValueError(f"dropout_mask={mask} has no effect: dropout is 0")
    return None
