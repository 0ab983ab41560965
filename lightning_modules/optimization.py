"""Optimisers by plain hyper-parameters, and learning-rate schedules as closed forms of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.layers import check_number, choose
from lightning_modules.penalties import penalized


@dataclass(frozen=True)
class Rule:
    """An update rule and the hyper-parameters that it uses besides the learning rate."""

    build: Callable[..., Optimizer]
    uses: tuple[str, ...]
    # Devices with a fused kernel. One step of 784-100×5-10 on one CPU core takes, fused / as a loop over parameters:
    # momentum .6, Adam .3, AdamW .3, Adagrad .3 of the time.
    fused: tuple[str, ...] = ()
    # When none is given: torch's own.
    weight_decay: float = 0.0


# All act on each parameter element by element, so that several seeds can be trained as one stack.
OPTIMIZERS: dict[str, Rule] = {
    "sgd": Rule(SGD, ("momentum", "nesterov", "weight_decay"), fused=("cpu", "cuda")),
    "adam": Rule(Adam, ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda")),
    "adamw": Rule(AdamW, ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda"), weight_decay=0.01),
    "amsgrad": Rule(partial(Adam, amsgrad=True), ("beta1", "beta2", "weight_decay"), fused=("cpu", "cuda")),
    "adamax": Rule(Adamax, ("beta1", "beta2", "weight_decay")),
    "nadam": Rule(NAdam, ("beta1", "beta2", "weight_decay")),
    "radam": Rule(RAdam, ("beta1", "beta2", "weight_decay")),
    "rmsprop": Rule(RMSprop, ("momentum", "weight_decay")),
    "adagrad": Rule(Adagrad, ("weight_decay",), fused=("cpu",)),
    "adadelta": Rule(Adadelta, ("weight_decay",)),
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
    """Check plain hyper-parameters and translate them into the arguments of torch's optimiser.

    Args:
        optimizer: a key of `OPTIMIZERS`.
        lr: learning rate, > 0.
        momentum: in [0, 1).
        nesterov: needs a momentum > 0.
        weight_decay: >= 0.
        beta1: in [0, 1), else .9.
        beta2: in [0, 1), else .999.

    Returns:
        Keyword arguments of the torch class.

    Raises:
        ValueError: unknown optimiser, a value out of range, or a hyper-parameter that this optimiser would ignore.
    """
    rule = choose("optimizer", optimizer, OPTIMIZERS)
    check_number("lr", lr, above=0)
    numbers = {"momentum": momentum, "weight_decay": weight_decay, "beta1": beta1, "beta2": beta2}
    given = {name: value for name, value in {**numbers, "nesterov": nesterov}.items() if value is not None}
    for name in given:
        if name not in rule.uses:
            raise ValueError(f"{optimizer} does not use {name}; it uses {', '.join(('lr', *rule.uses))}")
    for name, value in numbers.items():
        if value is not None:
            check_number(name, value, minimum=0, below=math.inf if name == "weight_decay" else 1)
    if nesterov and not momentum:
        raise ValueError(f"nesterov=True needs a momentum > 0, not {momentum}")
    arguments: dict[str, Any] = {"lr": lr, "weight_decay": rule.weight_decay, **given}
    if "beta1" in rule.uses:
        arguments["betas"] = (arguments.pop("beta1", 0.9), arguments.pop("beta2", 0.999))
    return arguments


def build_optimizer(network: nn.Module, optimizer: str, arguments: dict[str, Any]) -> Optimizer:
    """Build the optimiser of a network's parameters, fused where torch can.

    Weight decay acts on the weights only, as the penalties do; torch's own default would also decay biases and
    the scales of normalisations.

    Args:
        network: its parameters lie on the device they are trained on.
        optimizer: a key of `OPTIMIZERS`.
        arguments: see `optimizer_arguments`.
    """
    rule = OPTIMIZERS[optimizer]
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    fused = {"fused": True} if all(p.device.type in rule.fused for p in parameters) else {}
    if not arguments["weight_decay"]:
        return rule.build(parameters, **arguments, **fused)
    decayed = {id(weight) for weight in penalized(network)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) in decayed]},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return rule.build([group for group in groups if group["params"]], **arguments, **fused)


def _step(step: int, total: int) -> float:
    # One half and three quarters of the way, a factor of ten each: He et al. 2016, section 4.2.
    return 0.1 ** sum(step >= share * total for share in (0.5, 0.75))


def _cosine(step: int, total: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / total))


def _linear(step: int, total: int) -> float:
    return 1 - step / total


def _one_cycle(step: int, total: int) -> float:
    # torch's OneCycleLR with its defaults: from 1/25 of the rate up to the rate in 30 % of the steps, then down to
    # 1/250,000 at the very last step, by half cosines.
    start, end = 1 / 25, 1 / 25e4
    peak, last = 0.3 * total - 1, total - 1
    if step <= peak:
        low, share = start, 1 - step / peak
    else:
        low, share = end, (min(step, last) - peak) / (last - peak)
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * share))


# The factor of the learning rate at a step, from 0 to total - 1. Cosine and linear would reach 0 one step after the
# last, so that no step is spent on a rate of 0.
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda _step, _total: 1.0,
    "step": _step,
    "cosine": _cosine,
    "linear": _linear,
    "one_cycle": _one_cycle,
}


def check_schedule(schedule: str, warmup: float) -> None:
    """Check the plain hyper-parameters of a schedule; see `schedule_factor`.

    Raises:
        ValueError: unknown schedule, a warm-up outside [0, 1), or a warm-up before one_cycle, which has its own.
    """
    choose("schedule", schedule, SCHEDULES)
    check_number("warmup", warmup, minimum=0, below=1)
    if schedule == "one_cycle" and warmup:
        raise ValueError(f"one_cycle warms up by itself, over 30 % of the steps: warmup must be 0, not {warmup}")


def schedule_factor(schedule: str, warmup: float, step: int, total: int) -> float:
    """Give the factor by which a step's learning rate differs from `lr`, the largest of the schedule.

    Args:
        schedule: a key of `SCHEDULES`.
        warmup: share of all steps, in [0, 1), during which the factor grows linearly from 1/n to 1, n = round(warmup
            · total); the schedule then runs over the steps that remain. A share and not a number of steps, so that
            it keeps its meaning when the data, the batch size or the number of epochs change.
        step: optimiser steps already taken, from 0.
        total: optimiser steps of the whole training.

    Returns:
        A number in [0, 1]; beyond the last step, that of the schedule's end.
    """
    ramp = round(warmup * total)
    if step < ramp:
        return (step + 1) / ramp
    rest = max(total - ramp, 1)
    return SCHEDULES[schedule](min(step, total) - ramp, rest)


def build_schedule(optimizer: Optimizer, schedule: str, warmup: float, total: int) -> LambdaLR:
    """Build the schedule of an optimiser, to be stepped after every optimiser step.

    The rates depend on the step alone. Momentum is left as it is; torch's OneCycleLR would cycle it too.

    Args:
        optimizer: its groups' rates are the largest of the schedule.
        schedule: see `schedule_factor`.
        warmup: see `schedule_factor`.
        total: optimiser steps of the whole training, >= 1.

    Raises:
        ValueError: a warm-up of less than one step, which would have no effect.
    """
    if warmup and not round(warmup * total):
        raise ValueError(f"warmup={warmup} has no effect: of {total} steps it is none")
    return LambdaLR(optimizer, lambda step: schedule_factor(schedule, warmup, step, total))
