"""A run whose loss is no longer a number ends, with a status: that is a result, not a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class Divergence(Callback):
    """Stops training after a non-finite loss and remembers the first step that had one.

    The loss is looked at on the device at every step and on the host every `every_n_steps`: up to that many steps are
    trained in vain, and none waits for the device.

    Args:
        every_n_steps: optimiser steps between two looks.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1; it is {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._first: Tensor | None = None
        self._step = 0

    @property
    def diverged_at_step(self) -> int | None:
        """The first step (counted from 0) whose loss was not finite; None if there is none."""
        step = -1 if self._first is None else int(self._first)
        return None if step < 0 else step

    def found(self, step: int) -> None:
        """Take it from where the losses of a stack are looked at that a step's was not finite."""
        self._first = torch.tensor(step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note which step this batch belongs to: under accumulation it is one of several, and may not end the step."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss of this step."""
        loss: Tensor = (outputs["loss"] if isinstance(outputs, Mapping) else outputs).detach()
        if self._first is None:
            self._first = torch.full((), -1, device=loss.device)
        this_step = torch.where(loss.isfinite(), -1, self._step)
        self._first = torch.where(self._first < 0, this_step, self._first)
        if (
            trainer.global_step % self.every_n_steps == 0 or trainer.is_last_batch
        ) and self.diverged_at_step is not None:
            trainer.should_stop = True
