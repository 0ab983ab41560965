"""What a config says about the training itself: numbers in range, and no two keys that contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.core.callbacks import GradientClipping
from experiments.core.classes import find_class
from experiments.core.command_line import as_list, class_block
from experiments.core.errors import UserError
from experiments.core.trust import OURS

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
# Keys that would do nothing with any other value, and why.
ONE_DEVICE = "data in memory feed one device"
FIXED: dict[str, tuple[tuple[Any, ...], str]] = {
    "devices": ((1, "1", "auto", [0]), ONE_DEVICE),
    "num_nodes": ((1,), ONE_DEVICE),
    "sync_batchnorm": ((False,), ONE_DEVICE),
    "use_distributed_sampler": ((True,), ONE_DEVICE),
    "model_registry": ((None,), "runs are kept in their directories"),
}


def check_training(trainer: Mapping[str, Any], subcommand: str) -> None:
    """Refuse numbers out of range, keys without effect, and a training without an end.

    Args:
        trainer: its arguments, whose names and classes exist.
        subcommand: fit, validate, test or predict.

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
    if subcommand == "fit" and not trainer.get("fast_dev_run"):
        _check_length(trainer)


def _check_callbacks(trainer: Mapping[str, Any]) -> None:
    classes = [
        find_class("callback", class_block("trainer.callbacks", part)["class_path"])
        for part in as_list(trainer.get("callbacks"))
    ]
    if trainer.get("gradient_clip_val") is not None and any(issubclass(cls, GradientClipping) for cls in classes):
        raise UserError("GradientClipping and trainer.gradient_clip_val both clip the gradient: give one of them")
    for cls in classes:
        # Two of one kind would clip twice, or write every number twice.
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
