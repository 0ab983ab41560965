"""The batches of several seeds side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import InMemoryDataModule, Read
from datamodules.loader import Batch, Order, OrderedLoader, ResumableData, Samples, Wanted, ordered


class StackedOrder(Order):
    """The orders of several seeds: batches of rows (seeds, batch).

    Args:
        orders: of as many samples and batches each.
    """

    def __init__(self, orders: Sequence[Order]) -> None:
        first = orders[0]
        super().__init__(first.n, batch_size=first.batch_size, seed=first.seed, shuffle=first.shuffle)
        self.orders = tuple(orders)

    def rows(self, epoch: int) -> Tensor:
        """Return the order of each seed, (seeds, n)."""
        return torch.stack([order.rows(epoch) for order in self.orders])


class SharedInputs:
    """The inputs of several seeds, made batch by batch from the one source that all of them read.

    Args:
        parts: of as many samples each.
    """

    def __init__(self, parts: Sequence[Read]) -> None:
        first = parts[0].unread
        self.x, self.features = first.x, first.features
        self.rows = torch.stack([part.unread.rows for part in parts])
        scalings = [part.scaling for part in parts if part.scaling is not None]
        # (seeds, 1, …): the same for every sample of a batch.
        self.scaling = [torch.stack(statistics).unsqueeze(1) for statistics in zip(*scalings, strict=True)]

    def __call__(self, rows: Tensor, epoch: int) -> Tensor:
        """Make those at rows (seeds, batch): (seeds, batch, …)."""
        read = self.rows.gather(1, rows % self.rows.shape[1])
        made = self.features(self.x.index_select(0, read.flatten()))
        made = made.view(*rows.shape, *made.shape[1:])
        if not self.scaling:
            return made
        mean, std = (s.view(*s.shape[:2], *[1] * (made.dim() - s.dim()), *s.shape[2:]) for s in self.scaling)
        return (made - mean) / std


class StackedSamples(Dataset[Batch]):
    """The samples of several seeds: every tensor of a batch leads with an axis that has an entry for each of them.

    Args:
        parts: as many samples each.
        shared: makes the inputs of all seeds at once, where they read one source.
    """

    def __init__(self, parts: Sequence[Samples], shared: SharedInputs | None = None) -> None:
        self.shared = shared
        self.inputs = [part.inputs for part in parts if part.inputs is not None]
        self.tensors = [side_by_side(tensors) for tensors in zip(*(part.tensors for part in parts), strict=True)]
        self.first = torch.arange(len(parts), device=self.tensors[0].device).unsqueeze(1) * len(parts[0])

    def __len__(self) -> int:
        return self.tensors[0].shape[1]

    def __getitems__(self, wanted: Wanted) -> Batch:
        """Read a batch: each tensor by one indexed read for all seeds."""
        epoch, rows = wanted
        if self.shared is not None:
            made = [self.shared(rows, epoch)]
        elif self.inputs:
            made = [torch.stack([make(own, epoch) for make, own in zip(self.inputs, rows, strict=True)])]
        else:
            made = []
        flat = (self.first + rows).flatten()
        read = [t.flatten(0, 1).index_select(0, flat).view(*rows.shape, *t.shape[2:]) for t in self.tensors]
        return *made, *read


# Lightning asks for evaluation loaders in inference mode; what a seed keeps must be fit for training, too.
@torch.inference_mode(False)
def side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors as (seeds, n, …); each becomes a view of its place in there, so that no second copy is kept."""
    joined = tensors[0].new_empty((len(tensors), *tensors[0].shape))
    for tensor, place in zip(tensors, joined, strict=True):
        place.copy_(tensor)
        # One after the other: there is never more than one tensor too many.
        tensor.data = place
    return joined


class StackedData(ResumableData):
    """The data of several seeds, each in its own order.

    Their tensors become views of one tensor a part and kind: a stack keeps each sample once.

    Args:
        parts: data modules that have been set up.
    """

    def __init__(self, parts: Sequence[InMemoryDataModule]) -> None:
        super().__init__()
        self.parts = tuple(parts)
        # What a logger shows: but for the seed, they are alike.
        self.save_hyperparameters(dict(parts[0].hparams))

    def train_dataloader(self) -> OrderedLoader:
        """Batches of the training splits."""
        reads = [part.read for part in self.parts]
        shared = SharedInputs([read for read in reads if read is not None]) if None not in reads else None
        return self.resumed(_stacked([part.train_dataloader() for part in self.parts], shared))

    def val_dataloader(self) -> OrderedLoader:
        """Batches of the validation splits."""
        return _stacked([part.val_dataloader() for part in self.parts])

    def test_dataloader(self) -> OrderedLoader:
        """Batches of the test splits."""
        return _stacked([part.test_dataloader() for part in self.parts])


def _stacked(loaders: Sequence[OrderedLoader], shared: SharedInputs | None = None) -> OrderedLoader:
    """Make one loader of several.

    Raises:
        ValueError: they differ in the number of samples or in the size of a batch.
    """
    sizes = {(loader.order.n, loader.order.batch_size) for loader in loaders}
    if len(sizes) != 1:
        raise ValueError(f"loaders of different sizes cannot be stacked: {sorted(sizes)}")
    samples, order = ([getattr(loader, name) for loader in loaders] for name in ("samples", "order"))
    return ordered(StackedSamples(samples, shared), StackedOrder(order), loaders[0].num_workers)
