"""Ends a run whose loss is not finite, with a status: divergence is a result, not a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from experiments.core.callbacks.instrument import stop


class Divergence(Callback):
    """Stops training at the end of the epoch after a loss that is not finite, and remembers the step that had it.

    The loss is looked at on the device at every step, and on the host once an epoch: no step waits for the device.
    """

    stackable: ClassVar[bool] = True

    def __init__(self) -> None:
        # (networks,): the first step, counted from 0, whose loss was not finite; -1 without one.
        self.first = torch.empty(0)
        self._step = 0

    def diverged_at(self, network: int = 0) -> int | None:
        """Return the first step whose loss was not finite; None without one."""
        step = int(self.first[network]) if len(self.first) else -1
        return None if step < 0 else step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the state of an earlier fit; a test keeps it."""
        if stage == "fit":
            self.first = torch.empty(0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Store the step of this batch; with gradient accumulation, several batches make a step."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the losses of this step."""
        found = outputs.get("losses", outputs.get("loss")) if isinstance(outputs, Mapping) else outputs
        if found is None:  # of a module that makes its steps by hand and shows no loss
            return
        losses: Tensor = found.detach().reshape(-1)
        if not len(self.first):
            self.first = torch.full_like(losses, -1, dtype=torch.long)
        this_step = torch.where(losses.isfinite(), -1, self._step)
        self.first = torch.where(self.first < 0, this_step, self.first)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the networks that have diverged."""
        stop(trainer, pl_module, self.first >= 0)
