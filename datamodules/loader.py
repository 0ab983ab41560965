"""Batches by torch's `DataLoader`, in an order that depends on nothing but the seed and the epoch."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

# What a sampler asks a data set for: the epoch and the rows of a batch, (batch,) or (seeds, batch).
Wanted = tuple[int, Tensor]
Batch = tuple[Tensor, ...]


def generator(seed: int, purpose: str) -> torch.Generator:
    """Make the random generator of one purpose ("split", "order/3"), independent of those of all other purposes."""
    # The standard library hashes a seed that is a string, so neighbouring seeds and purposes share nothing.
    return torch.Generator().manual_seed(random.Random(f"{seed}/{purpose}").getrandbits(63))


class Order(Sampler[Wanted]):
    """The rows of each batch of an epoch; the last batch may be smaller.

    It can begin in the middle of an epoch, where an earlier training was cut off.

    Args:
        n: number of samples.
        batch_size: samples per batch; one larger than n gives a single batch.
        seed: what the order of the samples depends on, together with the epoch.
        shuffle: draw a new order every epoch; otherwise the samples come as they lie.
        device: where the samples are read.

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
        self.position = 0  # batches of this epoch already handed out
        self.start = 0  # where the next pass begins: not at 0 only after a resume

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[Wanted]:
        start, self.start = self.start, 0
        for rows in torch.split(self.rows(self.epoch), self.batch_size, dim=-1)[start:]:
            yield self.epoch, rows

    @property
    def sampler(self) -> "Order":
        """Itself: of a batch sampler, Lightning calls `set_epoch` here."""
        return self

    def rows(self, epoch: int) -> Tensor:
        """Return the order of the samples in an epoch: a permutation of 0 … n − 1, on the device."""
        if not self.shuffle:
            return torch.arange(self.n, device=self.device)
        # Drawn on the CPU: a GPU draws other numbers from the same seed.
        return torch.randperm(self.n, generator=generator(self.seed, f"order/{epoch}")).to(self.device)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; the epoch that was being resumed goes on where it stopped."""
        if epoch != self.epoch:
            self.epoch, self.position, self.start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches already handed out."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the last batch that was handed out when the state was saved.

        Raises:
            ValueError: the state belongs to an order of more batches.
        """
        if not 0 <= state_dict["position"] <= len(self):
            raise ValueError(
                f"cannot resume after batch {state_dict['position']}: an epoch has {len(self)} batches here"
            )
        self.epoch = state_dict["epoch"]
        self.position = self.start = state_dict["position"]


class Samples(Dataset[Batch]):
    """Tensors that share their first axis, read a batch at a time by one indexed read each.

    Args:
        tensors: the data, each (n, …).
        inputs: called with the rows of a batch, (b,), and the epoch, it makes what comes before the rows of the
            tensors: augmented images, or inputs that are not held in memory.

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

    def __getitems__(self, wanted: Wanted) -> Batch:
        """Read a batch."""
        epoch, rows = wanted
        made = () if self.inputs is None else (self.inputs(rows, epoch),)
        # Half the time of `tensor[rows]`.
        return *made, *(tensor.index_select(0, rows) for tensor in self.tensors)


def as_it_is(batch: Batch) -> Batch:
    """Collate nothing: a batch is read whole."""
    return batch


class OrderedLoader(DataLoader[Batch]):
    """A `DataLoader` that can be saved in the middle of an epoch; `ordered` makes it."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # A generator runs from its first next() on, and must: Lightning calls iter() before set_epoch(), and workers
        # begin at once.
        self.order.position = self.order.start
        for batch in super().__iter__():
            # What workers have made ahead does not count.
            self.order.position += 1
            yield batch

    @property
    def order(self) -> Order:
        """What it takes its rows from."""
        return self.batch_sampler  # type: ignore[return-value]

    @property
    def samples(self) -> Samples:
        """What it reads from, of a loader of one seed."""
        return self.dataset  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the order."""
        return self.order.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the saved order stood."""
        self.order.load_state_dict(state_dict)


def ordered(samples: Dataset[Batch], order: Order, workers: int = 0) -> OrderedLoader:
    """Load samples in an order.

    Args:
        samples: a data set whose `__getitems__` takes what the order gives.
        order: of as many samples.
        workers: processes that make the batches ahead of time; with 0, the caller does.
    """
    return OrderedLoader(
        samples,
        # Both are declared for lists of samples, and work with what a batch is wanted by and read as.
        batch_sampler=order,  # type: ignore[arg-type]
        collate_fn=as_it_is,  # type: ignore[arg-type]
        num_workers=workers,
        # Of its own: the global one belongs to the network.
        generator=torch.Generator(),
    )


class ResumableData(LightningDataModule):
    """A data module whose training goes on in the middle of an epoch.

    Lightning saves the state of the loader too, but does not load it back if `configure_optimizers` has asked for
    `estimated_stepping_batches`, as every schedule does (Lightning issue 20550): the epoch would begin anew.
    """

    _training: OrderedLoader | None = None
    _to_resume: dict[str, Any] | None = None

    def resumed(self, loader: OrderedLoader) -> OrderedLoader:
        """Let a training loader go on where the one of a checkpoint stood, and keep it for the next checkpoint."""
        if self._to_resume is not None:
            loader.load_state_dict(self._to_resume)
        self._training, self._to_resume = loader, None
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return where the training loader stands, for the checkpoint."""
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where the saved one stood."""
        self._to_resume = state_dict
