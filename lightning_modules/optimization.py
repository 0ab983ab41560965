"""Torch's optimisers and learning-rate schedules, built from plain hyper-parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from lightning_modules.layers import choose, validate_number
from lightning_modules.penalties import penalized_weights


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimiser and the hyper-parameters that it uses besides the learning rate."""

    build: Callable[..., Optimizer]
    uses: tuple[str, ...]
    # Devices with a fused kernel. Time of a fused step over that of a loop over parameters, for 784-100×5-10 on one CPU
    # core: momentum .6, Adam .3, AdamW .3, Adagrad .3.
    fused: tuple[str, ...] = ()
    # Torch's default.
    weight_decay: float = 0.0


# All are elementwise, so that several seeds can be trained as one stack.
OPTIMIZERS: dict[str, OptimizerSpec] = {
    "sgd": OptimizerSpec(SGD, ("momentum", "nesterov", "weight_decay"), fused=("cpu", "cuda")),
    "adam": OptimizerSpec(Adam, ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda")),
    "adamw": OptimizerSpec(AdamW, ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda"), weight_decay=0.01),
    "amsgrad": OptimizerSpec(partial(Adam, amsgrad=True), ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda")),
    "adamax": OptimizerSpec(Adamax, ("beta1", "beta2", "weight_decay")),
    "nadam": OptimizerSpec(NAdam, ("beta1", "beta2", "weight_decay")),
    "radam": OptimizerSpec(RAdam, ("beta1", "beta2", "weight_decay")),
    "rmsprop": OptimizerSpec(RMSprop, ("momentum", "weight_decay")),
    "adagrad": OptimizerSpec(Adagrad, ("weight_decay",), fused=("cpu",)),
    "adadelta": OptimizerSpec(Adadelta, ("weight_decay",)),
}


def optimizer_arguments(
    optimizer: str,
    *,
    lr: float,
    momentum: float | None = None,
    nesterov: bool | None = None,
    weight_decay: float | None = None,
    beta1: float | None = None,
    beta2: float | None = None,
) -> dict[str, Any]:
    """Validate plain hyper-parameters and translate them into the arguments of torch's optimiser.

    Args:
        optimizer: a key of `OPTIMIZERS`.
        lr: learning rate, > 0.
        momentum: in [0, 1).
        nesterov: needs a momentum > 0.
        weight_decay: >= 0.
        beta1: in [0, 1). Default: .9.
        beta2: in [0, 1). Default: .999.

    Returns:
        Keyword arguments of the torch class.

    Raises:
        ValueError: unknown optimiser, a value out of range, or a hyper-parameter that the optimiser does not use.
    """
    spec = choose("optimizer", optimizer, OPTIMIZERS)
    validate_number("lr", lr, above=0)
    numbers = {"momentum": momentum, "weight_decay": weight_decay, "beta1": beta1, "beta2": beta2}
    given = {name: value for name, value in {**numbers, "nesterov": nesterov}.items() if value is not None}
    for name in given:
        if name not in spec.uses:
            raise ValueError(f"{optimizer} does not use {name}; it uses {', '.join(('lr', *spec.uses))}")
    for name, value in numbers.items():
        if value is not None:
            validate_number(name, value, minimum=0, below=math.inf if name == "weight_decay" else 1)
    if nesterov and not momentum:
        raise ValueError(f"nesterov=True needs a momentum > 0, not {momentum}")
    arguments: dict[str, Any] = {"lr": lr, "weight_decay": spec.weight_decay, **given}
    if "beta1" in spec.uses:
        arguments["betas"] = (arguments.pop("beta1", 0.9), arguments.pop("beta2", 0.999))
    return arguments


def build_optimizer(network: nn.Module, optimizer: str, arguments: dict[str, Any]) -> Optimizer:
    """Build the optimiser of a network's parameters, fused where torch supports it.

    Weight decay acts only on the weights, like the penalties; torch by default also decays biases and the scales of
    normalisations.

    Args:
        network: the network, with its parameters on the training device.
        optimizer: a key of `OPTIMIZERS`.
        arguments: see `optimizer_arguments`.
    """
    spec = OPTIMIZERS[optimizer]
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    fused = {"fused": True} if all(p.device.type in spec.fused for p in parameters) else {}
    if not arguments["weight_decay"]:
        return spec.build(parameters, **arguments, **fused)
    decayed = {id(weight) for weight in penalized_weights(network)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) in decayed]},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return spec.build([group for group in groups if group["params"]], **arguments, **fused)


def validate_schedule(schedule: str, warmup: float) -> None:
    """Validate the hyper-parameters of a schedule; see `build_schedule`.

    Raises:
        ValueError: unknown schedule, a warm-up outside [0, 1), or a warm-up with one_cycle or plateau.
    """
    choose("schedule", schedule, SCHEDULES)
    validate_number("warmup", warmup, minimum=0, below=1)
    if schedule == "one_cycle" and warmup:
        raise ValueError(f"one_cycle warms up by itself, over 30 % of the steps: warmup must be 0, not {warmup}")
    if schedule == PLATEAU and warmup:
        raise ValueError(f"plateau follows the validation loss and not the steps: warmup must be 0, not {warmup}")


def _multi_step(optimizer: Optimizer, total: int) -> LRScheduler:
    # Divide by ten at one half and at three quarters of the steps: He et al. 2016, section 4.2.
    return MultiStepLR(optimizer, milestones=[math.ceil(0.5 * total), math.ceil(0.75 * total)])


def _one_cycle(optimizer: Optimizer, total: int) -> LRScheduler:
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=rates, total_steps=total, cycle_momentum=False)


PLATEAU = "plateau"
# Functions of an optimiser and the number of steps. Cosine and linear reach 0 one step after the last, so that no step
# has a learning rate of 0.
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    "constant": lambda optimizer, total: ConstantLR(optimizer, factor=1.0, total_iters=total),
    "step": _multi_step,
    "cosine": lambda optimizer, total: CosineAnnealingLR(optimizer, T_max=total),
    "linear": lambda optimizer, total: LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=total),
    "one_cycle": _one_cycle,
    PLATEAU: lambda optimizer, _total: ReduceLROnPlateau(optimizer),
}


def build_schedule(optimizer: Optimizer, schedule: str, warmup: float, total: int) -> LRScheduler:
    """Build one of torch's schedules, to be stepped after every optimiser step (plateau: after every validation).

    Args:
        optimizer: the optimiser; the learning rates of its groups are the largest of the schedule.
        schedule: constant (`ConstantLR`), step (`MultiStepLR`: divide by ten at 1/2 and again at 3/4 of the steps),
            cosine (`CosineAnnealingLR`, to 0), linear (`LinearLR`, to 0), one_cycle (`OneCycleLR`, with constant
            momentum) or plateau (`ReduceLROnPlateau`: divide by ten after 10 epochs without a smaller validation loss).
        warmup: share of all steps, in [0, 1), during which the learning rate rises linearly from 1/n of its value to
            its full value, n = round(warmup · total); the schedule then covers the remaining steps. A share keeps its
            meaning when the data, the batch size or the number of epochs change.
        total: optimiser steps of the whole training, >= 1.

    Raises:
        ValueError: a warm-up of less than one step, which has no effect.
    """
    ramp = round(warmup * total)
    if not warmup:
        return SCHEDULES[schedule](optimizer, total)
    if not ramp:
        raise ValueError(f"warmup={warmup} has no effect: of {total} steps it is none")
    rising = LinearLR(optimizer, start_factor=1 / ramp, end_factor=1.0, total_iters=max(ramp - 1, 1))
    return SequentialLR(optimizer, [rising, SCHEDULES[schedule](optimizer, max(total - ramp, 1))], milestones=[ramp])


def learning_rates(schedule: str, warmup: float, total: int) -> list[float]:
    """List the learning rate of every step of a training, as a share of `lr`; see `build_schedule`."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    follow, rates = build_schedule(optimizer, schedule, warmup, total), []
    for _ in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        follow.step()
    return rates
