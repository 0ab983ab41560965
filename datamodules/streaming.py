"""Inputs that are computed from the source on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# Number of samples per chunk in a pass over all samples.
CHUNK = 4096


class LazyInputs:
    """Inputs that are computed when they are indexed, as if they were a tensor.

    Args:
        x: inputs of the source, (n, …).
        rows: rows of the source, in order.
        features: function from inputs of the source to inputs of the network.
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
        """Compute all inputs, chunk by chunk."""
        for part in torch.split(torch.arange(len(self)), CHUNK):
            yield self[part]
