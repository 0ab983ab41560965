"""A small network in double precision, a little data, and a silent Trainer, for the callbacks' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules import FullyConnected

FEATURES, CLASSES = 6, 3


@pytest.fixture
def network() -> Callable[..., FullyConnected]:
    """A FullyConnected in double precision: 3 hidden layers of 5 units if not said otherwise."""

    def build(**arguments: Any) -> FullyConnected:
        settings = {"depth": 3, "width": 5, "activation": "tanh", "optimizer": "sgd", "lr": 0.1, "seed": 0}
        if "hidden" in arguments:
            del settings["depth"], settings["width"]
        return FullyConnected(num_features=FEATURES, num_classes=CLASSES, **{**settings, **arguments}).double()

    return build


@pytest.fixture
def samples() -> Callable[..., tuple[Tensor, Tensor]]:
    """Inputs (n, 6) and targets (n,)."""

    def draw(n: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        return torch.randn(n, FEATURES, generator=g, dtype=torch.float64), torch.randint(CLASSES, (n,), generator=g)

    return draw


@pytest.fixture
def train() -> Callable[..., lightning.Trainer]:
    """Fit a module on batches of 8 in a fixed order, with callbacks and nothing else around it."""

    def run(
        module: lightning.LightningModule,
        data: tuple[Tensor, Tensor],
        *callbacks: lightning.Callback,
        validation: tuple[Tensor, Tensor] | None = None,
        **options: Any,
    ) -> lightning.Trainer:
        quiet = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        trainer = lightning.Trainer(callbacks=list(callbacks), **{**quiet, **options})
        loaders = [DataLoader(TensorDataset(*part), batch_size=8) if part else None for part in (data, validation)]
        trainer.fit(module, *loaders)
        return trainer

    return run
