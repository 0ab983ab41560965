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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from experiments.core import records
from experiments.core.callbacks import Divergence, GradientClipping
from experiments.core.callbacks.instrument import Instrument, callbacks_of
from experiments.core.callbacks.recorder import Recorder
from experiments.core.foreign import refuse_places
from lightning_modules.base import LectureModule

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
EVERY_SECONDS = 10.0
# Callbacks whose numbers belong to the run.
REMEMBERING = (Recorder, Instrument, GradientClipping, Divergence, EarlyStopping, ModelCheckpoint)
# Of a process, and not of a run.
NOT_KEPT = ("_started",)


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
        return super().load_checkpoint(path, map_location, weights_only=True)


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
    # The checksum tells of accidents: whoever changes the content can compute it.
    states = found.get("callbacks", {})
    parts = states.get(ResumePoint.NAME, {}).get("parts", {})
    refuse_places([state for name, state in (states | parts).items() if "ModelCheckpoint" in name], path)
    return found


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
    return {name: value for name, value in vars(thing).items() if name not in NOT_KEPT and is_plain(value)}


def give_back(thing: object, state: Mapping[str, Any]) -> None:
    """Let an object remember what `snapshot` found; containers that others share stay theirs."""
    for name, value in state.items():
        own = getattr(thing, name)
        if isinstance(own, dict | set) and type(own) is type(value):
            own.clear()
            own.update(value)
        elif isinstance(own, list) and isinstance(value, list):
            own[:] = value
        else:
            setattr(thing, name, value)


class ResumePoint(Checkpoint):
    """Saves the fit, and gives back what it had saved.

    Args:
        directory: of the run, or of the first of a stack.
        key: what is trained; a checkpoint of anything else is not gone on from.
        parts: gives the objects that remember something, by name.
        recorders: write the rows of the runs.
    """

    NAME = "ResumePoint"

    def __init__(
        self,
        directory: Path,
        key: str,
        parts: Callable[[], Mapping[str, object]],
        recorders: Iterable[Recorder],
    ) -> None:
        self.path = directory / records.RESUME / LAST
        self.key = key
        self.parts = parts
        self.recorders = tuple(recorders)
        self._saving = False
        self._restored: dict[str, Any] = {}
        self._saved_at = time.monotonic()

    @property
    def state_key(self) -> str:
        """Name of its state in a checkpoint."""
        return self.NAME

    def state_dict(self) -> dict[str, Any]:
        """What Lightning does not save; nothing for other checkpoints."""
        if not self._saving:
            return {}
        parts = {name: snapshot(part) for name, part in self.parts().items()}
        return {"key": self.key, "parts": parts, "random": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until all callbacks have begun."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give everything back; this callback is the last."""
        self._saved_at = time.monotonic()
        parts = self.parts()
        if self._restored:
            for name, part in parts.items():
                give_back(part, self._restored["parts"][name])
            for recorder in self.recorders:
                recorder.go_on()
            torch.set_rng_state(self._restored["random"])
            self._restored = {}
        for part in parts.values():
            if isinstance(part, ModelCheckpoint):
                self._sweep(part)

    def _sweep(self, callback: ModelCheckpoint) -> None:
        """Delete what the fit wrote after the point that it goes on from; otherwise its files would get new names."""
        own = [recorder.run_dir.resolve() for recorder in self.recorders]
        folder = Path(callback.dirpath or "").resolve()
        if not any(folder != run_dir and folder.is_relative_to(run_dir) for run_dir in own):
            return
        known = {callback.best_model_path, callback.last_model_path, *callback.best_k_models}
        for path in folder.glob("*.ckpt"):
            if path not in {Path(name).resolve() for name in known if name}:
                path.unlink()

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
                trainer.save_checkpoint(self.path)
            finally:
                self._saving = False
            self._saved_at = time.monotonic()


def is_over(trainer: Trainer) -> bool:
    """Whether no other step will be made, whatever the epoch."""
    return trainer.should_stop or trainer.global_step == trainer.max_steps


def prepare(trainer: Trainer, module: LightningModule) -> Path | None:
    """Have the fit of one run saved, and find where it is to go on from, if an earlier one was cut off."""
    recorders = callbacks_of(trainer, Recorder)
    if not recorders:  # fast_dev_run leaves no files
        return None
    (recorder,) = recorders
    own = [c for c in trainer.callbacks if isinstance(c, REMEMBERING)]  # type: ignore[attr-defined]

    def parts() -> dict[str, object]:
        found: dict[str, object] = {f"{place}/{type(c).__name__}": c for place, c in enumerate(own)}
        found["applied"] = recorder.applied
        means = module.means if isinstance(module, LectureModule) else {}
        return found | {f"means/{stage}": mean for stage, mean in means.items()}

    trainer.callbacks.append(ResumePoint(recorder.run_dir, recorder.config_hash, parts, [recorder]))  # type: ignore[attr-defined]
    begun = find(recorder.run_dir, recorder.config_hash)
    recorder.resumed = begun is not None
    return begun
