"""Callbacks that measure how predictable the loss is along its gradient, and how training and evaluation differ."""

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
    """Records how loss and gradient change along the gradient (Santurkar et al. 2018, section 3.2).

    Before a recorded step, the loss L and the gradient g of its batch are computed, and for every m of `moves` the loss
    L' and the gradient g' at the parameters w - m·lr·g, where lr is the learning rate of the step. `landscape/loss` is
    L; `landscape/loss_range` is the largest minus the smallest of L and all L'; `landscape/gradient_change/<m>` is the
    norm of g' - g divided by the norm of g; `landscape/gradient_norm` is the norm of g. The loss does not include
    penalties. All moves use the same dropout masks. The callback works on copies and does not change parameters,
    buffers, gradients or random numbers of the training.

    Slide "Topologie de l'espace de recherche & gradient".

    Args:
        every_n_steps: optimiser steps between two records, starting at step 0.
        moves: lengths of the moves in units of the learning rate, each > 0. Default: [0.5, 1, 2, 4].
    """

    stackable = LAYERWISE

    def __init__(self, every_n_steps: int = 10, moves: list[float] | None = None) -> None:
        super().__init__(every_n_steps)
        self.moves = [0.5, 1.0, 2.0, 4.0] if moves is None else moves
        if not self.moves or not all(0 < move < math.inf for move in self.moves):
            raise ValueError(f"moves must be positive numbers, at least one; they are {self.moves}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse modules other than `LectureModule` and `Stack`."""
        if not isinstance(pl_module, LectureModule | Stack):
            raise ValueError(f"Landscape needs a network with inputs and targets, not {type(pl_module).__name__}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Measure before each recorded step."""
        if not (self.is_due(trainer) and ends_step(trainer, batch_idx)):
            return
        assert isinstance(pl_module, LectureModule | Stack)  # validated in `setup`
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        start = {name: p.detach() for name, p in pl_module.network.named_parameters() if p.requires_grad}
        loss, gradient = _evaluate_at(pl_module, start, batch)
        length, losses, changes = _lengths(gradient, len(loss)), [loss], []
        for move in self.moves:
            moved = {name: p - move * rate * g for (name, p), g in zip(start.items(), gradient, strict=True)}
            loss_there, gradient_there = _evaluate_at(pl_module, moved, batch)
            losses.append(loss_there)
            difference = [b - a for a, b in zip(gradient, gradient_there, strict=True)]
            changes.append(_lengths(difference, len(loss)) / length)
        spread = torch.stack(losses)
        names = ["landscape/loss", "landscape/loss_range", "landscape/gradient_norm"]
        names += [f"landscape/gradient_change/{move:g}" for move in self.moves]
        values = [loss, spread.amax(0) - spread.amin(0), length, *changes]
        self.record(trainer, names, values)


def _evaluate_at(
    module: LectureModule | Stack, parameters: dict[str, Tensor], batch: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Compute losses, (networks,), and gradients at given parameters, with the random numbers of the next step."""
    inputs, targets = batch
    point = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    buffers = {name: buffer.clone() for name, buffer in module.network.named_buffers()}
    with torch.enable_grad(), draws_kept(module):
        outputs = functional_call(module.network, {**point, **buffers}, (inputs,))
        losses = module.criterion.mean(outputs, targets)
        gradient = torch.autograd.grad(losses.sum(), list(point.values()))
    return losses.detach().reshape(-1), list(gradient)


def _lengths(vectors: Sequence[Tensor], networks: int) -> Tensor:
    """Compute each network's norm, (networks,), in float64 because small squares underflow in float32."""
    return torch.stack([vector.double().square().reshape(networks, -1).sum(1) for vector in vectors]).sum(0).sqrt()


class TrainEvalGap(Instrument):
    """Records how the outputs for a batch differ between training mode and evaluation mode, at equal parameters.

    The modes differ for BatchNorm, which uses statistics of the mini-batch in training and running averages in
    evaluation, and for dropout. Before a recorded step, for its batch: `modes/changed` is the share of samples whose
    arg max differs; `modes/output_change` is the root mean square of the output difference divided by that of the
    outputs in evaluation; `modes/loss_gap` is the loss in evaluation minus the loss in training. The callback does not
    change buffers or random numbers of the training. Slide "Topologie de l'espace de recherche & gradient".

    Args:
        every_n_steps: optimiser steps between two records, starting at step 0.
    """

    stackable = LAYERWISE

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse modules other than `LectureModule` and `Stack`."""
        if not isinstance(pl_module, LectureModule | Stack):
            raise ValueError(f"TrainEvalGap needs a network with inputs and targets, not {type(pl_module).__name__}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compare the modes before each recorded step."""
        if not (self.is_due(trainer) and ends_step(trainer, batch_idx)):
            return
        assert isinstance(pl_module, LectureModule | Stack)  # validated in `setup`
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
