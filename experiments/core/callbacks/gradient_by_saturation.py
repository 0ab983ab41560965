"""Unit by unit: does the gradient shrink with |a| as the derivative of the non-linearity says?"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.gradient_flow import rms
from experiments.core.callbacks.instrument import Instrument, ends_step, observed_layers, watch_gradient, watch_inputs

# Bins of |a|. In float32 sigmoid'(8) still has five correct digits; at 17 it is exactly zero.
EDGES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)


class GradientBySaturation(Instrument):
    """Records the gradient of the units of each degree of saturation, and what the derivative predicts for it.

    For the bins 0–1, 1–2, 2–4, 4–6 and 6–8 of |a|, pooled over hidden layers and samples and only where g'(a) is not
    zero (for ReLU: the active units): `saturation/delta_a/6-8` is the root mean square of delta_a (per-sample loss,
    see `GradientFlow`), `saturation/derivative/6-8` that of g'(a), `saturation/share/6-8` the share of entries. If the
    gradient that arrives from above does not depend on |a|, the first two fall in proportion. A bin without entries
    is recorded as nan. Slide "Gradient vanishing": "in saturated sigmoids".

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        self._handles: list[RemovableHandle] = []
        self._activations: dict[str, Tensor] = {}
        self._deltas: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watch forward and backward pass of a recorded step, and of no other."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            batches = trainer.accumulate_grad_batches

            def see(name: str, a: Tensor) -> None:
                self._activations[name] = a.detach()
                watch_gradient(a, batches, lambda delta: self._deltas.update({name: delta}))

            self._handles = watch_inputs(observed_layers(pl_module), see)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sort the gradients of this step into the bins."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        layers = observed_layers(pl_module)
        a = torch.cat([self._activations[name].flatten() for name in self._deltas])
        delta = torch.cat([value.flatten() for value in self._deltas.values()])
        slope = torch.cat([derivative(layers[n], self._activations[n]).flatten() for n in self._deltas])
        self._activations, self._deltas = {}, {}
        names: list[str] = []
        values: list[Tensor] = []
        for low, high in itertools.pairwise(EDGES):
            inside = (a.abs() >= low) & (a.abs() < high) & (slope != 0)
            label = f"{low:.0f}-{high:.0f}"
            names += [f"saturation/{what}/{label}" for what in ("delta_a", "derivative", "share")]
            values += [rms(delta[inside]), rms(slope[inside]), inside.double().mean()]
        self.record(trainer, names, values)


def derivative(activation: nn.Module, a: Tensor) -> Tensor:
    """g'(a) of an elementwise activation module, by automatic differentiation; same shape as `a`."""
    with torch.enable_grad():
        point = a.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(point).sum(), point)
    return slope
