"""Records the size of the weights before the first step and after the last."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from experiments.core.callbacks.evaluation import stacked
from experiments.core.callbacks.instrument import Instrument
from lightning_modules.penalties import penalized_weights
from lightning_modules.stack import Stack

# Weights below it count as zero: 1 % of a usual initial weight, 1 / √100.
NEGLIGIBLE = 1e-3
# log10 |w|; weights outside are counted in the end bins.
HISTOGRAM_EDGES = torch.linspace(-7.0, 1.0, 33)


class WeightStatistics(Instrument):
    """Records the weights that penalties act on (no biases), all layers together, before and after training.

    `weight/norm` (the square root of Σw²), `weight/sum` (Σ|w|), `weight/negligible` (share with |w| < 0.001) and
    `weight/histogram/bin_00` …: the share of weights with log₁₀|w| in bins of width 0.25 from -7 to 1 (weights outside
    are counted in the end bins). Slide "Lutter contre le sur-apprentissage".
    """

    def __init__(self) -> None:
        super().__init__()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the initial weights."""
        self._record(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the final weights."""
        self._record(trainer, pl_module)
        super().on_train_end(trainer, pl_module)

    def _record(self, trainer: Trainer, pl_module: LightningModule) -> None:
        modules = pl_module.plain if isinstance(pl_module, Stack) else [pl_module]
        columns = stacked([_statistics(module) for module in modules])
        self.record(trainer, list(columns), list(columns.values()))


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    w = torch.cat([weight.detach().flatten() for weight in penalized_weights(module)]).abs()
    found = {"weight/norm": w.norm(), "weight/sum": w.sum(), "weight/negligible": (w < NEGLIGIBLE).double().mean()}
    shares = magnitude_shares(w)
    return found | {f"weight/histogram/bin_{index:02d}": share for index, share in enumerate(shares)}


def magnitude_shares(weights: Tensor) -> Tensor:
    """Return the share of `weights`, (n,), in each bin of log10 of their magnitude, (32,)."""
    edges = HISTOGRAM_EDGES.to(weights.device)
    bins = torch.bucketize(weights.abs().log10(), edges[1:-1].to(weights.dtype), right=True)
    return torch.bincount(bins, minlength=len(edges) - 1) / weights.numel()
