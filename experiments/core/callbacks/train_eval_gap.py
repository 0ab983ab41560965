"""The same batch as in training and as in evaluation: how far the two networks that are one are apart."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.func import functional_call

from experiments.core.callbacks.evaluation import draws_kept
from experiments.core.callbacks.instrument import LAYERWISE, Instrument, ends_step
from lightning_modules.base import LectureModule
from lightning_modules.stack import Stack, StackedNetwork


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

    stackable = LAYERWISE

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not say what it learns from."""
        if not isinstance(pl_module, LectureModule | Stack):
            raise ValueError(f"TrainEvalGap needs a network with inputs and targets, not {type(pl_module).__name__}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compare the modes before a recorded step, and before no other."""
        if not (self.is_due(trainer) and ends_step(trainer, batch_idx)):
            return
        assert isinstance(pl_module, LectureModule | Stack)  # `setup` lets no other pass
        inputs, targets = batch
        training, evaluation = (_outputs(pl_module, inputs, training) for training in (True, False))
        before, after = (pl_module.criterion.mean(outputs, targets).reshape(-1) for outputs in (training, evaluation))
        changed = training.argmax(-1) != evaluation.argmax(-1)

        def means(values: Tensor) -> Tensor:
            return values.double().reshape(len(before), -1).mean(1)

        change = (means((evaluation - training).double().square()) / means(evaluation.double().square())).sqrt()
        names = ["modes/changed", "modes/output_change", "modes/loss_gap"]
        self.record(trainer, names, [means(changed), change, after - before])


@torch.no_grad()
def _outputs(module: LectureModule | Stack, inputs: Tensor, training: bool) -> Tensor:
    network = module.network
    parts = [*network.modules(), *(network.parts if isinstance(network, StackedNetwork) else ())]
    modes = [part.training for part in parts]
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        network.train(training)
        with draws_kept(module):
            outputs: Tensor = functional_call(network, buffers, (inputs,))
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
    return outputs
