"""Batches from torch's `DataLoader` in an order that depends only on the seed and the epoch."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

# Index of a batch: the epoch and the rows, (batch,) or (seeds, batch).
BatchIndex = tuple[int, Tensor]
Batch = tuple[Tensor, ...]


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return the random generator of one purpose, such as "split" or "order/3", independent of other purposes."""
    # `random.Random` hashes a string, so similar seeds and purposes give unrelated generators.
    return torch.Generator().manual_seed(random.Random(f"{seed}/{purpose}").getrandbits(63))


class Order(Sampler[BatchIndex]):
    """A batch sampler that yields the rows of each batch of an epoch; the last batch may be smaller.

    It can resume in the middle of an epoch.

    Args:
        n: number of samples.
        batch_size: samples per batch; one larger than n gives a single batch.
        seed: seed of the order, which also depends on the epoch.
        shuffle: draw a new order in every epoch; otherwise keep the order of the samples.
        device: device of the row indices.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self, n: int, *, batch_size: int, seed: int, shuffle: bool = True, device: torch.device | str = "cpu"
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, not {batch_size}")
        self.n, self.batch_size, self.seed, self.shuffle, self.device = n, batch_size, seed, shuffle, device
        self.epoch = 0
        self.position = 0  # batches of this epoch that were returned
        self.start = 0  # first batch of the next pass; not 0 only after a resume

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[BatchIndex]:
        start, self.start = self.start, 0
        for rows in torch.split(self.rows(self.epoch), self.batch_size, dim=-1)[start:]:
            yield self.epoch, rows

    @property
    def sampler(self) -> "Order":
        """Itself, because Lightning calls `set_epoch` on the `sampler` of a batch sampler."""
        return self

    def rows(self, epoch: int) -> Tensor:
        """Return the order of the samples in an epoch: a permutation of 0 … n − 1, on the device."""
        if not self.shuffle:
            return torch.arange(self.n, device=self.device)
        # Drawn on the CPU, because a GPU draws other numbers from the same seed.
        return torch.randperm(self.n, generator=generator(self.seed, f"order/{epoch}")).to(self.device)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass; a resumed epoch continues where it stopped."""
        if epoch != self.epoch:
            self.epoch, self.position, self.start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches that were returned."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the last batch that was returned when the state was saved.

        Raises:
            ValueError: the saved position exceeds the number of batches.
        """
        if not 0 <= state_dict["position"] <= len(self):
            raise ValueError(
                f"cannot resume after batch {state_dict['position']}: an epoch has {len(self)} batches here"
            )
        self.epoch = state_dict["epoch"]
        self.position = self.start = state_dict["position"]


class Samples(Dataset[Batch]):
    """Tensors of equal length, read one batch at a time.

    Args:
        tensors: the data, each (n, …).
        inputs: optional function of the rows of a batch, (b,), and the epoch that computes the inputs, such as
            augmented images; they come before the tensors in a batch.

    Raises:
        ValueError: the tensors differ in length.
    """

    def __init__(self, tensors: Sequence[Tensor], inputs: Callable[[Tensor, int], Tensor] | None = None) -> None:
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ValueError(f"the tensors of a loader must have the same length, not {lengths}")
        self.tensors = tuple(tensors)
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, index: BatchIndex) -> Batch:
        """Read a batch."""
        epoch, rows = index
        made = () if self.inputs is None else (self.inputs(rows, epoch),)
        # `index_select` takes half the time of `tensor[rows]`.
        return *made, *(tensor.index_select(0, rows) for tensor in self.tensors)


def identity_collate(batch: Batch) -> Batch:
    """Return the batch unchanged, because `Samples` reads whole batches."""
    return batch


class OrderedLoader(DataLoader[Batch]):
    """A `DataLoader` that can be saved and resumed in the middle of an epoch; build it with `ordered_loader`."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator, so that this code runs at the first next(): Lightning calls iter() before set_epoch(), and
        # workers would start too early.
        self.order.position = self.order.start
        for batch in super().__iter__():
            # Batches that workers have prepared in advance do not count.
            self.order.position += 1
            yield batch

    @property
    def order(self) -> Order:
        """The batch sampler."""
        return self.batch_sampler  # type: ignore[return-value]

    @property
    def samples(self) -> Samples:
        """The data set of a loader of one seed."""
        return self.dataset  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the order."""
        return self.order.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the saved state of the order."""
        self.order.load_state_dict(state_dict)


def ordered_loader(samples: Dataset[Batch], order: Order, workers: int = 0) -> OrderedLoader:
    """Build a loader of samples in a given order.

    Args:
        samples: a data set whose `__getitems__` accepts the batch indices of the order.
        order: an order of the same number of samples.
        workers: processes that prepare batches in advance; 0 for none.
    """
    return OrderedLoader(
        samples,
        # Both are typed for lists of samples, but accept a batch index and a batch.
        batch_sampler=order,  # type: ignore[arg-type]
        collate_fn=identity_collate,  # type: ignore[arg-type]
        num_workers=workers,
        # A separate generator, because the global one is reserved for the network.
        generator=torch.Generator(),
    )


class ResumableData(LightningDataModule):
    """A data module whose training can resume in the middle of an epoch.

    Lightning saves the state of the loader, but does not restore it if `configure_optimizers` reads
    `estimated_stepping_batches`, as every schedule does (Lightning issue 20550); the epoch would start again.
    """

    _train_loader: OrderedLoader | None = None
    _loader_state: dict[str, Any] | None = None

    def resume_loader(self, loader: OrderedLoader) -> OrderedLoader:
        """Restore the state of a training loader from the checkpoint, and keep the loader for the next checkpoint."""
        if self._loader_state is not None:
            loader.load_state_dict(self._loader_state)
        self._train_loader, self._loader_state = loader, None
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the training loader."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the saved state for the next training loader."""
        self._loader_state = state_dict
