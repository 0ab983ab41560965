"""Writes the files of a run; the CLI always adds this callback."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from datamodules.base import InMemoryDataModule
from experiments.core.callbacks.divergence import Divergence
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.loggers import NetworkLogger, SeedLoggers, by_network, log_networks
from experiments.core.callbacks.optimization_record import OptimizationRecord
from experiments.core.files import environment, run_directory
from lightning_modules.stack import Stack

# A run is diverged if one of these is not finite.
TRAINING = ("train/", "val/")
JUDGED = (*TRAINING, "test/")

# Use libyaml if it is installed; it writes the same text.
_Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


# Epoch, step, name and value of one recorded number. The step counts optimiser steps taken before it: 0 is the state at
# initialisation.
Row = tuple[int, int, str, float]


@dataclass
class RunRecord:
    """One run of a fit: its directory, its config and its measures so far."""

    directory: Path
    # The fully resolved config, as plain mappings.
    config: dict[str, Any]
    measures: dict[str, float] = field(init=False, default_factory=dict)
    # Size of `metrics.csv` in bytes.
    written: int = field(init=False)
    # Numbers of instruments in this epoch, and of its last validation.
    rows: list[Row] = field(init=False, default_factory=list)
    validation: dict[str, float] = field(init=False, default_factory=dict)
    # The learning rate of its last step.
    rate: float | None = field(init=False)
    sound: bool = field(init=False)

    def __post_init__(self) -> None:
        self.written, self.rate, self.sound = 0, None, True

    @property
    def config_hash(self) -> str:
        """Hash of everything that determines the run's result."""
        return run_directory.config_hash(self.config)

    @property
    def headline(self) -> dict[str, float]:
        """The measures that a table of hyper-parameters shows: losses and metrics, without instruments."""
        return {n: v for n, v in self.measures.items() if n.startswith(JUDGED) and math.isfinite(v)}

    @property
    def finite(self) -> bool:
        """Whether weights and outcome are finite."""
        judged = (v for n, v in self.measures.items() if n.startswith(JUDGED) and n.count("/") == 1)
        return self.sound and all(map(math.isfinite, judged))

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows to `metrics.csv`; the last value and the value of step 0 become measures of the run."""
        if not rows:
            return
        path = self.directory / run_directory.METRICS
        run_directory.append_metrics(path, rows)
        self.written = path.stat().st_size
        for _, step, name, value in rows:
            self.measures[name] = value
            if step == 0:
                self.measures.setdefault(f"initial/{name}", value)

    def cut(self) -> None:
        """Remove the rows that were written after the checkpoint from which the run resumes."""
        path = self.directory / run_directory.METRICS
        if self.written <= 0:
            path.unlink(missing_ok=True)
        elif path.is_file():
            os.truncate(path, min(self.written, path.stat().st_size))


class RowLogger(NetworkLogger):
    """Passes logged numbers on to the recorder.

    Args:
        recorder: gets what instruments and other callbacks log. What modules log it reads itself: the trainer hands
            that to its loggers after the checkpoint of the epoch, and resuming would lose it.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    @property
    def save_dir(self) -> str:
        """The run's directory."""
        return str(self.recorder.runs[0].directory)

    def log_networks(self, names: Sequence[str], values: Tensor, *, epoch: int, step: int, final: bool) -> None:
        """Keep the numbers of each run."""
        for index, numbers in enumerate(values.tolist()):
            self.recorder.hear(index, dict(zip(names, numbers, strict=True)), epoch, step, final)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Store numbers logged by a callback; Lightning adds the epoch to those of the module."""
        if "epoch" not in metrics and step is not None:
            self.recorder.hear_callback(metrics, step)


class Recorder(SaveConfigCallback):
    """Writes `config.yaml` at the start of a fit, `metrics.csv` at each epoch's end and, last, `result.json`.

    `metrics.csv` holds every number once: what the module logs per epoch and what callbacks log. `measures` in
    `result.json` are the last value of each, and under `initial/…` the value at step 0. A fit of several seeds leaves
    the files of each in a directory of its own.

    Args:
        parser: parser that dumps the config.
        config: the fully resolved config of the fit.
        run_dir: directory of the run; it must not hold a run already.
        stored_config: the same config as plain mappings, to be written.
    """

    stackable: ClassVar[bool] = True

    def __init__(
        self, parser: LightningArgumentParser, config: Any, run_dir: Path, stored_config: dict[str, Any]
    ) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.runs = [RunRecord(run_dir, stored_config)]
        self.applied = OptimizationRecord()
        # Whether the fit is resumed from a checkpoint.
        self.resumed = False
        # Names logged by callbacks; Lightning mixes their last values with those of the module.
        self.by_callbacks: set[str] = set()
        self._finished_at: Mapping[int, tuple[int, int]] = {}
        self._trainer: Trainer | None = None
        self._started = time.perf_counter()
        self._sealed = False
        # Indices of the runs whose test counts.
        self.tested: set[int] = {0}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Add the row logger; write `config.yaml` before the first step of a fit. Other stages write no files."""
        self._trainer = trainer
        self._finished_at = pl_module.finished_at if isinstance(pl_module, Stack) else {}
        if not any(isinstance(logger, RowLogger) for logger in trainer.loggers):
            trainer.loggers = [*trainer.loggers, RowLogger(self)]
        if stage == "fit" and not self.already_saved:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the config with which `fit --config` repeats this run; delete rows of an unfinished run."""
        for run in self.runs:
            if not self.resumed:
                (run.directory / run_directory.METRICS).unlink(missing_ok=True)
            write_yaml(run.directory / run_directory.CONFIG, run.config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to record what is applied."""
        self.applied.start(trainer, pl_module)

    def takes_part(self, index: int, epoch: int) -> bool:
        """Return whether a run was still trained in an epoch."""
        return index not in self._finished_at or self._finished_at[index][0] > epoch

    def counts(self, index: int, epoch: int, final: bool) -> bool:
        """Return whether a number of a run counts: not after its training ended, except in its test."""
        if self._trainer is not None and self._trainer.state.fn == "test":
            return index in self.tested and not self._sealed
        return final or self.takes_part(index, epoch)

    def hear(self, index: int, numbers: Mapping[str, float], epoch: int, step: int, final: bool) -> None:
        """Store the numbers of an instrument; see `NetworkLogger.log_networks`."""
        if not self.counts(index, epoch, final):
            return
        run = self.runs[index]
        if self._trainer is not None and self._trainer.state.fn == "test":
            run.measures.update(numbers)
            return
        place = self._finished_at.get(index, (epoch, step)) if final else (epoch, step)
        run.rows += [(*place, name, value) for name, value in numbers.items()]

    def hear_callback(self, numbers: Mapping[str, float], step: int) -> None:
        """Store the numbers that a callback has logged about the only run."""
        self.by_callbacks.update(numbers)
        epoch = self._trainer.current_epoch if self._trainer else 0
        self.runs[0].rows += [(epoch, step, name, float(value)) for name, value in numbers.items()]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the validation metrics; the sanity check before the training belongs to no epoch."""
        for run, logged in zip(self.runs, self._logged(trainer, pl_module), strict=True):
            found = {} if trainer.sanity_checking else logged
            run.validation = {name: value for name, value in found.items() if name.startswith("val/")}
        if not trainer.sanity_checking:
            self._show(trainer, pl_module, lambda name: name.startswith("val/"), trainer.global_step - 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rows of the epoch: the module's metrics, which are complete now, and the callbacks' numbers."""
        epoch, step = trainer.current_epoch, trainer.global_step
        for index, (run, logged) in enumerate(zip(self.runs, self._logged(trainer, pl_module), strict=True)):
            # Without a validation in this epoch, Lightning still holds the metrics of the last one.
            shown = {name: value for name, value in logged.items() if not name.startswith("val/")}
            metrics, run.validation = {**run.validation, **shown}, {}
            rows, run.rows = run.rows, []
            if self.takes_part(index, epoch):
                run.rate = self.applied.last
                run.write([*((epoch, step, n, v) for n, v in metrics.items()), *rows])
        self._show(trainer, pl_module, lambda name: not name.startswith(("val/", "test/")), step - 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the numbers measured after the last epoch; check that the weights are finite."""
        self.applied.stop()
        modules = pl_module.plain if isinstance(pl_module, Stack) else [pl_module]
        for run, module in zip(self.runs, modules, strict=True):
            # A gradient that is not finite leaves such weights, even if no validation follows.
            run.sound = all(bool(parameter.isfinite().all()) for parameter in module.parameters())
            rows, run.rows = run.rows, []
            run.write(rows)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the test metrics, which belong to the run and not to an epoch."""
        if self._sealed:
            return
        for index, logged in enumerate(self._logged(trainer, pl_module)):
            new = {name: value for name, value in logged.items() if name != "lr" and not name.startswith(TRAINING)}
            self.hear(index, new, trainer.current_epoch, trainer.global_step, True)
        self._show(trainer, pl_module, lambda name: name.startswith("test/"), trainer.global_step, final=True)

    def _logged(self, trainer: Trainer, pl_module: LightningModule) -> list[dict[str, float]]:
        """Return the metrics that the module of each run has logged last."""
        if isinstance(pl_module, Stack):
            names = list(pl_module.network_metrics)
            columns = [pl_module.network_metrics[name].tolist() for name in names]
            return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in self.runs]
        return [{n: float(v) for n, v in trainer.callback_metrics.items() if n not in self.by_callbacks}]

    def _show(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        chosen: Callable[[str], bool],
        step: int,
        *,
        final: bool = False,
    ) -> None:
        """Send the metrics of a stack to the loggers of its seeds; for a plain module, the trainer does it."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, SeedLoggers)]
        logged = pl_module.network_metrics if isinstance(pl_module, Stack) else {}
        names = [name for name in logged if chosen(name)]
        if not (loggers and names):
            return
        epoch = torch.full((len(self.runs),), float(trainer.current_epoch))
        values = torch.stack([*(logged[name].double().cpu() for name in names), epoch], dim=1)
        log_networks(loggers, [*names, "epoch"], values, epoch=trainer.current_epoch, step=step, final=final)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write status and error of a failed run; an interrupted run can be resumed."""
        if isinstance(exception, Exception) and self.already_saved:
            # A full disk has no room for the result either; report the first error.
            with contextlib.suppress(OSError):
                self._seal("failed", trainer, error=f"{type(exception).__name__}: {exception}")
        if isinstance(exception, SIGTERMException) and self.already_saved:
            self._seal("interrupted", trainer)
        _close_wandb(trainer)

    def diverged_at(self, trainer: Trainer, index: int = 0) -> int | None:
        """Return the step at which a run diverged; None if it did not."""
        for callback in callbacks_of(trainer, Divergence):
            if callback.diverged_at(index) is not None:
                return callback.diverged_at(index)
        return None if self.runs[index].finite else self._place(trainer, index)[1]

    def _place(self, trainer: Trainer, index: int) -> tuple[int, int]:
        """Return epochs and steps of a run."""
        return self._finished_at.get(index, (trainer.current_epoch, trainer.global_step))

    def finish(self, trainer: Trainer, modules: Sequence[LightningModule], data: Sequence[Any]) -> None:
        """Write `result.json` of each run; the run is finished then."""
        for run, module, own, loggers in zip(self.runs, modules, data, by_network(trainer.loggers), strict=True):
            for logger in loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.log_hyperparams(hyperparameters(module, own), run.headline)
                    logger.save()
                logger.finalize("success")
        _close_wandb(trainer)
        self._seal("ok", trainer, data=data)

    def _seal(self, status: str, trainer: Trainer, data: Sequence[Any] = (), **more: Any) -> None:
        self._sealed = True
        # The time of a stack, divided by its seeds.
        seconds = round((time.perf_counter() - self._started) / len(self.runs), 3)
        recorded = environment.describe(str(trainer.strategy.root_device))
        for index, run in enumerate(self.runs):
            (epochs, steps), own = self._place(trainer, index), dict(more)
            if status == "ok":
                own |= {"diverged_at_step": self.diverged_at(trainer, index), "data": _describe(data[index])}
            diverged = own.get("diverged_at_step") is not None
            run_directory.write_json(
                run.directory / run_directory.RESULT,
                {
                    "status": "diverged" if diverged else status,
                    "config_hash": run.config_hash,
                    "seed": run.config["seed_everything"],
                    "settings": run_directory.settings_of(run.config),
                    "stack": len(self.runs),
                    "epochs": epochs,
                    "steps": steps,
                    "applied": self.applied.section(index, run.rate),
                    **own,
                    "measures": dict(sorted(run.measures.items())),
                    "wall_seconds": seconds,
                    "environment": recorded,
                },
            )


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write plain mappings as YAML, atomically."""
    run_directory.write_atomically(path, "".join(_yaml(json.dumps({key: value})) for key, value in content.items()))


@functools.lru_cache(maxsize=256)
def _yaml(mapping: str) -> str:
    """Convert a mapping, given as JSON, to YAML; cached, since the runs of a condition differ only in the seed."""
    text: str = yaml.dump(json.loads(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _close_wandb(trainer: Trainer) -> None:
    """Finish the run of Weights & Biases: the next run of this process would continue it."""
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        import wandb

        wandb.finish()


def hyperparameters(module: LightningModule, data: Any) -> dict[str, Any]:
    """Return the hyper-parameters of a module and of its data, as Lightning logs them."""
    return {**module.hparams_initial, **getattr(data, "hparams_initial", {})}


def _describe(datamodule: Any) -> dict[str, Any]:
    """Return the facts about the data that the statistics need: digest, sizes, whether test samples overlap."""
    if not isinstance(datamodule, InMemoryDataModule):
        return {}
    return {
        "name": type(datamodule).__name__,
        "sha256": datamodule.sha256,
        "train": datamodule.num_train,
        "validation": datamodule.num_val,
        "test": datamodule.num_test,
        "disjoint_test": datamodule.disjoint_test,
    }
