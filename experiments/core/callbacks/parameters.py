"""Records every parameter of a small network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import nn

from experiments.core.callbacks.instrument import Instrument, ends_step
from lightning_modules.parameters import parameter_count
from lightning_modules.stack import Stack

PREFIX = "parameter"
# Every number is a row of metrics.csv and a column of results.csv.
MOST = 100


def parameter_names(network: nn.Module) -> list[str]:
    """Return the names under which the parameters of a network are recorded, each tensor row by row.

    `parameter/output.weight/00` is the first number of the tensor `output.weight`.
    """
    return [
        f"{PREFIX}/{name}/{index:02d}" for name, tensor in network.named_parameters() for index in range(tensor.numel())
    ]


class Parameters(Instrument):
    """Records every parameter before recorded steps and after the last: `parameter/output.weight/00` and so on.

    From these the function that the network was at that moment can be computed again, for figures that show it change.
    The dashboards do not get them.

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a network too large to be drawn."""
        found = parameter_count(_networks(pl_module)[0])
        if found > MOST:
            raise ValueError(f"Parameters records networks of at most {MOST} parameters, not of {found}")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Record the parameters before the step."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            self._record(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the final parameters."""
        self._record(trainer, pl_module)
        super().on_train_end(trainer, pl_module)

    def _record(self, trainer: Trainer, pl_module: LightningModule) -> None:
        networks = _networks(pl_module)
        numbers = [torch.cat([tensor.detach().flatten() for tensor in network.parameters()]) for network in networks]
        self.record(trainer, parameter_names(networks[0]), torch.stack(numbers, dim=1).unbind())


def _networks(pl_module: LightningModule) -> Sequence[nn.Module]:
    if isinstance(pl_module, Stack):
        return pl_module.network.plain
    network = getattr(pl_module, "network", pl_module)
    assert isinstance(network, nn.Module)
    return [network]
