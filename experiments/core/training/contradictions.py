"""Validates that a config can do what it asks for: ranges, keys without effect, names of metrics that exist."""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Mapping
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ModelSummary

from datamodules.base import EVALUATION_BATCH_SIZE, InMemoryDataModule
from experiments.core.callbacks import BestWeights, GradientClipping, StackableEarlyStopping
from experiments.core.files.errors import UserError, nearest
from experiments.core.files.yaml import as_list
from experiments.core.training.allow_list import OURS
from experiments.core.training.classes import find_class
from lightning_modules.base import LectureModule
from lightning_modules.metrics import metric_mode
from lightning_modules.optimization import PLATEAU

MINIMUM = {
    "max_epochs": 1,
    "max_steps": 1,
    "min_epochs": 1,
    "min_steps": 1,
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "limit_val_batches": 0,
    "limit_test_batches": 0,
    "log_every_n_steps": 1,
    "num_sanity_val_steps": -1,
}
POSITIVE = ("limit_train_batches", "gradient_clip_val", "val_check_interval")
# Callbacks that monitor a logged metric.
MONITORING = (BestWeights, EarlyStopping, ModelCheckpoint, StackableEarlyStopping)
# Keys that must keep one value, with the reason.
ONE_DEVICE = "data in memory feed one device"
FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "devices": ((1, "1", "auto", [0]), ONE_DEVICE),
    "num_nodes": ((1,), ONE_DEVICE),
    "sync_batchnorm": ((False,), ONE_DEVICE),
    "use_distributed_sampler": ((True,), ONE_DEVICE),
    "model_registry": ((None,), "runs are kept in their directories"),
    "barebones": ((False,), "nothing would be recorded"),
    "enable_autolog_hparams": ((True,), "every run shows its hyper-parameters"),
    "reload_dataloaders_every_n_epochs": ((0,), "the loaders know the order of every epoch"),
}


def validate_trainer(trainer: Mapping[str, Any], *, fits: bool) -> None:
    """Refuse numbers out of range, keys without effect, and a training without an end.

    Args:
        trainer: its arguments, whose names and classes exist.
        fits: whether it is going to train: else how long does not matter.

    Raises:
        UserError: the first mistake found.
    """
    for key, value in trainer.items():
        values, reason = FIXED.get(key, ((value,), ""))
        if value not in values:
            wanted = str(values[0]).lower().replace("none", "null")
            raise UserError(f"trainer.{key} must be {wanted}: {reason}; it is {value}")
        if not isinstance(value, int | float):
            continue
        minimum = MINIMUM.get(key)
        unlimited = key in ("max_steps", "max_epochs") and value == -1
        if minimum is not None and value < minimum and not unlimited:
            raise UserError(f"trainer.{key} must be at least {minimum}; it is {value}")
        if key in POSITIVE and value <= 0:
            raise UserError(f"trainer.{key} must be greater than 0; it is {value}")
    _check_callbacks(trainer)
    if trainer.get("gradient_clip_algorithm") is not None and trainer.get("gradient_clip_val") is None:
        raise UserError("trainer.gradient_clip_algorithm has no effect without trainer.gradient_clip_val")
    if fits and not trainer.get("fast_dev_run"):
        _check_length(trainer)


def _check_callbacks(trainer: Mapping[str, Any]) -> None:
    classes = []
    for part in as_list(trainer.get("callbacks")):
        classes.append(find_class("callback", part if isinstance(part, str) else part["class_path"]))
        arguments = {} if isinstance(part, str) else part.get("init_args") or {}
        monitor = str(arguments.get("monitor"))
        early = issubclass(classes[-1], EarlyStopping) and arguments.get("check_on_train_epoch_end")
        if early and monitor.startswith("val/") and trainer.get("check_val_every_n_epoch", 1) != 1:
            raise UserError(f"{classes[-1].__name__} looks at {monitor} after epochs without a validation")
    if trainer.get("gradient_clip_val") is not None and any(issubclass(cls, GradientClipping) for cls in classes):
        raise UserError("GradientClipping and trainer.gradient_clip_val both clip the gradient: give one of them")
    if trainer.get("enable_model_summary") is False and any(issubclass(cls, ModelSummary) for cls in classes):
        raise UserError("trainer.enable_model_summary is false, and trainer.callbacks holds a ModelSummary")
    for cls in classes:
        # Two of a class would clip twice, or write every number twice.
        if classes.count(cls) > 1 and cls.__module__.startswith(OURS):
            raise UserError(f"trainer.callbacks holds {cls.__name__} twice: give it once, with the arguments you mean")


def _check_length(trainer: Mapping[str, Any]) -> None:
    numbers = {key: value for key, value in trainer.items() if type(value) is int and value > 0}
    if all(trainer.get(key) in (None, -1) for key in ("max_epochs", "max_steps", "max_time")):
        raise UserError("the training has no end: give trainer.max_epochs or trainer.max_steps")
    for unit in ("epochs", "steps"):
        least, most = numbers.get(f"min_{unit}", 0), numbers.get(f"max_{unit}")
        if most is not None and least > most:
            raise UserError(f"trainer.min_{unit} must be at most trainer.max_{unit}, {most}; it is {least}")
    every, epochs = numbers.get("check_val_every_n_epoch", 1), numbers.get("max_epochs")
    if epochs is not None and every > epochs and trainer.get("limit_val_batches") != 0:
        remedy = "trainer.limit_val_batches=0 does without validation"
        raise UserError(
            f"trainer.check_val_every_n_epoch must be at most {epochs}, the epochs; it is {every}; {remedy}"
        )


def validate_built(trainer: Trainer, module: LectureModule, data: InMemoryDataModule, precision: Any) -> None:
    """Validate precision, limits of batches and monitored metrics against the built trainer, module and data.

    Args:
        trainer: not yet fitted.
        module: not yet fitted.
        data: set up.
        precision: as it was asked for.

    Raises:
        UserError: the first mistake found.
    """
    if str(precision).startswith("16") and not str(trainer.precision).startswith("16"):
        raise UserError(
            f"trainer.precision {precision} is not available on this device, which would use {trainer.precision}"
        )
    batches, together = batches_per_epoch(trainer, data), trainer.accumulate_grad_batches
    _check_limit("train", trainer.limit_train_batches, data.num_batches)
    _check_limit("test", trainer.limit_test_batches, -(-data.num_test // EVALUATION_BATCH_SIZE))
    if together > batches:
        raise UserError(
            f"trainer.accumulate_grad_batches must be at most {batches}, the batches of an epoch; it is {together}"
        )
    watching = [callback for callback in trainer.callbacks if isinstance(callback, MONITORING)]  # type: ignore[attr-defined]
    _check_modes(watching, module)
    if not is_validated(trainer, data):
        _check_validated(watching, module)
    # A module of another project may log any name.
    if all(type(part).__module__.partition(".")[0] in (*OURS, "lightning") for part in (module, *trainer.callbacks)):  # type: ignore[attr-defined]
        _check_monitored(watching, logged_names(module))


def _check_limit(stage: str, limit: float, batches: int) -> None:
    if isinstance(limit, float) and limit > 0 and int(limit * batches) == 0:
        raise UserError(f"trainer.limit_{stage}_batches {limit} leaves none of the {batches} batches")


def _check_modes(watching: Iterable[Any], module: LectureModule) -> None:
    metrics = {
        name: metric for stage in ("train", "val") for name, metric in module.metrics_of(stage).items(copy_state=False)
    }
    for callback in watching:
        mode = metric_mode(metrics[callback.monitor]) if callback.monitor in metrics else None
        if mode not in (None, callback.mode):
            kind = type(callback).__name__
            raise UserError(f"{kind}: mode must be {mode} for '{callback.monitor}'; it is {callback.mode}")


def _check_validated(watching: Iterable[Any], module: LectureModule) -> None:
    names = [
        f"{type(callback).__name__} monitors {callback.monitor}"
        for callback in watching
        # The default checkpoint: a run without validation simply keeps no best weights.
        if str(callback.monitor).startswith("val/")
        and not (isinstance(callback, BestWeights) and callback.monitor == "val/loss")
    ]
    names += ["the schedule plateau follows val/loss"] if module.schedule == PLATEAU else []
    for name in names:
        raise UserError(f"{name}, and this training ends without a validation")


def is_validated(trainer: Trainer, data: InMemoryDataModule) -> bool:
    """Return whether the training reaches a validation; with a time interval it may."""
    if trainer.limit_val_batches == 0:
        return False
    # With a time interval, the trainer does not have this attribute.
    batches, interval = batches_per_epoch(trainer, data), getattr(trainer, "val_check_interval", None)
    if isinstance(interval, float):
        interval = max(1, int(batches * interval))
    if not isinstance(interval, int):
        return True
    every = trainer.check_val_every_n_epoch
    first = interval if every is None else (every - 1) * batches + min(interval, batches)
    return first <= number_of_steps(trainer, data) * trainer.accumulate_grad_batches


def number_of_steps(trainer: Trainer, data: Any) -> float:
    """Return the optimiser steps of the training; infinite if they are not limited or not known."""
    if not isinstance(data, InMemoryDataModule):
        return math.inf
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
    return min(epochs * -(-batches_per_epoch(trainer, data) // trainer.accumulate_grad_batches), steps)


def batches_per_epoch(trainer: Trainer, data: InMemoryDataModule) -> int:
    """Return the training batches of an epoch, within the limits of the trainer."""
    limit = trainer.limit_train_batches
    return int(data.num_batches * limit) if isinstance(limit, float) else min(data.num_batches, limit)


def logged_names(module: LectureModule) -> set[str]:
    """Return the names of the metrics that the training logs."""
    return {"lr", *map(str, module.metrics_of("train").keys()), *map(str, module.metrics_of("val").keys())}


def _check_monitored(watching: Iterable[Any], names: set[str]) -> None:
    for callback in watching:
        kind, monitor = type(callback).__name__, callback.monitor
        if monitor is not None and monitor not in {*names, "epoch", "step"}:
            raise UserError(f"{kind} monitors '{monitor}', which is not logged; {nearest(monitor, names)}")
        if isinstance(callback, BestWeights) and not (monitor or "val/").startswith("val/"):
            raise UserError(f"{kind} compares what a validation has logged; '{monitor}' is logged later")
        if isinstance(callback, ModelCheckpoint):
            for name in _fields(callback.filename or ""):
                if name not in {*names, "epoch", "step"}:
                    raise UserError(f"{kind}: filename '{callback.filename}' has no '{name}'; {nearest(name, names)}")


def _fields(filename: str) -> Iterable[str]:
    try:
        return [name for _, name, *_ in string.Formatter().parse(filename) if name]
    except ValueError as error:
        raise UserError(f"ModelCheckpoint: filename '{filename}' is no pattern: {error}") from None
