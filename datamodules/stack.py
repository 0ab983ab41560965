"""The batches of several seeds side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from datamodules.base import InMemoryDataModule
from datamodules.loader import TensorLoader

# Data up to this size, in bytes, are put side by side, so that a batch is one indexed read for all seeds.
MOST_COPIED = 2**28


class StackedLoader:
    """Batches of several loaders as one: every tensor leads with an axis that has an entry for each of them.

    Args:
        loaders: as many batches each, of the same sizes.

    Raises:
        ValueError: they differ in that.
    """

    # Lightning looks for a sampler here as well.
    batch_sampler = None

    def __init__(self, loaders: Sequence[TensorLoader]) -> None:
        sizes = {(len(loader.tensors[0]), loader.batch_size) for loader in loaders}
        if len(sizes) != 1:
            raise ValueError(f"loaders of different sizes cannot be stacked: {sorted(sizes)}")
        self.loaders = tuple(loaders)
        self.position = 0  # batches of this epoch already handed out
        self._start = 0  # where the next iteration begins: not at 0 only after a resume
        self._augmented = any(loader.inputs is not None for loader in loaders)
        # One entry for each tensor of a batch, with a part for each loader.
        self._parts: list[Sequence[Tensor] | Tensor] = [*zip(*(loader.tensors for loader in loaders), strict=True)]
        size = sum(tensor.nbytes for loader in loaders for tensor in loader.tensors)
        if size <= MOST_COPIED and not self._augmented:
            self._parts = [torch.stack(tuple(parts)) for parts in self._parts]

    def __len__(self) -> int:
        return len(self.loaders[0])

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.position, self._start = self._start, 0
        for batch in self._collected() if self._augmented else self._read():
            self.position += 1
            yield batch

    def _collected(self) -> Iterator[tuple[Tensor, ...]]:
        for loader in self.loaders:
            loader.load_state_dict({"epoch": loader.epoch, "position": self.position})
        for batches in zip(*self.loaders, strict=True):
            yield tuple(torch.stack(tensors) for tensors in zip(*batches, strict=True))

    def _read(self) -> Iterator[tuple[Tensor, ...]]:
        first = self.loaders[0]
        orders = torch.stack([loader.order(loader.epoch) for loader in self.loaders])
        for start in range(self.position * first.batch_size, orders.shape[1], first.batch_size):
            rows = orders[:, start : start + first.batch_size]
            yield tuple(read_rows(parts, rows) for parts in self._parts)

    @property
    def sampler(self) -> StackedLoader:
        """Itself, so that Lightning calls `set_epoch` here."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to iterate next; the epoch that was being resumed goes on where it stopped."""
        if epoch != self.loaders[0].epoch:
            self.position = self._start = 0
        for loader in self.loaders:
            loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches already handed out."""
        return {"epoch": self.loaders[0].epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the last batch that was handed out when the state was saved."""
        for loader in self.loaders:
            loader.load_state_dict(state_dict)
        self.position = self._start = state_dict["position"]


def read_rows(parts: Sequence[Tensor] | Tensor, rows: Tensor) -> Tensor:
    """Read some rows of each of several tensors; where they lie side by side, in one call.

    Args:
        parts: one tensor (parts, n, …), or several (n, …).
        rows: which rows of each, (parts, batch).

    Returns:
        (parts, batch, …).
    """
    if isinstance(parts, Tensor):
        first = torch.arange(len(parts), device=rows.device).unsqueeze(1) * parts.shape[1]
        read = parts.flatten(0, 1).index_select(0, (first + rows).flatten())
        return read.view(*rows.shape, *parts.shape[2:])
    batch = parts[0].new_empty((*rows.shape, *parts[0].shape[1:]))
    for part, own, place in zip(parts, rows, batch, strict=True):
        torch.index_select(part, 0, own, out=place)
    return batch


class StackedData(LightningDataModule):
    """The data of several seeds, each in its own order.

    Args:
        parts: data modules that have been set up.
    """

    def __init__(self, parts: Sequence[InMemoryDataModule]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self._train_loader: StackedLoader | None = None
        self._state_to_resume: dict[str, Any] | None = None

    def train_dataloader(self) -> StackedLoader:
        """Batches of the training splits."""
        loader = StackedLoader([part.train_dataloader() for part in self.parts])
        if self._state_to_resume is not None:
            loader.load_state_dict(self._state_to_resume)
            self._state_to_resume = None
        self._train_loader = loader
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return where the training loader stands, for the checkpoint; see `InMemoryDataModule.state_dict`."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where the saved one stood."""
        self._state_to_resume = state_dict

    def val_dataloader(self) -> StackedLoader:
        """Batches of the validation splits."""
        return StackedLoader([part.val_dataloader() for part in self.parts])

    def test_dataloader(self) -> StackedLoader:
        """Batches of the test splits."""
        return StackedLoader([part.test_dataloader() for part in self.parts])
