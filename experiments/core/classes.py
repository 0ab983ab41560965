"""Classes by their short name or path; only this project's, Lightning's and torch's are ever imported."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Mapping
from typing import Any

import lightning.pytorch.callbacks
import lightning.pytorch.loggers
from lightning import LightningDataModule, LightningModule

import datamodules
import experiments.core.callbacks
import lightning_modules
from datamodules.base import InMemoryDataModule
from experiments.core.errors import UserError, check_known, nearest
from experiments.core.trust import check_trusted
from lightning_modules.base import LectureModule

KNOWN_CLASSES = {
    "model": [lightning_modules],
    "data": [datamodules],
    "callback": [experiments.core.callbacks, lightning.pytorch.callbacks],
    "logger": [lightning.pytorch.loggers],
}
# What a module has to know about the data.
SIZES = ("num_features", "sample_shape", "num_classes")
BASES: dict[str, type] = {
    "model": LightningModule,
    "data": LightningDataModule,
    "callback": lightning.pytorch.callbacks.Callback,
    "logger": lightning.pytorch.loggers.Logger,
}


def known_names(kind: str) -> list[str]:
    """The short class names of a kind (model, data, callback, logger), ours first."""
    return [name for package in KNOWN_CLASSES[kind] for name in package.__all__]


def find_class(kind: str, name: str) -> type:
    """Resolve a short name or a dotted path to a class.

    Raises:
        UserError: the name is unknown, or the path lies outside this project, Lightning and torch.
    """
    if "." not in name:
        for package in KNOWN_CLASSES[kind]:
            if name in package.__all__:
                found: type = getattr(package, name)
                return found
        check_known(kind if kind != "data" else "data set", name, known_names(kind))
    check_trusted(name)
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


def module_for(data: InMemoryDataModule, class_path: str, init_args: Mapping[str, Any]) -> LectureModule:
    """Build a module that takes its sizes from the data, as the Lightning CLI links them.

    Args:
        data: set up or not.
        class_path: of the module.
        init_args: its arguments; the data's sizes take precedence.
    """
    build: Any = find_class("model", class_path)
    sizes = {name: getattr(data, name) for name in SIZES if name in _arguments(build)}
    module: LectureModule = build(**{**init_args, **sizes})
    return module


@functools.cache
def _arguments(cls: type) -> set[str]:
    """Names of the constructor's arguments, also of those that its `**kwargs` are handed on to."""
    return {name for base in cls.__mro__ for name in inspect.signature(base.__init__).parameters}  # type: ignore[misc]


def description(cls: type) -> str:
    """What a class says about itself, without its arguments: the parser's help has those, and no more than a line."""
    doc = inspect.getdoc(cls) or ""
    return re.split(r"\n\n(?:Args|Raises|Returns):\n", doc)[0]


def default_of(cls: type, name: str) -> object:
    """Default of a constructor's argument, its own or that of the constructor its `**kwargs` are handed on to."""
    for ancestor in inspect.getmro(cls):
        parameter = inspect.signature(vars(ancestor).get("__init__", object.__init__)).parameters.get(name)
        if parameter is not None:
            return parameter.default
    raise AttributeError(f"{cls.__name__} has no argument {name}")
