"""Where the network's pre-activations lie: centred or not, in the saturated part, dead."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.instrument import Instrument, ends_step, observed_layers, watch_inputs

# |a| beyond which the derivative is under 7.1 % of its maximum: tanh(a) = 2 sigmoid(2a) - 1.
SATURATED_BEYOND = {nn.Sigmoid: 4.0, nn.Tanh: 2.0}
HISTOGRAM_EDGES = torch.linspace(-8.0, 8.0, 33)


class ActivationStatistics(Instrument):
    """Records, per layer, mean and standard deviation of the pre-activation a, saturated share and dead units.

    On recorded training steps, over the samples of the batch: `activation/mean/layer_01`, `activation/std/layer_01`,
    `activation/saturated/layer_01` (share of entries with |a| > 4 for the sigmoid, > 2 for tanh). At step 0 also
    `activation/histogram/bin_00` …, the share of all hidden pre-activations in bins of width 0.5 from -8 to 8 (values
    outside are counted in the end bins). At the end of each validation pass `activation/dead/layer_01`: the share of
    ReLU units that no validation sample activates. Where a recurrent network calls one module at every step, means are
    of the last step, and a dead unit is one that is active at none. Slides "Gradient vanishing" and "Amélioration du
    gradient".

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        self._handles: list[RemovableHandle] = []
        self._seen: dict[str, Tensor] = {}
        self._ever_active: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watch the forward pass of a recorded step, and of no other."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            self._handles = watch_inputs(observed_layers(pl_module), self._see)

    def _see(self, name: str, a: Tensor) -> None:
        self._seen[name] = a.detach()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the statistics of the forward pass."""
        if not self._handles:
            return
        self._stop_watching()
        names: list[str] = []
        values: list[Tensor] = []
        for name, module in observed_layers(pl_module).items():
            a = self._seen[name]
            names += [f"activation/mean/{name}", f"activation/std/{name}"]
            values += [a.mean(), a.std(correction=0)]
            limit = SATURATED_BEYOND.get(type(module))
            if limit is not None:
                names.append(f"activation/saturated/{name}")
                values.append((a.abs() > limit).double().mean())
        if trainer.global_step == 0:
            shares = histogram_shares(torch.cat([a.flatten() for a in self._seen.values()]))
            names += [f"activation/histogram/bin_{index:02d}" for index in range(len(shares))]
            values += list(shares)
        self._seen = {}
        self.record(trainer, names, values)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the whole validation pass: a unit is dead when no sample activates it."""
        relus = {name: m for name, m in observed_layers(pl_module).items() if isinstance(m, nn.ReLU)}
        self._ever_active = {}
        self._handles = watch_inputs(relus, self._see_active)

    def _see_active(self, name: str, a: Tensor) -> None:
        active = (a > 0).any(dim=0)
        self._ever_active[name] = active | self._ever_active.get(name, torch.zeros_like(active))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the share of dead units."""
        self._stop_watching()
        names = [f"activation/dead/{name}" for name in self._ever_active]
        self.record(trainer, names, [1 - active.double().mean() for active in self._ever_active.values()])

    def _stop_watching(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


def histogram_shares(values: Tensor) -> Tensor:
    """Share of `values` in each bin of HISTOGRAM_EDGES, values outside counted in the end bins."""
    edges = HISTOGRAM_EDGES.to(values.device)
    bins = torch.bucketize(values, edges[1:-1])
    return torch.bincount(bins, minlength=len(edges) - 1) / values.numel()
