"""Gradient clipping that says what it did."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from experiments.core.callbacks.instrument import Instrument
from lightning_modules.stack import gradients_of, may_exceed


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
        """Refuse to clip twice."""
        if trainer.gradient_clip_val is not None:
            raise ValueError("GradientClipping and trainer.gradient_clip_val both clip the gradient: give one of them")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Clip, and count."""
        gradients = gradients_of(optimizer)
        before = _norm(gradients)
        if may_exceed(before, self.max_norm):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grads_with_norm_(parameters, self.max_norm, before)
            self._clipped = self._clipped + (before > self.max_norm)
        self._steps += 1
        if self.is_due(trainer):
            self.note(trainer, before, _norm(gradients))

    def note(self, trainer: Trainer, before: Tensor, after: Tensor) -> None:
        """Record the norms of this step."""
        self.record(trainer, ["gradient/norm_before", "gradient/norm_after"], [before, after])

    def count(self, clipped: Tensor, steps: int) -> None:
        """Take the number of clipped steps so far from where the steps are made."""
        self._clipped, self._steps = clipped, steps

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the share of clipped steps."""
        if self._steps:
            self.record(trainer, ["gradient/clipped_share"], [self._clipped / self._steps])


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """What torch's `get_total_norm` gives, in half its time."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    return norm
