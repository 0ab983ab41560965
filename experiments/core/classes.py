"""Classes by their short name or path; only this project's, Lightning's and torch's are ever imported."""

from __future__ import annotations

import importlib
import inspect

import lightning.pytorch.callbacks
import lightning.pytorch.loggers
from lightning import LightningDataModule, LightningModule

import datamodules
import experiments.core.callbacks
import lightning_modules
from experiments.core.errors import UserError, check_known, nearest

TRUSTED = (
    "lightning_modules",
    "datamodules",
    "experiments",
    "lightning",
    "torch",
    "torchvision",
    "torchmetrics",
)
KNOWN_CLASSES = {
    "model": [lightning_modules],
    "data": [datamodules],
    "callback": [experiments.core.callbacks, lightning.pytorch.callbacks],
    "logger": [lightning.pytorch.loggers],
}
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
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise UserError(f"class path '{name}' does not exist; {nearest(class_name, known_names(kind))}") from None
    if not (isinstance(cls, type) and issubclass(cls, BASES[kind])):
        raise UserError(f"class path '{name}' is no {BASES[kind].__name__}; valid: {', '.join(known_names(kind))}")
    return cls


def check_trusted(path: str) -> None:
    """Refuse the path of a class from elsewhere: to resolve it, the parser would import its module.

    Raises:
        UserError: it lies outside this project, Lightning and torch.
    """
    if "." in path and path.partition(".")[0] not in TRUSTED:
        raise UserError(f"class path '{path}' lies outside this project, Lightning and torch, and is not imported")


def parameters_of(cls: type) -> set[str]:
    """Names of a constructor's arguments; empty if it takes any (`**kwargs`), which the parser then checks."""
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return set()
    return set(parameters)
