"""Finds classes by short name or path, and the arguments of their constructors."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any

import jsonargparse
import lightning.pytorch.callbacks
import lightning.pytorch.loggers
import lightning.pytorch.profilers
import lightning.pytorch.strategies
from lightning import LightningDataModule, LightningModule

import datamodules
import experiments.core.callbacks
import lightning_modules
from experiments.core.files.errors import UserError, check_known, nearest
from experiments.core.training.allow_list import SUPPORTED, validate_allowed

KNOWN_CLASSES = {
    "model": [lightning_modules],
    "data": [datamodules],
    "callback": [experiments.core.callbacks, lightning.pytorch.callbacks],
    "logger": [lightning.pytorch.loggers],
    "profiler": [lightning.pytorch.profilers],
    "strategy": [lightning.pytorch.strategies],
}
BASES: dict[str, type] = {
    "model": LightningModule,
    "data": LightningDataModule,
    "callback": lightning.pytorch.callbacks.Callback,
    "logger": lightning.pytorch.loggers.Logger,
    "profiler": lightning.pytorch.profilers.Profiler,
    "strategy": lightning.pytorch.strategies.Strategy,
}


def known_names(kind: str) -> list[str]:
    """Return the short names of the classes of a kind that a config may name, this project's first."""
    packages = KNOWN_CLASSES[kind]
    return [name for package in packages for name in SUPPORTED.get(package.__name__, package.__all__)]


def find_class(kind: str, name: str) -> type:
    """Resolve a short name or a dotted path to a class.

    Raises:
        UserError: the name is unknown, or a config may not name this path.
    """
    if "." not in name:
        for package in KNOWN_CLASSES[kind]:
            if name in package.__all__:
                if package.__name__ in SUPPORTED:
                    validate_allowed(f"{package.__name__}.{name}")
                found: type = getattr(package, name)
                return found
        check_known(kind if kind != "data" else "data set", name, known_names(kind))
    validate_allowed(name)
    module_name, _, class_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        raise UserError(f"class path '{name}' does not exist; {nearest(class_name, known_names(kind))}") from None
    cls = getattr(module, class_name, None)
    if cls is None:
        there = [
            key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, BASES[kind])
        ]
        raise UserError(f"class path '{name}' does not exist; {nearest(class_name, there or known_names(kind))}")
    if not (isinstance(cls, type) and issubclass(cls, BASES[kind])):
        raise UserError(f"class path '{name}' is no {BASES[kind].__name__}; valid: {', '.join(known_names(kind))}")
    return cls


@functools.cache
def defaults_of(cls: type) -> dict[str, Any]:
    """Return the arguments of a constructor with their defaults, including those it passes on through `**kwargs`."""
    parser = jsonargparse.ArgumentParser()
    parser.add_class_arguments(cls, "it", fail_untyped=False)
    found = parser.get_defaults(skip_validation=True).get("it")
    return dict(vars(found)) if found else {}


def parameter_of(cls: type, name: str) -> inspect.Parameter | None:
    """Return the declaration of an argument by the nearest constructor in the class hierarchy."""
    for ancestor in inspect.getmro(cls):
        parameter = inspect.signature(vars(ancestor).get("__init__", object.__init__)).parameters.get(name)
        if parameter is not None:
            return parameter
    return None


def default_of(cls: type, name: str) -> object:
    """Return the default of a constructor's argument, its own or an inherited one."""
    parameter = parameter_of(cls, name)
    if parameter is None:
        raise AttributeError(f"{cls.__name__} has no argument {name}")
    return parameter.default


def description(cls: type) -> str:
    """Return the docstring of a class without its arguments, which the parser's help shows."""
    doc = inspect.getdoc(cls) or ""
    return re.split(r"\n\n(?:Args|Raises|Returns):\n", doc)[0]
