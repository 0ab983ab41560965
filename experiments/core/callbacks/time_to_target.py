"""Measures steps and samples until a target loss, with the same relative precision at every batch size."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from datamodules.base import InMemoryDataModule
from experiments.core.callbacks.evaluation import data_of_each, placed
from experiments.core.callbacks.instrument import Instrument, ends_step, stop
from lightning_modules.base import LectureModule
from lightning_modules.stack import Stack


class TimeToTarget(Instrument):
    """Records the loss on a fixed part of the training split, and when it first is at or below a target.

    The first `samples` of the training split are looked at in evaluation mode before the first step and then each time
    the number of steps has grown by the share `resolution`, at least by one: every step at first, so that a count of 50
    steps is as precise as one of 5,000. `sample/loss` is that loss without penalty. At the end of training
    `target/arrived` is 1 if the target was reached, else 0; `target/steps` and `target/samples` are the optimiser steps
    and the training samples (each as often as it was used) up to then, or to the end. The loss of a small batch's
    weights jumps about: the first time below the target is not the last. Slide "Stochastic, batch... Ou mini-batch".

    Args:
        target: loss to reach.
        resolution: largest share by which the number of steps grows between two looks, > 0.
        samples: size of the fixed part; the whole training split if it has no more.
        stop: end the training with the epoch of the arrival.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, target: float, resolution: float = 0.02, samples: int = 1000, stop: bool = True) -> None:
        super().__init__(every_n_steps=1)
        if not math.isfinite(target):
            raise ValueError(f"target must be a finite number; it is {target}")
        if not 0 < resolution < math.inf:
            raise ValueError(f"resolution must be greater than 0; it is {resolution}")
        if samples < 1:
            raise ValueError(f"samples must be at least 1; it is {samples}")
        self.target = target
        self.resolution = resolution
        self.samples = samples
        self.stop = stop
        self._used = 0
        self._last_look = -1
        # (networks, 2): steps and samples at the first measurement at or below the target; -1 without one.
        self._arrival = torch.empty(0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module without a loss on labelled samples, or data whose training split is not in memory."""
        if stage != "fit":
            return
        if not isinstance(pl_module, LectureModule | Stack):
            raise ValueError(f"TimeToTarget needs a LectureModule, not a {type(pl_module).__name__}")
        for data in data_of_each(trainer) or [None]:
            if not isinstance(data, InMemoryDataModule):
                raise ValueError(f"TimeToTarget needs a training split in memory, not a {type(data).__name__}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the initial loss."""
        self._used, self._last_look, self._arrival = 0, -1, torch.empty(0)
        self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples; measure the loss if it is due."""
        self._used += batch[0].shape[1 if isinstance(pl_module, Stack) else 0]
        due = math.ceil(self._last_look * (1 + self.resolution) - 1e-9)
        if ends_step(trainer, batch_idx) and trainer.global_step >= max(self._last_look + 1, due):
            self._look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the networks that have reached the target."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.stop:
            stop(trainer, pl_module, self._arrival[:, 0] >= 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record when the target was reached."""
        if self._last_look < trainer.global_step:
            self._look(trainer, pl_module)
        arrived = self._arrival[:, 0] >= 0
        end = torch.tensor([trainer.global_step, self._used])
        steps, used = torch.where(arrived.unsqueeze(1), self._arrival, end).unbind(1)
        self.record(trainer, ["target/arrived", "target/steps", "target/samples"], [arrived, steps, used])
        super().on_train_end(trainer, pl_module)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        losses = self._losses(trainer, pl_module)
        self._last_look = trainer.global_step
        self.record(trainer, ["sample/loss"], [losses])
        if not len(self._arrival):
            self._arrival = torch.full((len(losses), 2), -1)
        new = (losses.cpu() <= self.target) & (self._arrival[:, 0] < 0)
        self._arrival = torch.where(new.unsqueeze(1), torch.tensor([trainer.global_step, self._used]), self._arrival)

    def _losses(self, trainer: Trainer, pl_module: LightningModule) -> Tensor:
        """Return the loss of every network, (networks,)."""
        assert isinstance(pl_module, LectureModule | Stack)  # `setup` lets no other pass
        parts = [[tensor[: self.samples] for tensor in data.train] for data in data_of_each(trainer)]
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            if isinstance(pl_module, Stack):
                inputs, targets = placed(pl_module, [torch.stack(tensors) for tensors in zip(*parts, strict=True)])
                losses = pl_module.criterion.mean(pl_module.network(inputs), targets)
            else:
                inputs, targets = placed(pl_module, parts[0])
                losses = pl_module.criterion.mean(pl_module(inputs), targets).reshape(1)
        pl_module.train(training)
        return losses
