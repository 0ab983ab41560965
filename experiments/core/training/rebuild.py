"""Rebuilds from a run's files its data, its network, and the network at every recorded step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from datamodules.base import InMemoryDataModule
from experiments.core.callbacks.parameters import parameter_names
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.files.yaml import load_yaml
from experiments.core.grid.runs import Run
from experiments.core.training.classes import find_class
from lightning_modules.base import LectureModule

Weights = dict[str, Tensor]


def data_of(run: Run) -> InMemoryDataModule:
    """Rebuild the data of a run, with the same samples in the same splits.

    Raises:
        UserError: the run's config, which may come from somebody else, does not describe data.
    """
    stored = _config(run, "data")
    data: InMemoryDataModule = _build(run, "data", stored)
    data.setup()
    return data


def network_of(run: Run) -> nn.Module:
    """Rebuild the network of a run as it was before the first step.

    Raises:
        UserError: the run's config, which may come from somebody else, does not describe a network.
    """
    stored = _config(run, "data", "model")
    module: LectureModule = _build(run, "model", stored)
    with _one_line(run):
        module.set_sizes(_build(run, "data", stored))
    return module.network


def _build(run: Run, kind: str, stored: dict[str, Any]) -> Any:
    arguments = stored[kind]["init_args"]
    seed = run.seed if arguments.get("seed") is None else arguments["seed"]
    with _one_line(run):
        return find_class(kind, stored[kind]["class_path"])(**{**arguments, "seed": seed})


def recorded_weights(run: Run, network: nn.Module) -> dict[int, Weights]:
    """Read the parameters that the callback `Parameters` recorded, by their names in `network`, at each step."""
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
    """Compute the network's outputs, (n, outputs), with the given parameters."""
    outputs: Tensor = functional_call(network, weights, (inputs,))
    return outputs


def _config(run: Run, *kinds: str) -> dict[str, Any]:
    """Read the config of a run, and require class and arguments of these kinds."""
    stored = load_yaml(run.directory / run_directory.CONFIG)
    for kind in kinds:
        section = stored.get(kind)
        parts = (section.get("class_path"), section.get("init_args")) if isinstance(section, dict) else (None, None)
        if not (isinstance(parts[0], str) and isinstance(parts[1], dict)):
            raise UserError(f"'{run.directory / run_directory.CONFIG}' is not the config of a run: it names no {kind}")
    return stored


@contextlib.contextmanager
def _one_line(run: Run) -> Iterator[None]:
    """Turn an error of a constructor into a UserError."""
    try:
        yield
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"'{run.directory / run_directory.CONFIG}' is not the config of a run: {said}") from error
