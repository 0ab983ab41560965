"""Evaluates a network on samples, outside of the trainer's loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from datamodules.stack import StackedData
from lightning_modules.base import LectureModule
from lightning_modules.metrics import EpochOutputs
from lightning_modules.stack import Stack

# Maps a module, inputs and the index of their batch to the outputs of one or several passes.
Pass = Callable[[LectureModule, Tensor, int], Sequence[Tensor]]


def plain_modules(pl_module: LightningModule, callback: object) -> Sequence[LectureModule]:
    """Return the modules of a stack, or the only module.

    Raises:
        ValueError: it does not say what it is tested by.
    """
    if isinstance(pl_module, Stack):
        return pl_module.plain
    if not isinstance(pl_module, LectureModule):
        raise ValueError(f"{type(callback).__name__} needs a LectureModule, not a {type(pl_module).__name__}")
    return [pl_module]


def data_of_each(trainer: Trainer) -> Sequence[Any]:
    """Return the data module of each network, or the only one; empty if the trainer was given loaders."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(data, StackedData):
        return data.parts
    return [] if data is None else [data]


@contextmanager
def draws_kept(module: LightningModule) -> Iterator[None]:
    """Preserve the random generators of a module or a stack during the block."""
    devices = [module.device] if module.device.type == "cuda" else []
    streams = module.network.random_states.preserved() if isinstance(module, Stack) else nullcontext()
    with torch.random.fork_rng(devices=devices), streams:
        yield


def placed(module: LightningModule, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Move a batch to the module's device, and its floats to the module's precision."""
    there = (part.to(module.device) for part in batch)
    # The parameters of a stack's networks are views of the stack's.
    dtype = next((parameter.dtype for parameter in module.parameters()), module.dtype)
    return tuple(part.type(dtype) if part.is_floating_point() else part for part in there)


def _once(module: LectureModule, inputs: Tensor, _index: int) -> Sequence[Tensor]:
    return [module(inputs)]


def evaluate(module: LectureModule, batches: Iterable[Sequence[Tensor]], passes: Pass = _once) -> dict[str, Tensor]:
    """Compute the loss and the metrics over batches of inputs and targets, without changing the module's mode.

    Args:
        module: of one network.
        batches: of a data set.
        passes: gives the outputs for a batch; the module's own if not given.
    """
    epoch, training = EpochOutputs(), module.training
    module.eval()
    # A DataLoader draws a random number when it starts.
    with torch.no_grad(), draws_kept(module):
        for index, batch in enumerate(batches):
            inputs, targets = module.unpack_batch(placed(module, batch))
            for outputs in passes(module, inputs, index):
                epoch.add(module.criterion.mean(outputs, targets), outputs, targets)
    module.train(training)
    return module.compute_metrics(epoch)


def stacked(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the numbers of all networks as columns, (networks,), by the names that all of them have."""
    return {name: torch.stack([row[name].detach().double() for row in rows]) for name in rows[0]} if rows else {}
