"""Data that stay as their source holds them: inputs are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Samples that are made together where all of them are looked at.
CHUNK = 4096


class Unread:
    """Inputs that are made when they are asked for: to be indexed like the tensor that they would fill.

    Args:
        x: inputs as the source holds them, (n, …).
        rows: which of them, in their order.
        features: turns some of them into inputs.
    """

    def __init__(self, x: Tensor, rows: Tensor, features: Callable[[Tensor], Tensor]) -> None:
        self.x, self.rows, self.features = x, rows, features
        self.shape = (len(rows), *features(x[rows[:1]]).shape[1:])
        self.device = x.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.features(self.x[self.rows[index]])

    def chunks(self) -> Iterator[Tensor]:
        """Make all of them, one part after another."""
        for part in torch.split(torch.arange(len(self)), CHUNK):
            yield self[part]
