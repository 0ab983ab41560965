"""Gradient clipping that records what it did."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch.optim import Optimizer

from experiments.core.callbacks.instrument import Instrument
from lightning_modules.stack import Stack, clip_gradients, gradient_norms, parameter_gradients


class GradientClipping(Instrument):
    """Bounds the norm of the whole gradient before each optimiser step.

    Records `gradient/norm_before` and `gradient/norm_after` on recorded steps, and at the end of each epoch
    `gradient/clipped_share`, the share of all steps so far whose gradient was clipped. Bit-equal to the Trainer's
    `gradient_clip_val`, also under gradient accumulation; the two together are refused. Slide "Lutter contre le
    sur-apprentissage"; Pascanu, Mikolov & Bengio 2013.

    Args:
        max_norm: largest Euclidean norm of the gradient that is let through, > 0.
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def __init__(self, max_norm: float, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        if not max_norm > 0:
            raise ValueError(f"max_norm must be greater than 0; it is {max_norm}")
        self.max_norm = max_norm
        self._steps = 0
        self._clipped = torch.tensor(0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Reset the counts; refuse to clip twice."""
        self._steps, self._clipped = 0, torch.tensor(0)
        if trainer.gradient_clip_val is not None:
            raise ValueError("GradientClipping and trainer.gradient_clip_val both clip the gradient: give one of them")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Clip the gradient and count clipped steps."""
        gradients, stacked = parameter_gradients(optimizer), isinstance(pl_module, Stack)
        before = clip_gradients(gradients, self.max_norm, stacked=stacked)
        self._clipped = self._clipped + (before > self.max_norm)
        self._steps += 1
        if self.is_due(trainer):
            after = gradient_norms(gradients, stacked=stacked)
            self.record(trainer, ["gradient/norm_before", "gradient/norm_after"], [before, after])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the share of clipped steps."""
        if self._steps:
            self.record(trainer, ["gradient/clipped_share"], [self._clipped / self._steps])
        super().on_train_epoch_end(trainer, pl_module)
