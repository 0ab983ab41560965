"""What a config asks for and does not get: mistakes that show only once network, data and trainer are built."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from datamodules.base import InMemoryDataModule
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.errors import UserError, nearest
from experiments.core.trust import TRUSTED
from lightning_modules.base import LectureModule

# Of the validation sample: enough to see what is logged.
TRIAL = 64
# Logged where there is a penalty, by a perceptron, and always.
MORE_NAMES = ("train/penalty", "train/updates", "lr")


def check_built(trainer: Trainer, module: LectureModule, data: InMemoryDataModule, precision: Any) -> None:
    """Refuse what would be replaced, cut short or looked for in vain.

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
            f"trainer.precision {precision} is not to be had on this device; it would be {trainer.precision}"
        )
    batches, together = batches_per_epoch(trainer, data), trainer.accumulate_grad_batches
    if together > batches:
        raise UserError(
            f"trainer.accumulate_grad_batches must be at most {batches}, the batches of an epoch; it is {together}"
        )
    # Others may log what they like.
    if all(type(part).__module__.partition(".")[0] in TRUSTED for part in (module, *trainer.callbacks)):  # type: ignore[attr-defined]
        _check_monitored(trainer, logged_names(module, data))


def batches_per_epoch(trainer: Trainer, data: InMemoryDataModule) -> int:
    """The training batches of an epoch, as far as the trainer does not leave some out."""
    limit = trainer.limit_train_batches
    return int(data.num_batches * limit) if isinstance(limit, float) else min(data.num_batches, limit)


def logged_names(module: LectureModule, data: InMemoryDataModule) -> set[str]:
    """What a training logs, of which a callback can monitor or name something."""
    found: set[str] = set()
    training, log_dict = module.training, module.log_dict
    module.log_dict = lambda logged, **_: found.update(logged)  # type: ignore[method-assign]
    try:
        module.eval()
        with torch.no_grad():
            module.validation_step([part[:TRIAL] for part in next(iter(data.val_dataloader()))], 0)
        module.on_validation_epoch_end()
    finally:
        module.log_dict = log_dict  # type: ignore[method-assign]
        module.train(training)
    return {*MORE_NAMES, *found, *(f"train/{name.removeprefix('val/')}" for name in found)}


def _check_monitored(trainer: Trainer, names: set[str]) -> None:
    found: list[ModelCheckpoint | EarlyStopping] = [
        *callbacks_of(trainer, ModelCheckpoint),
        *callbacks_of(trainer, EarlyStopping),
    ]
    for callback in found:
        kind, monitor = type(callback).__name__, callback.monitor
        if monitor is not None and monitor not in {*names, "epoch", "step"}:
            raise UserError(f"{kind} monitors '{monitor}', which is not logged; {nearest(monitor, names)}")
        if isinstance(callback, ModelCheckpoint):
            for name in _fields(callback.filename or ""):
                if name not in {*names, "epoch", "step"}:
                    raise UserError(f"{kind}: filename '{callback.filename}' has no '{name}'; {nearest(name, names)}")


def _fields(filename: str) -> Iterable[str]:
    try:
        return [name for _, name, *_ in string.Formatter().parse(filename) if name]
    except ValueError as error:
        raise UserError(f"ModelCheckpoint: filename '{filename}' is no pattern: {error}") from None
