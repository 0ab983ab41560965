"""Compares what a finished fit did with what its config asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from experiments.core.callbacks import BestWeights
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.training.contradictions import number_of_steps


def differences(trainer: Trainer, module: LightningModule, data: Any) -> Iterator[str]:
    """Yield one line for each request of the config that the fit did not carry out.

    Args:
        trainer: after fit and test.
        module: the module of the config.
        data: the data module of the config.
    """
    asked, late = number_of_steps(trainer, data), [timer for timer in callbacks_of(trainer, Timer) if _is_over(timer)]
    if trainer.global_step < asked and (late or not trainer.should_stop):
        end = "trainer.max_time ended the training" if late else "the training ended"
        yield f"{end} after {trainer.global_step} of {asked} steps"
    for kind, part in (("model", module), ("data", data)):
        for name, value in getattr(part, "hparams_initial", {}).items():
            found = getattr(part, name, value)
            if isinstance(value, int | float) and found != value:
                yield f"{kind}.{name} is {found} now, and the config says {value}: the config does not repeat this run"
    kept: dict[Checkpoint, Any] = {
        **{checkpoint: checkpoint.best_model_path for checkpoint in callbacks_of(trainer, ModelCheckpoint)},
        **{best: best.weights for best in callbacks_of(trainer, BestWeights)},
    }
    for checkpoint, found in kept.items():
        if not found:
            yield f"{type(checkpoint).__name__} kept no best weights, so that they could not be tested"
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger | TensorBoardLogger) and not any(Path(logger.log_dir).glob("*")):
            yield f"{type(logger).__name__} wrote nothing"


def _is_over(timer: Timer) -> bool:
    left = timer.time_remaining()
    return left is not None and left <= 0
