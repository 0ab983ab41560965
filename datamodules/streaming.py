"""Data that stay as their source holds them: batches made by worker processes, in the same order as in memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.loader import TensorLoader

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


class _Batches(Dataset[tuple[Tensor, ...]]):
    """Item i is the i-th batch of an epoch."""

    def __init__(self, loader: TensorLoader, inputs: Callable[[Tensor, int], Tensor]) -> None:
        self.order, self.epoch = loader.order(loader.epoch), loader.epoch
        self.batch_size, self.targets, self.inputs = loader.batch_size, loader.tensors[1:], inputs

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.inputs(rows, self.epoch), *(tensor[rows] for tensor in self.targets)


class StreamLoader(TensorLoader):
    """A `TensorLoader` whose inputs are made batch by batch, ahead of time, by the workers of a `DataLoader`.

    Args:
        targets: (n, …); they are in memory.
        batch_size: samples per batch.
        seed: what the order of the samples depends on, together with the epoch.
        shuffle: draw a new order every epoch.
        inputs: called with the rows of a batch, (b,), and the epoch, it gives its inputs.
        workers: processes that call it; with 0, or in a process that may not have children, the caller does.
    """

    def __init__(
        self,
        targets: Tensor,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        inputs: Callable[[Tensor, int], Tensor],
        workers: int,
    ) -> None:
        rows = torch.arange(len(targets))
        super().__init__((rows, targets), batch_size=batch_size, seed=seed, shuffle=shuffle, inputs=inputs)
        self._make = inputs
        self.workers = workers

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.position, self._start = self._start, 0
        workers = 0 if multiprocessing.current_process().daemon else self.workers
        left = range(self.position, len(self))
        # A generator of its own: the global one belongs to the network.
        own = torch.Generator()
        batches = _Batches(self, self._make)
        for batch in DataLoader(batches, batch_size=None, sampler=left, num_workers=workers, generator=own):
            # What the workers have made ahead does not count.
            self.position += 1
            yield tuple(batch)
