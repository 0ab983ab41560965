"""Records the gradients of each layer: of the pre-activations (`delta_a`) and of the weights."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.instrument import LayerInstrument, Seen, observed_layers, watch_gradients
from experiments.core.callbacks.loggers import by_network, log_histogram
from lightning_modules.stack import Stack

# Bins of log10 |delta_a|, quarters of a decade, over the range of single precision.
DECADES = torch.linspace(-46.0, 39.0, 4 * 85 + 1)


class GradientFlow(LayerInstrument):
    """Records how strong the gradient is in each layer, before clipping.

    `gradient/delta_a/layer_01` is the root mean square, over samples and units, of the gradient of one sample's loss
    with respect to the pre-activation a (the gradient of the mean loss times the batch size); layers count from the
    input. `gradient/weight/layer_01` is the root mean square of the weight's gradient, `gradient/weight/output` that
    of the last layer. Where a recurrent network calls one module at every step, delta_a is that of the first step, the
    farthest from the supervision. Slide "Gradient vanishing".

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
        histogram_every_n_epochs: epochs between two histograms of log10 |delta_a| sent to the dashboards.
    """

    def __init__(self, every_n_steps: int = 10, histogram_every_n_epochs: int = 5) -> None:
        super().__init__(every_n_steps)
        if histogram_every_n_epochs < 1:
            raise ValueError(f"histogram_every_n_epochs must be at least 1; it is {histogram_every_n_epochs}")
        self.histogram_every_n_epochs = histogram_every_n_epochs
        self._deltas = Seen()
        self._last_histogram_epoch = -1

    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Register hooks for the backward pass."""
        return watch_gradients(pl_module, observed_layers(pl_module), batches, self._deltas)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the sizes of the gradients."""
        deltas = self._deltas.collect()
        weights = _weight_gradients(pl_module)
        names = [f"gradient/delta_a/{name}" for name in deltas] + [f"gradient/weight/{name}" for name in weights]
        self.record(trainer, names, [rms(value) for value in (*deltas.values(), *weights.values())])
        epoch = trainer.current_epoch
        if epoch % self.histogram_every_n_epochs == 0 and epoch != self._last_histogram_epoch:
            self._last_histogram_epoch = epoch
            counts = {f"gradient/log10_delta_a/{name}": count_decades(delta) for name, delta in deltas.items()}
            for index, loggers in enumerate(by_network(trainer.loggers)):
                for name, count in counts.items():
                    log_histogram(loggers, name, count[index], DECADES, trainer.global_step)


def _weight_gradients(pl_module: LightningModule) -> dict[str, Tensor]:
    """Return the weight gradients in forward order, (networks, …): `layer_01`, …, and `output` for the last."""
    layers = [m for m in pl_module.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    gradients = [layer.weight.grad for layer in layers if layer.weight.grad is not None]
    if not isinstance(pl_module, Stack):
        gradients = [gradient.unsqueeze(0) for gradient in gradients]
    names = [*(f"layer_{index:02d}" for index in range(1, len(gradients))), "output"]
    return dict(zip(names, gradients, strict=True)) if gradients else {}


def count_decades(values: Tensor) -> Tensor:
    """Count each network's values, (networks, …), by log10 of their size in the bins of DECADES: (networks, bins).

    Zeros and what is not finite are in none.
    """
    logarithms, last = values.abs().log10().flatten(1), len(DECADES) - 2
    bins = ((logarithms - DECADES[0]) / (DECADES[1] - DECADES[0])).clamp(0, last).long()
    rows = torch.arange(len(values), device=values.device).unsqueeze(1)
    counted = (bins + (last + 1) * rows)[logarithms.isfinite()]
    return torch.bincount(counted, minlength=(last + 1) * len(values)).view(len(values), -1)


def rms(values: Tensor) -> Tensor:
    """Return the root mean square of each network, (networks,), in float64: small squares underflow in float32."""
    return values.double().square().mean(dim=tuple(range(1, values.dim()))).sqrt()
