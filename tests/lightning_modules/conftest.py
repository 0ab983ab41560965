from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

# Two threads on tensors this small wait for each other: a hundred times slower when the cores are busy.
torch.set_num_threads(1)


@dataclass
class Batches:
    """Tensors in a fixed order; the last batch may be partial."""

    inputs: Tensor
    targets: Tensor
    size: int

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.inputs.split(self.size), self.targets.split(self.size), strict=True)


@pytest.fixture
def batches() -> Callable[..., Batches]:
    def build(samples: int = 23, size: int = 5, features: int = 6, classes: int = 3, seed: int = 0) -> Batches:
        g = torch.Generator().manual_seed(seed)
        inputs = torch.randn(samples, features, generator=g, dtype=torch.float64)
        return Batches(inputs, torch.randint(classes, (samples,), generator=g), size)

    return build


@pytest.fixture
def trainer() -> Callable[..., lightning.Trainer]:
    def build(**arguments: Any) -> lightning.Trainer:
        quiet = {
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return lightning.Trainer(**{**quiet, **arguments})

    return build
