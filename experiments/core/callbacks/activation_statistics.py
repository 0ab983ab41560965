"""Statistics of pre-activations: mean, spread, saturation, dead units."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.instrument import LayerInstrument, Seen, observed_layers, watch_inputs

# |a| beyond which the derivative is under 7.1 % of its maximum: tanh(a) = 2 sigmoid(2a) - 1.
SATURATED_BEYOND = {nn.Sigmoid: 4.0, nn.Tanh: 2.0}
HISTOGRAM_EDGES = torch.linspace(-8.0, 8.0, 33)


class ActivationStatistics(LayerInstrument):
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
        self._seen = Seen()
        self._active = _Active()

    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Register hooks for the forward pass."""
        return watch_inputs(pl_module, observed_layers(pl_module), self._seen)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the statistics of the forward pass."""
        names: list[str] = []
        values: list[Tensor] = []
        seen = {name: a.flatten(1) for name, a in self._seen.collect().items()}
        for name, a in seen.items():
            names += [f"activation/mean/{name}", f"activation/std/{name}"]
            values += [a.mean(dim=1), a.std(dim=1, correction=0)]
            limit = SATURATED_BEYOND.get(type(observed_layers(pl_module)[name][0]))
            if limit is not None:
                names.append(f"activation/saturated/{name}")
                values.append((a.abs() > limit).double().mean(dim=1))
        if trainer.global_step == 0:
            shares = histogram_shares(torch.cat(list(seen.values()), dim=1))
            names += [f"activation/histogram/bin_{index:02d}" for index in range(shares.shape[1])]
            values += shares.unbind(dim=1)
        self.record(trainer, names, values)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Register hooks for the whole validation pass: a unit is dead if no sample activates it."""
        relus = {n: modules for n, modules in observed_layers(pl_module).items() if isinstance(modules[0], nn.ReLU)}
        self._active.collect()
        self._handles = watch_inputs(pl_module, relus, self._active)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the share of dead units."""
        self.stop_watching(pl_module)
        ever_active = self._active.collect()
        shares = [1 - active.double().flatten(1).mean(dim=1) for active in ever_active.values()]
        self.record(trainer, [f"activation/dead/{name}" for name in ever_active], shares)


class _Active(Seen):
    """Return which units at least one sample activates, (networks, units, …)."""

    def __init__(self) -> None:
        super().__init__(torch.logical_or)

    def add(self, name: str, index: int, value: Tensor) -> None:
        super().add(name, index, (value > 0).any(dim=1))


def histogram_shares(values: Tensor) -> Tensor:
    """Return the share of the values of each network, (networks, n), in each bin: (networks, bins).

    Values outside are counted in the end bins.
    """
    edges = HISTOGRAM_EDGES.to(values.device)
    count = len(edges) - 1
    bins = torch.bucketize(values, edges[1:-1]) + count * torch.arange(len(values), device=values.device).unsqueeze(1)
    return torch.bincount(bins.flatten(), minlength=count * len(values)).view(-1, count) / values.shape[1]
