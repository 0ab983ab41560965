"""What a run worked with, built again from its files: its data, its network, and the network at every recorded step."""

from __future__ import annotations

from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.func import functional_call

from datamodules.base import InMemoryDataModule
from experiments.core import records
from experiments.core.callbacks.parameters import parameter_names
from experiments.core.classes import find_class, module_for
from experiments.core.results import Run

Weights = dict[str, Tensor]


def data_of(run: Run) -> InMemoryDataModule:
    """Build the data of a run and set them up: the same samples, in the same parts."""
    stored = _config(run)
    build: Any = find_class("data", stored["data"]["class_path"])
    data: InMemoryDataModule = build(**stored["data"]["init_args"], seed=run.seed)
    data.setup()
    return data


def network_of(run: Run) -> nn.Module:
    """Build the network of a run as it was before the first step."""
    stored = _config(run)
    section = stored["data"]
    data: Any = find_class("data", section["class_path"])(**section["init_args"], seed=run.seed)
    return module_for(data, stored["model"]["class_path"], {**stored["model"]["init_args"], "seed": run.seed}).network


def recorded_weights(run: Run, network: nn.Module) -> dict[int, Weights]:
    """Read what the callback `Parameters` recorded: the parameters by their names in `network`, at each step."""
    wanted = set(parameter_names(network))
    numbers: dict[int, dict[str, float]] = {}
    for metric in wanted:
        for _, step, value in run.series(metric):
            numbers.setdefault(step, {})[metric] = value
    complete = {step: found for step, found in numbers.items() if found.keys() == wanted}
    return {step: _shaped(complete[step], network) for step in sorted(complete)}


def _shaped(numbers: dict[str, float], network: nn.Module) -> Weights:
    flat = iter([numbers[name] for name in parameter_names(network)])
    return {
        name: torch.tensor([next(flat) for _ in range(tensor.numel())]).reshape(tensor.shape)
        for name, tensor in network.named_parameters()
    }


@torch.no_grad()
def outputs_with(network: nn.Module, weights: Weights, inputs: Tensor) -> Tensor:
    """Compute the network's outputs, (n, outputs), with other parameters than its own."""
    outputs: Tensor = functional_call(network, weights, (inputs,))
    return outputs


def _config(run: Run) -> dict[str, Any]:
    stored: dict[str, Any] = yaml.safe_load((run.directory / records.CONFIG).read_text(encoding="utf-8"))
    return stored
