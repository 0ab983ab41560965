"""Checks of what tools promise: pure functions of a seed."""

from __future__ import annotations

import math
import tempfile

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

from datamodules.loader import Order, OrderedLoader, Samples, ordered_loader

DRAWS = 20


def data_loader(seed: int) -> dict[str, float]:
    """Verify that torch's DataLoader and tensors in memory return each sample once per epoch, in a new order.

    With the same order, both return the same batches. `calls` and `preloaded_calls` are the numbers of reads in an
    epoch of 1,200 samples in batches of 64.
    """
    generator, errors = Generator().manual_seed(seed), []
    for _ in range(DRAWS):
        n, size = (int(torch.randint(*ends, (), generator=generator)) for ends in ((10, 60), (2, 10)))
        # The first number of a sample is its index.
        data = (torch.arange(float(n))[:, None] + torch.zeros(n, 3), torch.arange(n))
        theirs = DataLoader(TensorDataset(*data), batch_size=size, shuffle=True, generator=generator)
        ours = ordered_loader(Samples(data), Order(n, batch_size=size, seed=seed))
        for loader in (theirs, ours):
            orders = []
            for epoch in range(2):
                if isinstance(loader, OrderedLoader):
                    loader.order.set_epoch(epoch)
                batches = list(loader)
                seen = torch.cat([labels for _, labels in batches])
                orders.append(seen.tolist())
                errors.append(float((seen.bincount(minlength=n) - 1).abs().max()))
                errors.append(float((torch.cat([x for x, _ in batches])[:, 0] - seen).abs().max()))
                errors.append(float(abs(len(batches) - math.ceil(n / size))))
            errors.append(float(orders[0] == orders[1]))
        ours.order.set_epoch(3)
        same = DataLoader(TensorDataset(*data), batch_size=size, sampler=ours.order.rows(3).tolist())
        pairs = zip(ours, same, strict=True)
        errors.append(
            float(not all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True)))
        )
    calls, preloaded = _reads(1200, 64)
    return {"error": max(errors), "draws": float(DRAWS), "calls": calls, "preloaded_calls": preloaded}


def logged_scalars(seed: int) -> dict[str, float]:
    """Verify that TensorBoard reads the logged values back, in single precision and at the same steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    generator = Generator().manual_seed(seed)
    values = (10 ** (10 * torch.rand(DRAWS, generator=generator, dtype=torch.float64) - 5)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for step, value in enumerate(values):
                writer.add_scalar("loss/train loss", value, 3 * step)
        events = EventAccumulator(folder)
        events.Reload()
        read = events.Scalars("loss/train loss")
    wrong = [float(event.value != float(torch.tensor(value))) for event, value in zip(read, values, strict=True)]
    wrong += [float(event.step != 3 * step) for step, event in enumerate(read)]
    return {"error": max(wrong), "draws": float(DRAWS)}


def _reads(n: int, size: int) -> tuple[float, float]:
    """Count the reads of an epoch: by DataLoader, sample by sample, and by tensors in memory, batch by batch."""
    reads = 0

    class Counted(TensorDataset):
        def __getitem__(self, index: int) -> tuple[Tensor, ...]:
            nonlocal reads
            reads += 1
            return tuple(tensor[index] for tensor in self.tensors)

    for _ in DataLoader(Counted(torch.zeros(n, 1)), batch_size=size):
        pass
    return float(reads), float(
        sum(1 for _ in ordered_loader(Samples([torch.zeros(n, 1)]), Order(n, batch_size=size, seed=0)))
    )
