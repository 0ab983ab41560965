"""The monitored metric of each network, for callbacks that compare it."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from lightning_modules.stack import Stack

# Factor of a metric for which less is better, by mode.
SIGNS = {"min": 1.0, "max": -1.0}


def monitored(trainer: Trainer, pl_module: LightningModule, name: str, callback: object) -> Tensor:
    """Return the metric that was logged last, (networks,).

    Raises:
        ValueError: nothing was.
    """
    logged = pl_module.network_metrics if isinstance(pl_module, Stack) else trainer.callback_metrics
    if name not in logged:
        kind = type(callback).__name__
        raise ValueError(f"{kind} monitors '{name}', which is not logged; logged are {', '.join(sorted(logged))}")
    return torch.as_tensor(logged[name]).detach().double().reshape(-1)
