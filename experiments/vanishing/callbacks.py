"""A callback that measures, unit by unit, whether the gradient shrinks with |a| like the derivative of g."""

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

# Edges of the bins of |a|. In float32, sigmoid'(8) has five correct digits; sigmoid'(17) is exactly zero.
EDGES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)


class GradientBySaturation(LayerInstrument):
    """Records the gradient of units in bins of |a|, and the derivative of the non-linearity in each bin.

    The bins are 0–1, 1–2, 2–4, 4–6 and 6–8; entries are pooled over hidden layers and samples, without those where
    g'(a) is zero (inactive ReLU units). `saturation/delta_a/6-8` is the root mean square of delta_a (per-sample loss,
    see `GradientFlow`), `saturation/derivative/6-8` that of g'(a), and `saturation/share/6-8` the share of entries. If
    the gradient from the next layer does not depend on |a|, the first two are proportional. A bin without entries is
    nan. Slide "Gradient vanishing": "in saturated sigmoids".

    Args:
        every_n_steps: optimiser steps between two records, starting at step 0.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        self._activations = Seen()
        self._deltas = Seen()

    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Register hooks for the forward and the backward pass."""
        layers = observed_layers(pl_module)
        return [
            *watch_inputs(pl_module, layers, self._activations),
            *watch_gradients(pl_module, layers, batches, self._deltas),
        ]

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the bins of this step."""
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
    """Compute g'(a) of an elementwise activation module by autograd, in the shape of `a`."""
    with torch.enable_grad():
        point = a.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(point).sum(), point)
    return slope
