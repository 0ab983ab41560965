"""Going on with a fit that was cut off: what is saved, when, and how it is found whole again.

A checkpoint holds what Lightning saves and, beside it, all numbers that callbacks, epochs and random generators have in
memory. It is written at most every ten seconds: a shorter fit is begun again, which gives the same.

A file may come from others. What is restored is what our own snapshot of the same object has, by name and type, and
never a path; settings of callbacks, optimisers and schedules are those of the config.
"""

from __future__ import annotations

import inspect
import math
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from experiments.core.callbacks.recorder import Recorder
from experiments.core.files import run_directory
from experiments.core.files.checkpoints import LAST, PREVIOUS, read
from lightning_modules.stack import Stack

EVERY_SECONDS = 10.0
# Where the states of the loaders stand among those of the loops.
LOADERS = "state_dict.combined_loader."
# Of a process, and not of a run.
NOT_KEPT = ("_started", "config")


def find_resume(directory: Path, key: str, check: Callable[[Mapping[str, Any]], None] | None = None) -> Path | None:
    """The checkpoint to go on from in a run's directory: the last that is whole and of the same fit.

    Args:
        directory: of the run, or of the first of a stack.
        key: what was to be trained, as `ResumePoint` has it.
        check: raises ValueError where the content is none that this fit can have left.
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
    """Delete the checkpoints to go on from: the run is finished."""
    shutil.rmtree(directory / run_directory.RESUME, ignore_errors=True)


def is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, texts and tensors only."""
    if isinstance(value, Mapping):
        return type(value) is dict and all(is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Tensor)


def snapshot(thing: object) -> dict[str, Any]:
    """What an object remembers in numbers, texts and tensors, without what it was built with."""
    # A text is what somebody has asked for, a path above all; like every argument it comes from the config.
    given = {*NOT_KEPT, *inspect.signature(type(thing)).parameters}
    kept = {name: value for name, value in vars(thing).items() if name not in given and not isinstance(value, str)}
    return {name: value for name, value in kept.items() if is_plain(value)}


def restore(thing: object, state: Mapping[str, Any]) -> None:
    """Let an object remember what `snapshot` found; containers that others share stay theirs.

    Raises:
        ValueError: the state is of another object.
    """
    check_state(thing, state)
    for name, value in state.items():
        held = getattr(thing, name)
        if isinstance(held, dict | set):
            held.clear()
            held.update(value)
        elif isinstance(held, list):
            held[:] = value
        else:
            setattr(thing, name, value)


def check_state(thing: object, state: Mapping[str, Any]) -> None:
    """Refuse what a snapshot of the object does not have now, or has with a value of another type.

    Raises:
        ValueError: the state is of another object.
    """
    own = snapshot(thing)
    for name, value in state.items():
        if name not in own or not _fits(own[name], value):
            raise ValueError(f"'{name}' is nothing that a {type(thing).__name__} remembers")


def _fits(own: Any, value: Any) -> bool:
    numbers = (int, float, type(None))
    return type(own) is type(value) or (isinstance(own, numbers) and isinstance(value, numbers))


def check_loops(own: Mapping[str, Any], found: Mapping[str, Any], bounds: Mapping[str, float]) -> None:
    """Refuse counters of the trainer that no fit of this config can have.

    Args:
        own: state of its loops before a fit.
        found: the same in a checkpoint.
        bounds: the largest number that counters may have whose names begin so.

    Raises:
        ValueError: there are others, or a number is out of range.
    """
    expected = {name for name, _ in _leaves(own)}
    for name, value in _leaves(found):
        largest = next((bound for prefix, bound in bounds.items() if name.startswith(prefix)), math.inf)
        # Loaders that know where they are tell it when a fit has begun.
        known = name in expected or name.startswith(LOADERS)
        if not known or type(value) not in (int, bool) or not 0 <= value <= largest:
            raise ValueError(f"{name} = {value!r} is no counter that a fit of this config can have")


def _leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(state, Mapping | list):
        yield name, state
        return
    for key, value in state.items() if isinstance(state, Mapping) else enumerate(state):
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def check_places(states: Mapping[str, Any], directory: Path) -> None:
    """Refuse states of Lightning's checkpoint callbacks that name a file or a folder outside of the run.

    Raises:
        ValueError: one does.
    """
    for state in states.values():
        # Of all callbacks, only those that write checkpoints remember places.
        if isinstance(state, Mapping) and "dirpath" in state:
            texts = [text for name, value in state.items() if name != "monitor" for text in _texts(value)]
            for text in filter(None, texts):
                if run_directory.leads_out(directory, Path(text).absolute()):
                    raise ValueError(f"'{text}' lies outside of the run's directory")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, tuple | list | set):
        for item in value:
            yield from _texts(item)


def give_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimiser what it knew of each parameter; its settings stay those of the config.

    Raises:
        ValueError: the state is of another optimiser.
    """
    own = optimizer.state_dict()
    known = {index for group in own["param_groups"] for index in group["params"]}
    if not (set(state["state"]) <= known and is_plain(state["state"])):
        raise ValueError(f"the state of the optimizer is none of {type(optimizer).__name__}")
    optimizer.load_state_dict({"state": state["state"], "param_groups": own["param_groups"]})


def give_schedule(scheduler: LRScheduler, state: Mapping[str, Any], rates: list[float], steps: int) -> None:
    """Lead a schedule to where it was: by the steps it had made, so that every rate is one of the config.

    Args:
        scheduler: as the config builds it.
        state: of it, in a checkpoint.
        rates: of the groups of its optimiser, in the same checkpoint.
        steps: of the fit up to there.

    Raises:
        ValueError: it cannot have been there.
    """
    made = state["last_epoch"]
    if type(made) is not int or not 0 <= made <= steps:
        raise ValueError(f"the schedule has made {made!r} steps, and the fit {steps}")
    if isinstance(scheduler, ReduceLROnPlateau):
        restore(scheduler, {name: state[name] for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")})
        for group, wanted in zip(scheduler.optimizer.param_groups, rates, strict=True):
            while group["lr"] > max(wanted, sys.float_info.min):
                group["lr"] *= scheduler.factor
            if group["lr"] != wanted:
                raise ValueError(f"the schedule never has the learning rate {wanted!r}")
        return
    with warnings.catch_warnings():
        # No optimiser has stepped in this process.
        warnings.simplefilter("ignore")
        for _ in range(made):
            scheduler.step()


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
        self._optimizers: list[dict[str, Any]] = []
        self._schedules: list[dict[str, Any]] = []
        self._saved_at = time.monotonic()

    def parts(self, trainer: Trainer) -> dict[str, object]:
        """What remembers something besides weights and optimiser, by name."""
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
        """Name of its state in a checkpoint."""
        return self.NAME

    def state_dict(self) -> dict[str, Any]:
        """What Lightning does not save; nothing for other checkpoints."""
        if not self._saving:
            return {}
        parts = {name: snapshot(part) for name, part in self.parts(self.model.trainer).items()}
        return {"key": self.key, "parts": parts, "random": torch.get_rng_state()}

    def find(self, trainer: Trainer, data: LightningDataModule | None) -> Path | None:
        """The checkpoint that this fit can go on from; a line on the terminal says why another cannot be used."""

        def check(content: Mapping[str, Any]) -> None:
            own = content["callbacks"][self.NAME]
            parts = self.parts(trainer)
            if own["parts"].keys() != parts.keys():
                raise ValueError("the checkpoint to go on from is of other callbacks")
            for name, part in parts.items():
                check_state(part, own["parts"][name])
            random, now = own["random"], torch.get_rng_state()
            if (random.shape, random.dtype) != (now.shape, now.dtype):
                raise ValueError("the checkpoint to go on from has no state of a random generator")
            states = {name: value for name, value in content["callbacks"].items() if name != self.NAME}
            if not states.keys() <= {callback.state_key for callback in trainer.callbacks}:  # type: ignore[attr-defined]
                raise ValueError("the checkpoint to go on from is of other callbacks")
            check_places(states, self.directory)
            if content["pytorch-lightning_version"] != lightning.__version__:
                raise ValueError("the checkpoint to go on from was written by another version of Lightning")
            shapes = {name: value.shape for name, value in self.model.state_dict().items()}
            if {name: value.shape for name, value in content["state_dict"].items()} != shapes:
                raise ValueError("the checkpoint to go on from is of another network")
            check_loops(trainer.fit_loop.state_dict(), content["loops"]["fit_loop"], _bounds(trainer, data))

        return find_resume(self.directory, self.key, check)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take optimisers and schedules, which the trainer would give all that the file says, out of any checkpoint."""
        self._optimizers, checkpoint["optimizer_states"] = checkpoint["optimizer_states"], []
        self._schedules, checkpoint["lr_schedulers"] = checkpoint["lr_schedulers"], []

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until all callbacks have begun."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give everything back; this callback is the last."""
        self._saved_at = time.monotonic()
        if self._optimizers:
            self._give_optimization(trainer)
        if self._restored:
            for name, part in self.parts(trainer).items():
                restore(part, self._restored["parts"][name])
            for run in self.recorder.runs:
                run.cut()
            torch.set_rng_state(self._restored["random"])
            self._restored = {}

    def _give_optimization(self, trainer: Trainer) -> None:
        for optimizer, state in zip(trainer.optimizers, self._optimizers, strict=True):
            give_optimizer(optimizer, state)
        rates = [group["lr"] for state in self._optimizers for group in state["param_groups"]]
        steps = max(trainer.global_step, trainer.current_epoch)
        for config, state in zip(trainer.lr_scheduler_configs, self._schedules, strict=True):
            give_schedule(config.scheduler, state, rates, steps)
        self._optimizers, self._schedules = [], []

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
                trainer.save_checkpoint(self.directory / run_directory.RESUME / LAST)
            finally:
                self._saving = False
            self._saved_at = time.monotonic()


def _bounds(trainer: Trainer, data: LightningDataModule | None) -> dict[str, float]:
    """The largest counters that a fit of this trainer can have."""
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
    """Whether no other step will be made, whatever the epoch."""
    return trainer.should_stop or trainer.global_step == trainer.max_steps
