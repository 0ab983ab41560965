"""The truth about a run: the one callback that the CLI always adds, and the only writer of a run's files."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from datamodules.base import InMemoryDataModule
from experiments.core import ledger, records
from experiments.core.applied import Applied
from experiments.core.callbacks.divergence import Divergence
from experiments.core.callbacks.instrument import Instrument, Row, callbacks_of
from experiments.core.dashboards import log_scalars

# What a run is judged by: one of these that is no number makes it a diverged one.
JUDGED = ("train/", "val/", "test/")

# The same text, by libyaml where it is there.
_Dumper: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Recorder(SaveConfigCallback):
    """Writes `config.yaml` at the start of a fit, `metrics.csv` at each epoch's end and, last, `result.json`.

    `metrics.csv` holds every number once: what the module logs per epoch and what the instruments record. `measures`
    in `result.json` are the last value of each, and under `initial/…` the value at step 0. Views (TensorBoard,
    Weights & Biases) get the instruments' numbers from here.

    Args:
        parser: parser that dumps the config.
        config: the fully resolved config of the fit.
        run_dir: directory of the run; it must not hold a run already.
        stored_config: the same config as plain mappings, to be written.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Any, run_dir: Path, stored_config: dict[str, Any]
    ) -> None:
        super().__init__(parser, config, save_to_log_dir=False)
        self.run_dir = run_dir
        self.stored_config = stored_config
        # Seeds trained in one fit, this one among them.
        self.stack = 1
        self.measures: dict[str, float] = {}
        self.applied = Applied()
        # Whether the run goes on from a checkpoint, and how many bytes of its rows were there when that was written.
        self.resumed = False
        self.written = 0
        self._started = time.perf_counter()
        self._sealed = False
        # What the last validation of this epoch gave: the trainer forgets it when a fit is cut off.
        self._validation: dict[str, float] = {}
        self._sound = True

    @property
    def config_hash(self) -> str:
        """Fingerprint of what decides the run's result."""
        return records.config_hash(self.stored_config)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write `config.yaml` before the first step of a fit; other stages leave no files."""
        if stage == "fit" and not self.already_saved:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the config so that `fit --config` on it repeats this run; rows of an unfinished one give way."""
        if not self.resumed:
            (self.run_dir / records.METRICS).unlink(missing_ok=True)
        _write_yaml(self.run_dir / records.CONFIG, self.stored_config)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                # What it would write itself; trying each value first, as it does, takes as long as many steps.
                _write_yaml(Path(logger.log_dir) / logger.NAME_HPARAMS_FILE, hyperparameters(trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what is applied."""
        self.applied.start(trainer, pl_module)

    def go_on(self) -> None:
        """Forget the rows that were written after the checkpoint that the run goes on from."""
        path = self.run_dir / records.METRICS
        if not self.written:
            path.unlink(missing_ok=True)
        elif path.is_file():
            os.truncate(path, self.written)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what it gave; a check before the training counts for no epoch."""
        found = {} if trainer.sanity_checking else trainer.callback_metrics
        self._validation = {name: float(value) for name, value in found.items() if name.startswith("val/")}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rows of the epoch: the module's, which are complete now, and the instruments'."""
        epoch, step = trainer.current_epoch, trainer.global_step
        # Where validation is not done every epoch, Lightning still shows the numbers of the last one.
        shown = {n: float(v) for n, v in trainer.callback_metrics.items() if not n.startswith("val/")}
        metrics, self._validation = {**self._validation, **shown}, {}
        self._write([*(Row(epoch, step, n, v) for n, v in metrics.items()), *self._drain(trainer)])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what the instruments recorded after the last epoch's rows were written; look at what was learnt."""
        self.applied.stop()
        # A gradient that is no number leaves such weights, also where no validation sees them.
        self._sound = all(bool(parameter.isfinite().all()) for parameter in pl_module.parameters())
        self._write(self._drain(trainer))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the test metrics, which are numbers of the run and not of one of its epochs."""
        if not self._sealed:
            self.measures.update({name: float(value) for name, value in trainer.callback_metrics.items()})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave a failed run with its status and error; an interrupted one is to be gone on with."""
        if isinstance(exception, Exception) and self.already_saved:
            # A disk that is full takes no result either; the first error is the one to be told.
            with contextlib.suppress(OSError):
                self._seal("failed", trainer, error=f"{type(exception).__name__}: {exception}")
        if isinstance(exception, SIGTERMException) and self.already_saved:
            self._seal("interrupted", trainer)
        _close_wandb(trainer)

    def finish(self, trainer: Trainer, datamodule: LightningDataModule | None) -> None:
        """Write `result.json`: from now on the run counts as finished."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(hyperparameters(trainer), self.headline())
                logger.save()
        for logger in trainer.loggers:
            logger.finalize("success")
        _close_wandb(trainer)
        step = self.diverged_at(trainer)
        self._seal("ok" if step is None else "diverged", trainer, diverged_at_step=step, data=_describe(datamodule))

    def headline(self) -> dict[str, float]:
        """The measures of outcome, without the instruments': what a table of hyper-parameters shows."""
        return {n: v for n, v in self.measures.items() if n.startswith(JUDGED) and math.isfinite(v)}

    def _drain(self, trainer: Trainer) -> list[Row]:
        rows = [row for instrument in callbacks_of(trainer, Instrument) for row in instrument.drain()]
        by_step: dict[int, dict[str, float]] = {}
        for row in rows:
            by_step.setdefault(row.step, {})[row.name] = row.value
        for step, values in by_step.items():
            log_scalars(trainer.loggers, {n: v for n, v in values.items() if _is_for_dashboards(n)}, step)
        return rows

    def _write(self, rows: list[Row]) -> None:
        if not rows:
            return
        path = self.run_dir / records.METRICS
        records.append_metrics(path, rows)
        self.written = path.stat().st_size
        for row in rows:
            self.measures[row.name] = row.value
            if row.step == 0:
                self.measures.setdefault(f"initial/{row.name}", row.value)

    def diverged_at(self, trainer: Trainer) -> int | None:
        """The step at which the run stopped being a result one can test; None if it is sound."""
        for callback in callbacks_of(trainer, Divergence):
            if callback.diverged_at_step is not None:
                return callback.diverged_at_step
        finite = (math.isfinite(value) for name, value in self.measures.items() if name.startswith(JUDGED))
        return None if self._sound and all(finite) else trainer.global_step

    def _seal(self, status: str, trainer: Trainer, **more: Any) -> None:
        self._sealed = True
        records.write_json(
            self.run_dir / records.RESULT,
            {
                "status": status,
                "config_hash": self.config_hash,
                "seed": self.stored_config["seed_everything"],
                "stack": self.stack,
                "epochs": trainer.current_epoch,
                "steps": trainer.global_step,
                "applied": self.applied.section(),
                **more,
                "measures": dict(sorted(self.measures.items())),
                # A seed's share of the time of its stack.
                "wall_seconds": round((time.perf_counter() - self._started) / self.stack, 3),
                "environment": ledger.environment(str(trainer.strategy.root_device)),
            },
        )


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    records.write_atomically(path, "".join(_yaml(json.dumps({key: value})) for key, value in content.items()))


@functools.lru_cache(maxsize=256)
def _yaml(mapping: str) -> str:
    """Turn a mapping from JSON into YAML: in milliseconds, and the runs of a condition differ in the seed alone."""
    text: str = yaml.dump(json.loads(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _is_for_dashboards(name: str) -> bool:
    """Whether a number means something as a curve of its own: not a bin of a histogram, nor one weight of many."""
    return "/histogram/" not in name and not name.startswith("parameter/")


def _close_wandb(trainer: Trainer) -> None:
    """End the run of Weights & Biases: the next run of this process would go on writing into it."""
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        import wandb

        wandb.finish()


def hyperparameters(trainer: Trainer) -> dict[str, Any]:
    """Those of the network and of its data, as Lightning joins them for a logger."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return {**trainer.lightning_module.hparams_initial, **({} if data is None else data.hparams_initial)}


def _describe(datamodule: LightningDataModule | None) -> dict[str, Any]:
    """What the statistics need to know about the data: content, sizes, whether seeds share test samples."""
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
