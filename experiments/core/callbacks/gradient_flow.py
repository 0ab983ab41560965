"""The two gradients of the lecture, layer by layer: of the activations (`delta_a`) and of the weights."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.instrument import Instrument, ends_step, observed_layers, watch_gradient, watch_inputs
from experiments.core.dashboards import log_histogram


class GradientFlow(Instrument):
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
        self._handles: list[RemovableHandle] = []
        self._deltas: dict[str, Tensor] = {}
        self._last_histogram_epoch = -1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watch the backward pass of a recorded step, and of no other."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            batches = trainer.accumulate_grad_batches

            def see(name: str, a: Tensor) -> None:
                watch_gradient(a, batches, lambda delta: self._deltas.update({name: delta}))

            self._handles = watch_inputs(observed_layers(pl_module), see)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the strengths, still unclipped."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        deltas = dict(sorted(self._deltas.items()))
        self._deltas = {}
        weights = _weight_gradients(pl_module)
        names = [f"gradient/delta_a/{name}" for name in deltas] + [f"gradient/weight/{name}" for name in weights]
        self.record(trainer, names, [rms(value) for value in (*deltas.values(), *weights.values())])
        epoch = trainer.current_epoch
        if epoch % self.histogram_every_n_epochs == 0 and epoch != self._last_histogram_epoch:
            self._last_histogram_epoch = epoch
            for name, delta in deltas.items():
                decades = delta[delta != 0].abs().log10()
                log_histogram(trainer.loggers, f"gradient/log10_delta_a/{name}", decades, trainer.global_step)


def _weight_gradients(network: nn.Module) -> dict[str, Tensor]:
    """Gradients of the weight matrices in forward order: `layer_01`, …, and `output` for the last."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    gradients = [layer.weight.grad for layer in layers if layer.weight.grad is not None]
    names = [*(f"layer_{index:02d}" for index in range(1, len(gradients))), "output"]
    return dict(zip(names, gradients, strict=True)) if gradients else {}


def rms(value: Tensor) -> Tensor:
    """Root mean square, in float64: squares of vanished gradients underflow in float32."""
    return value.double().square().mean().sqrt()
