"""Saves a fit while it runs, and resumes it exactly after an interruption.

A resume checkpoint holds what Lightning saves, and the state of callbacks, epoch metrics and random generators. It is
saved at most every ten seconds; a shorter fit starts again, with the same result.
"""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from experiments.core.callbacks.recorder import Recorder
from experiments.core.files import run_directory
from experiments.core.files.checkpoints import LAST, PREVIOUS, read
from experiments.core.training.state import (
    LOADERS,
    restore,
    restore_optimizer,
    restore_schedule,
    snapshot,
    validate_loops,
    validate_paths,
    validate_state,
)
from lightning_modules.stack import Stack

EVERY_SECONDS = 10.0


def find_resume(directory: Path, key: str, check: Callable[[Mapping[str, Any]], None] | None = None) -> Path | None:
    """Find the checkpoint to resume from in a run's directory: the newest valid one of the same fit.

    Args:
        directory: of the run, or of the first run of a stack.
        key: identifies the fit; see `ResumePoint`.
        check: raises ValueError if this fit cannot have written the content.
    """
    for path in (directory / run_directory.RESUME / LAST, directory / run_directory.RESUME / PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read(path)
            if content["callbacks"].get(ResumePoint.NAME, {}).get("key") != key:
                continue
            if check is not None:
                check(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"'{path}' has no {error}" if isinstance(error, KeyError) else str(error)
            print(f"{reason}; going on from the one before it, or from the beginning", file=sys.stderr)
            continue
        return path
    return None


def delete_resume(directory: Path) -> None:
    """Delete the resume checkpoints of a finished run."""
    shutil.rmtree(directory / run_directory.RESUME, ignore_errors=True)


class ResumePoint(Checkpoint):
    """Saves the fit, and restores what it saved.

    Args:
        recorder: of the runs; the checkpoint is in the directory of the first run.
        model: the module or the stack that is fitted.
    """

    NAME = "ResumePoint"

    def __init__(self, recorder: Recorder, model: LightningModule) -> None:
        self.directory = recorder.runs[0].directory
        # A checkpoint of another key is not used.
        self.key = " ".join(run.config_hash for run in recorder.runs)
        self.recorder = recorder
        self.model = model
        self._saving = False
        self._restored: dict[str, Any] = {}
        self._optimizers: list[dict[str, Any]] = []
        self._schedules: list[dict[str, Any]] = []
        self._saved_at = time.monotonic()

    def parts(self, trainer: Trainer) -> dict[str, object]:
        """Return the objects that have a state besides weights and optimiser, by name."""
        ours = [c for c in trainer.callbacks if hasattr(type(c), "stackable")]  # type: ignore[attr-defined]
        parts: dict[str, object] = {f"{place}/{type(c).__name__}": c for place, c in enumerate(ours)}
        parts |= {f"run/{index}": run for index, run in enumerate(self.recorder.runs)}
        parts["applied"] = self.recorder.applied
        parts |= {f"epoch/{stage}": epoch for stage, epoch in getattr(self.model, "stage_outputs", {}).items()}
        if isinstance(self.model, Stack):
            parts |= {"ends": self.model.finished, "streams": self.model.network.random_states}
        return parts

    @property
    def state_key(self) -> str:
        """The name of this callback's state in a checkpoint."""
        return self.NAME

    def state_dict(self) -> dict[str, Any]:
        """Return the state that Lightning does not save; empty for any other checkpoint."""
        if not self._saving:
            return {}
        parts = {name: snapshot(part) for name, part in self.parts(self.model.trainer).items()}
        return {"key": self.key, "parts": parts, "random": torch.get_rng_state()}

    def find(self, trainer: Trainer, data: LightningDataModule | None) -> Path | None:
        """Find the checkpoint that this fit can resume from; print a line for one that cannot be used."""

        def check(content: Mapping[str, Any]) -> None:
            own = content["callbacks"][self.NAME]
            parts = self.parts(trainer)
            if own["parts"].keys() != parts.keys():
                raise ValueError("the checkpoint to go on from is of other callbacks")
            for name, part in parts.items():
                validate_state(part, own["parts"][name])
            random, now = own["random"], torch.get_rng_state()
            if (random.shape, random.dtype) != (now.shape, now.dtype):
                raise ValueError("the checkpoint to go on from has no state of a random generator")
            states = {name: value for name, value in content["callbacks"].items() if name != self.NAME}
            if not states.keys() <= {callback.state_key for callback in trainer.callbacks}:  # type: ignore[attr-defined]
                raise ValueError("the checkpoint to go on from is of other callbacks")
            validate_paths(states, self.directory)
            if content["pytorch-lightning_version"] != lightning.__version__:
                raise ValueError("the checkpoint to go on from was written by another version of Lightning")
            shapes = {name: value.shape for name, value in self.model.state_dict().items()}
            if {name: value.shape for name, value in content["state_dict"].items()} != shapes:
                raise ValueError("the checkpoint to go on from is of another network")
            validate_loops(trainer.fit_loop.state_dict(), content["loops"]["fit_loop"], _bounds(trainer, data))

        return find_resume(self.directory, self.key, check)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take optimisers and schedules out of the checkpoint: the trainer would also restore their settings."""
        self._optimizers, checkpoint["optimizer_states"] = checkpoint["optimizer_states"], []
        self._schedules, checkpoint["lr_schedulers"] = checkpoint["lr_schedulers"], []

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until all callbacks have started."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of all objects; this callback is the last."""
        self._saved_at = time.monotonic()
        if self._optimizers:
            self._restore_optimization(trainer)
        if self._restored:
            for name, part in self.parts(trainer).items():
                restore(part, self._restored["parts"][name])
            for run in self.recorder.runs:
                run.cut()
            torch.set_rng_state(self._restored["random"])
            self._restored = {}

    def _restore_optimization(self, trainer: Trainer) -> None:
        for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=True):
            restore_optimizer(optimizer, state)
        rates = [group["lr"] for state in self._optimizers for group in state["param_groups"]]
        steps = max(trainer.global_step, trainer.current_epoch)
        for config, state in zip(trainer.lr_scheduler_configs, self._schedules, strict=True):
            restore_schedule(config.scheduler, state, rates, steps)
        self._optimizers, self._schedules = [], []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save in the middle of a long epoch, but not just before a validation: Lightning would skip it on resume."""
        batch_idx = trainer.fit_loop.epoch_loop.batch_idx
        complete = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # Without `check_val_every_n_epoch`, Lightning counts batches from the start of the training.
        count = batch_idx if trainer.check_val_every_n_epoch else trainer.fit_loop.total_batch_idx
        every = trainer.val_check_batch or math.inf
        validates = (count + 1) % every == 0
        if complete and not validates and not trainer.is_last_batch and not is_over(trainer):
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after an epoch, except the last: Lightning would skip the end of the training on resume."""
        last = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
        if not last and not is_over(trainer):
            self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        if trainer.received_sigterm or time.monotonic() - self._saved_at >= EVERY_SECONDS:
            self._saving = True
            try:
                trainer.save_checkpoint(self.directory / run_directory.RESUME / LAST)
            finally:
                self._saving = False
            self._saved_at = time.monotonic()


def _bounds(trainer: Trainer, data: LightningDataModule | None) -> dict[str, float]:
    """Return the largest counters that a fit of this trainer can reach."""
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else math.inf
    batches = math.inf if data is None else _length(data.train_dataloader())
    return {
        "epoch_progress": epochs,
        LOADERS: max(epochs, batches),
        "epoch_loop.batch_progress.current": batches,
        "epoch_loop.batch_progress.total": epochs * batches,
        "epoch_loop.automatic_optimization.optim_progress.optimizer.step": (
            epochs * batches if trainer.max_steps == -1 else trainer.max_steps
        ),
        "epoch_loop.state_dict._batches_that_stepped": epochs * batches,
    }


def _length(loader: Any) -> float:
    return len(loader) if hasattr(loader, "__len__") else math.inf


def is_over(trainer: Trainer) -> bool:
    """Return whether the trainer will make no further step."""
    return trainer.should_stop or trainer.global_step == trainer.max_steps
