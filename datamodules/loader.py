"""Batches of tensors in memory, in an order that depends on nothing but the seed and the epoch."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def generator(seed: int, purpose: str) -> torch.Generator:
    """Make the random generator of one purpose ("split", "order/3"), independent of those of all other purposes."""
    # The standard library hashes a seed that is a string, so neighbouring seeds and purposes share nothing.
    return torch.Generator().manual_seed(random.Random(f"{seed}/{purpose}").getrandbits(63))


class TensorLoader:
    """Iterate over batches of tensors that share their first axis; the last batch may be smaller.

    It takes the place of a `DataLoader`: one indexed read per batch instead of a Python call per sample. It is its own
    sampler, which is how Lightning finds `set_epoch`, and it can be saved in the middle of an epoch.

    Args:
        tensors: the data, each (n, …).
        batch_size: samples per batch; one larger than n gives a single batch.
        seed: what the order of the samples depends on, together with the epoch.
        shuffle: draw a new order every epoch; otherwise the samples come as they lie.
        inputs: called with the rows of a batch, (b,), and the epoch, it gives what takes the place of the rows of the
            first tensor: augmented images.

    Raises:
        ValueError: `batch_size` is below 1, or the tensors differ in length.
    """

    # Lightning looks for a sampler here as well.
    batch_sampler = None

    def __init__(
        self,
        tensors: Sequence[Tensor],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        inputs: Callable[[Tensor, int], Tensor] | None = None,
    ) -> None:
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ValueError(f"the tensors of a loader must have the same length, not {lengths}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, not {batch_size}")
        self.tensors = tuple(tensors)
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.inputs = inputs
        self.epoch = 0
        self.position = 0  # batches of this epoch already handed out
        self._start = 0  # where the next iteration begins: not at 0 only after a resume

    def __len__(self) -> int:
        return math.ceil(len(self.tensors[0]) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # A generator runs from its first next() on, and must: Lightning calls iter() before set_epoch().
        self.position, self._start = self._start, 0
        epoch, order = self.epoch, self.order(self.epoch)
        for first in range(self.position * self.batch_size, len(order), self.batch_size):
            self.position += 1
            index = order[first : first + self.batch_size]
            if self.inputs is None:
                # Half the time of `tensor[index]`.
                yield tuple(tensor.index_select(0, index) for tensor in self.tensors)
            else:
                yield self.inputs(index, epoch), *(tensor.index_select(0, index) for tensor in self.tensors[1:])

    @property
    def sampler(self) -> "TensorLoader":
        """Itself, so that Lightning calls `set_epoch` here."""
        return self

    def order(self, epoch: int) -> Tensor:
        """Return the order of the samples in an epoch: a permutation of 0 … n − 1, on the device of the data."""
        n, device = len(self.tensors[0]), self.tensors[0].device
        if not self.shuffle:
            return torch.arange(n, device=device)
        # Drawn on the CPU: a GPU draws other numbers from the same seed.
        return torch.randperm(n, generator=generator(self.seed, f"order/{epoch}")).to(device)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to iterate next; the epoch that was being resumed goes on where it stopped."""
        if epoch != self.epoch:
            self.epoch, self.position, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the number of its batches already handed out."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the last batch that was handed out when the state was saved.

        Raises:
            ValueError: the state belongs to a loader with more batches.
        """
        if not 0 <= state_dict["position"] <= len(self):
            raise ValueError(
                f"cannot resume after batch {state_dict['position']}: an epoch has {len(self)} batches here"
            )
        self.epoch = state_dict["epoch"]
        self.position = self._start = state_dict["position"]
