"""The state of a fit: taken from objects, validated, and restored.

A checkpoint may come from somebody else. Only what a snapshot of the same object holds is restored, by name and type,
never a path; settings of callbacks, optimisers and schedules are those of the config.
"""

from __future__ import annotations

import inspect
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from experiments.core.files import run_directory

# Prefix of the states of the data loaders in the state of the loops.
LOADERS = "state_dict.combined_loader."
# Attributes that belong to the process, not to the run.
NOT_KEPT = ("_started", "config")


def is_plain(value: Any) -> bool:
    """Return whether a value consists of numbers, texts and tensors only."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Tensor)


def snapshot(thing: object) -> dict[str, Any]:
    """Return the attributes of an object that are numbers or tensors, except its constructor arguments."""
    # Texts are left out: they are paths or settings, and come from the config like every argument.
    given = {*NOT_KEPT, *inspect.signature(type(thing)).parameters}
    kept = {name: value for name, value in vars(thing).items() if name not in given and not isinstance(value, str)}
    return {name: value for name, value in kept.items() if is_plain(value)}


def restore(thing: object, state: Mapping[str, Any]) -> None:
    """Restore a snapshot of an object, in place, so that shared containers stay shared.

    Raises:
        ValueError: the state does not fit the object.
    """
    validate_state(thing, state)
    for name, value in state.items():
        held = getattr(thing, name)
        if isinstance(held, dict | set):
            held.clear()
            held.update(value)
        elif isinstance(held, list):
            held[:] = value
        else:
            setattr(thing, name, value)


def validate_state(thing: object, state: Mapping[str, Any]) -> None:
    """Require that a snapshot of the object now has the same names, with values of the same types.

    Raises:
        ValueError: the state does not fit the object.
    """
    own = snapshot(thing)
    for name, value in state.items():
        if name not in own or not _fits(own[name], value):
            raise ValueError(f"'{name}' is nothing that a {type(thing).__name__} remembers")


def _fits(own: Any, value: Any) -> bool:
    numbers = (int, float, type(None))
    return type(own) is type(value) or (isinstance(own, numbers) and isinstance(value, numbers))


def validate_loops(own: Mapping[str, Any], found: Mapping[str, Any], bounds: Mapping[str, float]) -> None:
    """Require counters of the trainer that a fit of this config can reach.

    Args:
        own: state of the loops before the fit.
        found: state of the loops in a checkpoint.
        bounds: the largest value of the counters whose names begin with each prefix.

    Raises:
        ValueError: a counter is unknown or out of range.
    """
    expected = {name for name, _ in _leaves(own)}
    for name, value in _leaves(found):
        largest = next((bound for prefix, bound in bounds.items() if name.startswith(prefix)), math.inf)
        # Stateful loaders add their state only after the fit has started.
        known = name in expected or name.startswith(LOADERS)
        if not known or type(value) not in (int, bool) or not 0 <= value <= largest:
            raise ValueError(f"{name} = {value!r} is no counter that a fit of this config can have")


def _leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(state, Mapping | list):
        yield name, state
        return
    for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def validate_paths(states: Mapping[str, Any], directory: Path) -> None:
    """Require that states of Lightning's checkpoint callbacks name only files and folders of the run.

    Raises:
        ValueError: one lies outside of the run's directory.
    """
    for state in states.values():
        # Only callbacks that write checkpoints store paths.
        if isinstance(state, Mapping) and "dirpath" in state:
            texts = [text for name, value in state.items() if name != "monitor" for text in _texts(value)]
            for text in filter(None, texts):
                if run_directory.leads_out(directory, Path(text).absolute()):
                    raise ValueError(f"'{text}' lies outside of the run's directory")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, tuple | list | set):
        for item in value:
            yield from _texts(item)


def restore_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the state of each parameter of an optimiser; its settings stay those of the config.

    Raises:
        ValueError: the state does not fit the optimiser.
    """
    own = optimizer.state_dict()
    known = {index for group in own["param_groups"] for index in group["params"]}
    if not (set(state["state"]) <= known and is_plain(state["state"])):
        raise ValueError(f"the state of the optimizer is none of {type(optimizer).__name__}")
    optimizer.load_state_dict({"state": state["state"], "param_groups": own["param_groups"]})


def restore_schedule(scheduler: LRScheduler, state: Mapping[str, Any], rates: list[float], steps: int) -> None:
    """Repeat the steps of a schedule, so that every learning rate is one of the config.

    Args:
        scheduler: as the config builds it.
        state: of the schedule, in a checkpoint.
        rates: of the parameter groups of its optimiser, in the same checkpoint.
        steps: of the fit up to the checkpoint.

    Raises:
        ValueError: the schedule cannot have been in this state.
    """
    made = state["last_epoch"]
    if type(made) is not int or not 0 <= made <= steps:
        raise ValueError(f"the schedule has made {made!r} steps, and the fit {steps}")
    if isinstance(scheduler, ReduceLROnPlateau):
        restore(scheduler, {name: state[name] for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")})
        for group, wanted in zip(scheduler.optimizer.param_groups, rates, strict=True):
            while group["lr"] > max(wanted, sys.float_info.min):
                group["lr"] *= scheduler.factor
            if group["lr"] != wanted:
                raise ValueError(f"the schedule never has the learning rate {wanted!r}")
        return
    with warnings.catch_warnings():
        # Torch warns that no optimiser has stepped yet in this process.
        warnings.simplefilter("ignore")
        for _ in range(made):
            scheduler.step()
