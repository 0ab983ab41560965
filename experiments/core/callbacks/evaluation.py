"""A network counted on some samples in evaluation mode, outside of what the trainer does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from lightning import LightningModule
from torch import Tensor

from lightning_modules.base import EpochMeans, LectureModule
from lightning_modules.stack import Stack


def lecture_module(module: LightningModule, callback: object) -> LectureModule:
    """Return the module as one that says what it is tested by.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(module, LectureModule):
        raise ValueError(f"{type(callback).__name__} needs a LectureModule, not a {type(module).__name__}")
    return module


@contextmanager
def draws_kept(module: LightningModule) -> Iterator[None]:
    """Let a module, or all those of a stack, draw the random numbers that come next, and leave them to come."""
    devices = [module.device] if module.device.type == "cuda" else []
    streams = module.network.streams.kept() if isinstance(module, Stack) else nullcontext()
    with torch.random.fork_rng(devices=devices), streams:
        yield


def placed(module: LightningModule, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Bring a batch where the module is, and its numbers to the module's precision."""
    there = (part.to(module.device) for part in batch)
    return tuple(part.type(module.dtype) if part.is_floating_point() else part for part in there)


def evaluate(module: LectureModule, batches: Iterable[Sequence[Tensor]]) -> dict[str, Tensor]:
    """Count what the module's loss counts over batches of inputs and targets; the module stays in its mode."""
    means, training = EpochMeans(), module.training
    module.eval()
    with torch.no_grad():
        for batch in batches:
            inputs, targets = module.samples(placed(module, batch))
            means.count(module.criterion, module(inputs), targets)
    module.train(training)
    return module.criterion.summarize(means.compute())
