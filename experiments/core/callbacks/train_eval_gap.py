"""The same batch as in training and as in evaluation: how far the two networks that are one are apart."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.func import functional_call

from experiments.core.callbacks.instrument import Instrument, ends_step
from lightning_modules.base import LectureModule


class TrainEvalGap(Instrument):
    """Records how the outputs for one batch differ between training mode and evaluation mode, at equal parameters.

    Only modules that behave differently in the two modes can open a gap: BatchNorm, which estimates mean and variance
    on the mini-batch in training and takes running averages in evaluation, and dropout. On a recorded step, for the
    batch that is about to be learnt: `modes/changed` is the share of samples whose largest output is another one;
    `modes/output_change` the root mean square of the difference of the outputs over that of the outputs in evaluation;
    `modes/loss_gap` the loss in evaluation minus that in training. Buffers and random numbers of the training are not
    touched. Slide "Topologie de l'espace de recherche & gradient".

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compare the modes before a recorded step, and before no other."""
        if not (self.is_due(trainer) and ends_step(trainer, batch_idx)):
            return
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"TrainEvalGap needs a network with inputs and targets, not {type(pl_module).__name__}")
        inputs, targets = batch
        training, evaluation = (_outputs(pl_module.network, inputs, training) for training in (True, False))
        changed = (training.argmax(1) != evaluation.argmax(1)).double().mean()
        difference = (evaluation - training).double().square().mean().sqrt()
        loss = pl_module.criterion.mean
        self.record(
            trainer,
            ["modes/changed", "modes/output_change", "modes/loss_gap"],
            [
                changed,
                difference / evaluation.double().square().mean().sqrt(),
                loss(evaluation, targets) - loss(training, targets),
            ],
        )


@torch.no_grad()
def _outputs(network: nn.Module, inputs: Tensor, training: bool) -> Tensor:
    modes = {module: module.training for module in network.modules()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    try:
        network.train(training)
        with torch.random.fork_rng(devices=devices):
            outputs: Tensor = functional_call(network, buffers, (inputs,))
    finally:
        for module, mode in modes.items():
            module.training = mode
    return outputs
