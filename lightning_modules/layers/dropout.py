"""Dropout, by the name of what shares a mask. Slide "Dropout"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.layers import check_number, choose


class BatchDropout(nn.Module):
    """Drop the same units for all samples of a batch: one thinned network an iteration, as the slide describes it.

    What is kept is scaled by 1/(1 − p), so that the mean stays; nothing is dropped in evaluation. The mask comes from
    the global generator, as that of `nn.Dropout` does.

    Args:
        p: probability of a unit to be dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …), kept."""
        return inputs * F.dropout(torch.ones_like(inputs[:1]), self.p, self.training)

    def extra_repr(self) -> str:
        """Show p, as `nn.Dropout` does."""
        return f"p={self.p}"


DROPOUT_MASKS: dict[str, type[nn.Dropout] | type[BatchDropout]] = {"sample": nn.Dropout, "batch": BatchDropout}


def dropout(p: float, mask: str | None = None) -> nn.Module | None:
    """Build a dropout.

    Args:
        p: probability of a unit's output to be dropped, in [0, 1).
        mask: "sample" (if not given), drawn for each sample (Srivastava et al. 2014, and torch); or "batch", drawn
            once for all samples of a batch.

    Returns:
        The module, or None for p = 0.

    Raises:
        ValueError: unknown name, a number out of range, or a mask where nothing is dropped.
    """
    check_number("dropout", p, minimum=0, below=1)
    build = choose("dropout_mask", "sample" if mask is None else mask, DROPOUT_MASKS)
    if p:
        return build(p)
    if mask is not None:
        raise ValueError(f"dropout_mask={mask} has no effect: dropout is 0")
    return None
