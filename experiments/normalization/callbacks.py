"""How predictable the loss is along its own gradient, and how far training mode is from evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.func import functional_call

from experiments.core.callbacks.evaluation import draws_kept
from experiments.core.callbacks.instrument import LAYERWISE, Instrument, ends_step
from lightning_modules.base import LectureModule
from lightning_modules.stack import Stack, StackedNetwork


class Landscape(Instrument):
    """Records how loss and gradient change where the gradient points (Santurkar et al. 2018, section 3.2).

    On a recorded step the batch that is about to be learnt gives its loss L and gradient g. The parameters then move to
    w - m·lr·g for every m of `moves`, lr being the learning rate of that step, and the same batch gives L' and g'
    there: `landscape/loss` is L; `landscape/loss_range` the largest minus the smallest of L and all L';
    `landscape/gradient_change/<m>` the length of g' - g over that of g; `landscape/gradient_norm` the length of g. The
    loss is the data's, without penalty. All moves see the same dropout masks. Parameters, buffers, gradients and
    random numbers of the training are not touched: the network is evaluated on copies of the first two.

    Slide "Topologie de l'espace de recherche & gradient".

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
        moves: lengths of the moves in units of the learning rate, each > 0; [0.5, 1, 2, 4] if not given.
    """

    stackable = LAYERWISE

    def __init__(self, every_n_steps: int = 10, moves: list[float] | None = None) -> None:
        super().__init__(every_n_steps)
        self.moves = [0.5, 1.0, 2.0, 4.0] if moves is None else moves
        if not self.moves or not all(0 < move < math.inf for move in self.moves):
            raise ValueError(f"moves must be positive numbers, at least one; they are {self.moves}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not say what it learns from."""
        if not isinstance(pl_module, LectureModule | Stack):
            raise ValueError(f"Landscape needs a network with inputs and targets, not {type(pl_module).__name__}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Look ahead from a recorded step, and from no other."""
        if not (self.is_due(trainer) and ends_step(trainer, batch_idx)):
            return
        assert isinstance(pl_module, LectureModule | Stack)  # `setup` lets no other pass
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        start = {name: p.detach() for name, p in pl_module.network.named_parameters() if p.requires_grad}
        loss, gradient = _look(pl_module, start, batch)
        length, losses, changes = _lengths(gradient, len(loss)), [loss], []
        for move in self.moves:
            moved = {name: p - move * rate * g for (name, p), g in zip(start.items(), gradient, strict=True)}
            loss_there, gradient_there = _look(pl_module, moved, batch)
            losses.append(loss_there)
            difference = [b - a for a, b in zip(gradient, gradient_there, strict=True)]
            changes.append(_lengths(difference, len(loss)) / length)
        spread = torch.stack(losses)
        names = ["landscape/loss", "landscape/loss_range", "landscape/gradient_norm"]
        names += [f"landscape/gradient_change/{move:g}" for move in self.moves]
        values = [loss, spread.amax(0) - spread.amin(0), length, *changes]
        self.record(trainer, names, values)


def _look(
    module: LectureModule | Stack, parameters: dict[str, Tensor], batch: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Losses, (networks,), and gradients at other parameters, in training mode, with the random numbers to come."""
    inputs, targets = batch
    point = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    buffers = {name: buffer.clone() for name, buffer in module.network.named_buffers()}
    with torch.enable_grad(), draws_kept(module):
        outputs = functional_call(module.network, {**point, **buffers}, (inputs,))
        losses = module.criterion.mean(outputs, targets)
        gradient = torch.autograd.grad(losses.sum(), list(point.values()))
    return losses.detach().reshape(-1), list(gradient)


def _lengths(vectors: Sequence[Tensor], networks: int) -> Tensor:
    """Euclidean length of each network's entries, (networks,), in float64: small squares underflow in float32."""
    return torch.stack([vector.double().square().reshape(networks, -1).sum(1) for vector in vectors]).sum(0).sqrt()


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
