"""Early stopping of one network, or of each network of a stack."""

from __future__ import annotations

from typing import ClassVar

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from experiments.core.callbacks.instrument import stop
from experiments.core.callbacks.monitor import SIGNS, monitored


class StackableEarlyStopping(Callback):
    """Stops the training when a metric has not improved for some epochs, or is good enough.

    Lightning's callback of this name, for the networks of a stack as well.

    Args:
        monitor: what is compared at each epoch's end.
        mode: min or max: which of two values is better.
        patience: epochs without a better value, >= 0, after which the training ends.
        min_delta: by how much a value must be better to count, >= 0.
        stopping_threshold: the training ends once the value is better than this.

    Raises:
        ValueError: a number is out of range; after the first epoch, a value to monitor that is not logged.
    """

    stackable: ClassVar[bool] = True

    def __init__(
        self,
        monitor: str,
        mode: str = "min",
        patience: int = 3,
        min_delta: float = 0.0,
        stopping_threshold: float | None = None,
    ) -> None:
        if mode not in SIGNS:
            raise ValueError(f"mode must be min or max, not {mode!r}")
        if patience < 0 or min_delta < 0:
            raise ValueError(f"patience and min_delta must be at least 0; they are {patience} and {min_delta}")
        self.monitor = monitor
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.stopping_threshold = stopping_threshold
        # Shape (networks,) each.
        self.best = torch.empty(0)
        self.waited = torch.empty(0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the state of an earlier fit."""
        if stage == "fit":
            self.best, self.waited = torch.empty(0), torch.empty(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the metric, and stop the networks whose patience is used up."""
        if self.monitor.startswith("val/") and (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1):
            return
        sign = SIGNS[self.mode]
        values = sign * monitored(trainer, pl_module, self.monitor, self)
        if not len(self.best):
            self.best, self.waited = torch.full_like(values, torch.inf), torch.zeros_like(values)
        better = values < self.best - self.min_delta
        self.best = torch.where(better, values, self.best)
        self.waited = torch.where(better, 0.0, self.waited + 1)
        ends = (self.waited >= max(self.patience, 1)) & ~better
        if self.stopping_threshold is not None:
            ends |= values < sign * self.stopping_threshold
        stop(trainer, pl_module, ends | ~values.isfinite())
