"""How long training takes to a loss: in steps and in samples, to the same relative precision at every batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from datamodules.base import InMemoryDataModule
from datamodules.stack import StackedData
from experiments.core.callbacks.evaluation import placed
from experiments.core.callbacks.instrument import Instrument, ends_step
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
        stop: end the training on arrival.

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
        self._begin()

    def _begin(self) -> None:
        self._used = 0
        self._last_look = -1
        # Steps and samples at the first look at or below the target.
        self._arrival: tuple[int, int] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module without a loss on labelled samples, or data whose training split is not in memory."""
        if stage != "fit":
            return
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"TimeToTarget needs a LectureModule, not a {type(pl_module).__name__}")
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, InMemoryDataModule):
            raise ValueError(f"TimeToTarget needs a training split in memory, not a {type(data).__name__}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the initial loss."""
        self._begin()
        self._look(trainer, pl_module)

    def hooks_for_all(self, stack: Stack) -> Sequence[str]:
        """Look at all seeds in one pass."""
        return ("on_train_batch_end",)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples, and look if enough steps have gone by."""
        samples = batch[0].shape[1 if isinstance(pl_module, Stack) else 0]
        for *_, own in self.each(trainer, pl_module):
            own._used += samples
        due = math.ceil(self._last_look * (1 + self.resolution) - 1e-9)
        if ends_step(trainer, batch_idx) and trainer.global_step >= max(self._last_look + 1, due):
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record when the target was reached."""
        if self._last_look < trainer.global_step:
            self._look(trainer, pl_module)
        steps, used = self._arrival or (trainer.global_step, self._used)
        values = {"arrived": float(self._arrival is not None), "steps": steps, "samples": used}
        self.record(trainer, [f"target/{name}" for name in values], [torch.tensor(v) for v in values.values()])

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        losses = self._losses(trainer, pl_module)
        self._last_look = trainer.global_step
        for index, own_trainer, own in self.each(trainer, pl_module):
            own._note(own_trainer, losses[index])

    def _note(self, trainer: Trainer, loss: Tensor) -> None:
        self._last_look = trainer.global_step
        self.record(trainer, ["sample/loss"], [loss])
        if self._arrival is None and float(loss) <= self.target:
            self._arrival = (trainer.global_step, self._used)
            trainer.should_stop = trainer.should_stop or self.stop

    def _losses(self, trainer: Trainer, pl_module: LightningModule) -> Tensor:
        """The loss of every network, (networks,)."""
        assert isinstance(pl_module, LectureModule | Stack)  # as `setup` has seen
        data = trainer.datamodule  # type: ignore[attr-defined]
        parts = data.parts if isinstance(data, StackedData) else [data]
        pairs = [placed(pl_module, [tensor[: self.samples] for tensor in part.train]) for part in parts]
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            if isinstance(pl_module, Stack):
                inputs, targets = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
                losses = pl_module.criterion.mean(pl_module.network(inputs), targets)
            else:
                ((inputs, targets),) = pairs
                losses = pl_module.criterion.mean(pl_module(inputs), targets).unsqueeze(0)
        pl_module.train(training)
        return losses
