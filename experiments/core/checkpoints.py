"""Going on with a fit that was cut off: what is saved, when, and how it is found whole again.

A checkpoint holds what Lightning saves and, beside it, all numbers that callbacks, epoch means and random generators
have in memory. It is written at most every ten seconds: a shorter fit is begun again, which gives the same.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
import shutil
import sys
import time
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from packaging.version import InvalidVersion, Version
from torch import Tensor

from experiments.core import records
from experiments.core.callbacks.recorder import Recorder
from experiments.core.errors import UserError
from lightning_modules.stack import Stack

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
EVERY_SECONDS = 10.0
# Of a process, and not of a run.
NOT_KEPT = ("_started", "config")
# Where Lightning's callbacks remember checkpoints, which they delete when there is a better one.
PLACES = frozenset({"best_k_models", "best_model_path", "kth_best_model_path", "last_model_path"})


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; those to go on from with a checksum, and the one before is kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside the target, then take its place."""
        target, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        if target.parent.name != records.RESUME:
            with records.replacing(target) as temporary:
                temporary.write_bytes(content.getvalue())
            return
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        with records.replacing(target) as temporary:
            temporary.write_bytes(f"{digest}\n".encode() + content.getvalue())
            if target.is_file():
                # Between these two lines there is no last one, and the previous one is whole.
                target.replace(target.with_name(PREVIOUS))
        _sync(target.parent)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote, or another checkpoint, without running any code in it."""
        if Path(path).parent.name == records.RESUME:
            return read(Path(path))
        content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        # The checkpoints of another fit are not this one's to test or to delete.
        states = content.get("callbacks") or {}
        content["callbacks"] = {name: state for name, state in states.items() if PLACES.isdisjoint(state)}
        return content


def _sync(directory: Path) -> None:
    """Have the names in a directory written, too."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint to go on from.

    Raises:
        ValueError: it is torn, or not what was written.
    """
    digest, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(f"'{path}' is damaged: its content has another checksum than the one it begins with")
    try:
        found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that may come from others; nothing in it is executed.

    Raises:
        UserError: it cannot be read, is damaged, or is no checkpoint of a run.
    """
    content = _load(path) if _is_intact(path) else None
    if not _is_checkpoint(content):
        raise UserError(f"'{path}' is not a checkpoint of a run, or it is damaged")
    assert isinstance(content, dict)
    return content


def _is_intact(path: Path) -> bool:
    """Whether every part of an archive has its checksum, which torch passes over; a compressed one may be a bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())
            return stored and archive.testzip() is None
    # What a file of others makes a parser raise is in no list.
    except Exception:
        return False


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # It says by which protocol a refused pickle was written.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # As above; among them what advises to allow code to be executed.
    except Exception:
        return None


def _is_checkpoint(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    parts = [content.get(name) for name in ("hyper_parameters", "state_dict")]
    if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts):
        return False
    try:
        Version(str(content.get("pytorch-lightning_version")))
    except InvalidVersion:
        return False
    return all(isinstance(value, Tensor) for value in content["state_dict"].values())


def find(directory: Path, key: str) -> Path | None:
    """The checkpoint to go on from in a run's directory: the last that is whole and of the same fit.

    Args:
        directory: of the run, or of the first of a stack.
        key: what was to be trained, as `ResumePoint` has it.
    """
    for path in (directory / records.RESUME / LAST, directory / records.RESUME / PREVIOUS):
        if not path.is_file():
            continue
        try:
            state = read(path)["callbacks"].get(ResumePoint.NAME, {})
        except (ValueError, KeyError) as error:
            print(f"{error}; going on from the one before it, if there is one", file=sys.stderr)
            continue
        if state.get("key") == key:
            return path
    return None


def forget(directory: Path) -> None:
    """Delete the checkpoints to go on from: the run is finished."""
    shutil.rmtree(directory / records.RESUME, ignore_errors=True)


def is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, texts and tensors only."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Tensor)


def snapshot(thing: object) -> dict[str, Any]:
    """What an object remembers in numbers, texts and tensors."""
    # A text is what somebody has asked for, a path above all, and comes from the config.
    kept = {name: value for name, value in vars(thing).items() if name not in NOT_KEPT and not isinstance(value, str)}
    return {name: value for name, value in kept.items() if is_plain(value)}


def restore(thing: object, state: Mapping[str, Any]) -> None:
    """Let an object remember what `snapshot` found; containers that others share stay theirs.

    Only what a snapshot of the object has now is restored, and only by a value of the same type.

    Raises:
        ValueError: the state is of another object.
    """
    own = snapshot(thing)
    for name, value in state.items():
        if name not in own or not _fits(own[name], value):
            raise ValueError(f"'{name}' is nothing that a {type(thing).__name__} remembers")
        held = getattr(thing, name)
        if isinstance(held, dict | set):
            held.clear()
            held.update(value)
        elif isinstance(held, list):
            held[:] = value
        else:
            setattr(thing, name, value)


def _fits(own: Any, value: Any) -> bool:
    numbers = (int, float, type(None))
    return type(own) is type(value) or (isinstance(own, numbers) and isinstance(value, numbers))


class ResumePoint(Checkpoint):
    """Saves the fit, and gives back what it had saved.

    Args:
        recorder: writes the rows of the runs; the checkpoint lies in the directory of the first.
        model: that is fitted, a plain module or a stack.
    """

    NAME = "ResumePoint"

    def __init__(self, recorder: Recorder, model: LightningModule) -> None:
        self.directory = recorder.runs[0].directory
        # What is trained; a checkpoint of anything else is not resumed from.
        self.key = " ".join(run.config_hash for run in recorder.runs)
        self.recorder = recorder
        self.model = model
        self._saving = False
        self._restored: dict[str, Any] = {}
        self._saved_at = time.monotonic()

    def parts(self, trainer: Trainer) -> dict[str, object]:
        """What remembers something besides weights and optimiser, by name."""
        ours = [c for c in trainer.callbacks if hasattr(type(c), "stackable")]  # type: ignore[attr-defined]
        parts: dict[str, object] = {f"{place}/{type(c).__name__}": c for place, c in enumerate(ours)}
        parts |= {f"run/{index}": run for index, run in enumerate(self.recorder.runs)}
        parts["applied"] = self.recorder.applied
        parts |= {f"epoch/{stage}": epoch for stage, epoch in getattr(self.model, "epochs", {}).items()}
        if isinstance(self.model, Stack):
            parts |= {"ends": self.model.ends, "streams": self.model.network.streams}
        return parts

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint."""
        return self.NAME

    def state_dict(self) -> dict[str, Any]:
        """What Lightning does not save; nothing for other checkpoints."""
        if not self._saving:
            return {}
        parts = {name: snapshot(part) for name, part in self.parts(self.model.trainer).items()}
        return {"key": self.key, "parts": parts, "random": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until all callbacks have begun."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give everything back; this callback is the last."""
        self._saved_at = time.monotonic()
        if self._restored:
            for name, part in self.parts(trainer).items():
                restore(part, self._restored["parts"][name])
            for run in self.recorder.runs:
                run.cut()
            torch.set_rng_state(self._restored["random"])
            self._restored = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save in the middle of a long epoch, but not before a validation: Lightning would leave it out then."""
        batch_idx = trainer.fit_loop.epoch_loop.batch_idx
        complete = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # Counted from the beginning of the training where validation is not bound to epochs.
        count = batch_idx if trainer.check_val_every_n_epoch else trainer.fit_loop.total_batch_idx
        every = trainer.val_check_batch or math.inf
        validates = (count + 1) % every == 0
        if complete and not validates and not trainer.is_last_batch and not is_over(trainer):
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save between two epochs; after the last one, Lightning would leave out the end of the training."""
        last = trainer.max_epochs not in (None, -1) and trainer.current_epoch + 1 >= trainer.max_epochs
        if not last and not is_over(trainer):
            self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        if trainer.received_sigterm or time.monotonic() - self._saved_at >= EVERY_SECONDS:
            self._saving = True
            try:
                trainer.save_checkpoint(self.directory / records.RESUME / LAST)
            finally:
                self._saving = False
            self._saved_at = time.monotonic()


def is_over(trainer: Trainer) -> bool:
    """Whether no other step will be made, whatever the epoch."""
    return trainer.should_stop or trainer.global_step == trainer.max_steps
