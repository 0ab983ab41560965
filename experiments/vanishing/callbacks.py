"""Unit by unit: does the gradient shrink with |a| as the derivative of the non-linearity says?"""

from __future__ import annotations

import itertools

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.instrument import (
    LayerInstrument,
    Seen,
    observed_layers,
    watch_gradients,
    watch_inputs,
)

# Bins of |a|. In float32 sigmoid'(8) still has five correct digits; at 17 it is exactly zero.
EDGES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)


class GradientBySaturation(LayerInstrument):
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
        self._activations = Seen()
        self._deltas = Seen()

    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Watch forward and backward pass."""
        layers = observed_layers(pl_module)
        return [
            *watch_inputs(pl_module, layers, self._activations),
            *watch_gradients(pl_module, layers, batches, self._deltas),
        ]

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sort the gradients of this step into the bins."""
        layers = observed_layers(pl_module)
        activations, deltas = self._activations.collect(), self._deltas.collect()
        a = torch.cat([activations[name].flatten(1) for name in deltas], dim=1)
        delta = torch.cat([value.flatten(1) for value in deltas.values()], dim=1)
        slope = torch.cat([derivative(layers[name][0], activations[name]).flatten(1) for name in deltas], dim=1)
        names: list[str] = []
        values: list[Tensor] = []
        size, active = a.abs(), slope != 0
        squares = (delta.double().square(), slope.double().square())
        for low, high in itertools.pairwise(EDGES):
            inside = (size >= low) & (size < high) & active
            label = f"{low:.0f}-{high:.0f}"
            names += [f"saturation/{what}/{label}" for what in ("delta_a", "derivative", "share")]
            count = inside.sum(dim=1)
            means = [torch.where(inside, square, 0.0).sum(dim=1) / count for square in squares]
            values += [*(mean.sqrt() for mean in means), inside.double().mean(dim=1)]
        self.record(trainer, names, values)


def derivative(activation: nn.Module, a: Tensor) -> Tensor:
    """g'(a) of an elementwise activation module, by automatic differentiation; same shape as `a`."""
    with torch.enable_grad():
        point = a.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(point).sum(), point)
    return slope
