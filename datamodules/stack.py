"""Stacked batches of several seeds."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import InMemoryDataModule, ScaledInputs
from datamodules.loader import Batch, BatchIndex, Order, OrderedLoader, ResumableData, Samples, ordered_loader


class StackedOrder(Order):
    """The orders of several seeds, with batches of rows (seeds, batch).

    Args:
        orders: orders of equal length and batch size.
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        first = orders[0]
        super().__init__(first.n, batch_size=first.batch_size, seed=first.seed, shuffle=first.shuffle)
        self.orders = tuple(orders)

    def rows(self, epoch: int) -> Tensor:
        """Return the order of each seed, (seeds, n)."""
        return torch.stack([order.rows(epoch) for order in self.orders])


class SharedInputs:
    """The inputs of several seeds, computed batch by batch from the source that they share.

    Args:
        parts: inputs of each seed, of equal length.
    """

    def __init__(self, parts: Sequence[ScaledInputs]) -> None:
        first = parts[0].inputs
        self.x, self.features = first.x, first.features
        self.rows = torch.stack([part.inputs.rows for part in parts])
        scalings = [part.scaling for part in parts if part.scaling is not None]
        # (seeds, 1, …), broadcast over the samples of a batch.
        self.scaling = [torch.stack(statistics).unsqueeze(1) for statistics in zip(*scalings, strict=True)]

    def __call__(self, rows: Tensor, epoch: int) -> Tensor:
        """Compute the inputs at rows (seeds, batch): (seeds, batch, …)."""
        read = self.rows.gather(1, rows % self.rows.shape[1])
        made = self.features(self.x.index_select(0, read.flatten()))
        made = made.view(*rows.shape, *made.shape[1:])
        if not self.scaling:
            return made
        mean, std = (s.view(*s.shape[:2], *[1] * (made.dim() - s.dim()), *s.shape[2:]) for s in self.scaling)
        return (made - mean) / std


class StackedSamples(Dataset[Batch]):
    """The samples of several seeds; every tensor of a batch has a leading seed axis.

    Args:
        parts: samples of each seed, of equal length.
        shared: computes the inputs of all seeds from one source, if they share it.
    """

    def __init__(self, parts: Sequence[Samples], shared: SharedInputs | None = None) -> None:
        self.shared = shared
        self.inputs = [part.inputs for part in parts if part.inputs is not None]
        self.tensors = [stack_as_views(tensors) for tensors in zip(*(part.tensors for part in parts), strict=True)]
        self.first = torch.arange(len(parts), device=self.tensors[0].device).unsqueeze(1) * len(parts[0])

    def __len__(self) -> int:
        return self.tensors[0].shape[1]

    def __getitems__(self, index: BatchIndex) -> Batch:
        """Read a batch; each tensor needs one indexed read for all seeds."""
        epoch, rows = index
        if self.shared is not None:
            made = [self.shared(rows, epoch)]
        elif self.inputs:
            made = [torch.stack([make(own, epoch) for make, own in zip(self.inputs, rows, strict=True)])]
        else:
            made = []
        flat = (self.first + rows).flatten()
        read = [t.flatten(0, 1).index_select(0, flat).view(*rows.shape, *t.shape[2:]) for t in self.tensors]
        return *made, *read


# Lightning builds evaluation loaders in inference mode, but these tensors must be usable in training too.
@torch.inference_mode(False)
def stack_as_views(tensors: Sequence[Tensor]) -> Tensor:
    """Stack tensors as (seeds, n, …) and make each of them a view of the result, so that memory holds one copy."""
    joined = tensors[0].new_empty((len(tensors), *tensors[0].shape))
    for tensor, place in zip(tensors, joined, strict=True):
        place.copy_(tensor)
        # Freed one by one, so that at most one tensor is held twice.
        tensor.data = place
    return joined


class StackedData(ResumableData):
    """The data modules of several seeds, each with its own order.

    Their tensors become views of stacked tensors, so that each sample is in memory once.

    Args:
        parts: data modules, set up.
    """

    def __init__(self, parts: Sequence[InMemoryDataModule]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        # For loggers; the hyper-parameters of all parts are equal except for the seed.
        self.save_hyperparameters(dict(parts[0].hparams))

    def train_dataloader(self) -> OrderedLoader:
        """Return batches of the training splits."""
        reads = [part.scaled_inputs for part in self.parts]
        shared = SharedInputs([read for read in reads if read is not None]) if None not in reads else None
        return self.resume_loader(_stacked([part.train_dataloader() for part in self.parts], shared))

    def val_dataloader(self) -> OrderedLoader:
        """Return batches of the validation splits."""
        return _stacked([part.val_dataloader() for part in self.parts])

    def test_dataloader(self) -> OrderedLoader:
        """Return batches of the test splits."""
        return _stacked([part.test_dataloader() for part in self.parts])


def _stacked(loaders: Sequence[OrderedLoader], shared: SharedInputs | None = None) -> OrderedLoader:
    """Combine the loaders of several seeds.

    Raises:
        ValueError: the loaders differ in the number of samples or in the batch size.
    """
    sizes = {(loader.order.n, loader.order.batch_size) for loader in loaders}
    if len(sizes) != 1:
        raise ValueError(f"loaders of different sizes cannot be stacked: {sorted(sizes)}")
    samples, order = ([getattr(loader, name) for loader in loaders] for name in ("samples", "order"))
    return ordered_loader(StackedSamples(samples, shared), StackedOrder(order), loaders[0].num_workers)
