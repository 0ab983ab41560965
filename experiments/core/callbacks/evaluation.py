"""A network counted on some samples in evaluation mode, outside of what the trainer does."""

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

# From a module, inputs and the index of their batch to outputs, of one pass or of several.
Pass = Callable[[LectureModule, Tensor, int], Sequence[Tensor]]


def plain_modules(pl_module: LightningModule, callback: object) -> Sequence[LectureModule]:
    """The modules of a stack, or the only one.

    Raises:
        ValueError: it does not say what it is tested by.
    """
    if isinstance(pl_module, Stack):
        return pl_module.plain
    if not isinstance(pl_module, LectureModule):
        raise ValueError(f"{type(callback).__name__} needs a LectureModule, not a {type(pl_module).__name__}")
    return [pl_module]


def data_of_each(trainer: Trainer) -> Sequence[Any]:
    """The data module of each network, or the only one; none where the trainer was given loaders."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(data, StackedData):
        return data.parts
    return [] if data is None else [data]


@contextmanager
def draws_kept(module: LightningModule) -> Iterator[None]:
    """Let a module, or all those of a stack, draw the random numbers that come next, and leave them to come."""
    devices = [module.device] if module.device.type == "cuda" else []
    streams = module.network.random_states.preserved() if isinstance(module, Stack) else nullcontext()
    with torch.random.fork_rng(devices=devices), streams:
        yield


def placed(module: LightningModule, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Bring a batch where the module is, and its numbers to the module's precision."""
    there = (part.to(module.device) for part in batch)
    # Of its parameters: those of a stack's networks are views of the stack's.
    dtype = next((parameter.dtype for parameter in module.parameters()), module.dtype)
    return tuple(part.type(dtype) if part.is_floating_point() else part for part in there)


def _once(module: LectureModule, inputs: Tensor, _index: int) -> Sequence[Tensor]:
    return [module(inputs)]


def evaluate(module: LectureModule, batches: Iterable[Sequence[Tensor]], passes: Pass = _once) -> dict[str, Tensor]:
    """Compute the loss and the metrics over batches of inputs and targets; the module stays in its mode.

    Args:
        module: of one network.
        batches: of a data set.
        passes: gives the outputs for a batch; the module's own if not given.
    """
    epoch, training = EpochOutputs(), module.training
    module.eval()
    # A loader of others draws a number when it begins.
    with torch.no_grad(), draws_kept(module):
        for index, batch in enumerate(batches):
            inputs, targets = module.unpack_batch(placed(module, batch))
            for outputs in passes(module, inputs, index):
                epoch.add(module.criterion.mean(outputs, targets), outputs, targets)
    module.train(training)
    return module.compute_metrics(epoch)


def stacked(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Turn the numbers of each network into columns, (networks,), of the names that all of them have."""
    return {name: torch.stack([row[name].detach().double() for row in rows]) for name in rows[0]} if rows else {}
