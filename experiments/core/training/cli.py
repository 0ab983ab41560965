"""The Lightning CLI of this project: a student and the grid train through it."""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI, instantiate_class
from lightning.pytorch.loggers import Logger

from datamodules.base import InMemoryDataModule
from datamodules.stack import StackedData
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.recorder import Recorder, RunRecord
from experiments.core.files import run_directory
from experiments.core.files.checkpoints import CheckpointFiles, read_checkpoint
from experiments.core.files.errors import UserError, ends_run, say
from experiments.core.training.classes import description, find_class
from experiments.core.training.command_line import Command, read_command
from experiments.core.training.config import with_defaults
from experiments.core.training.contradictions import number_of_steps, validate_built
from experiments.core.training.outcome import differences
from experiments.core.training.parsing import ParsedConfig, as_user_error, silence_lightning
from experiments.core.training.stacking import (
    fit,
    has_stepped,
    shares_inputs,
    stack_of,
    test_and_write_results,
    validate_stackable_fit,
)
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError, Stack

RUNS = Path("runs")


class LectureCLI(ParsedConfig):
    """A Lightning CLI with one directory a run, which ends with a `result.json`.

    Args:
        config: see `ParsedConfig`; `trainer.default_root_dir` is the directory of the run.
        subcommand: fit, validate, test or predict.
        checkpoint: to start from, or to evaluate.
        parsed: see `ParsedConfig`.

    Raises:
        UserError: the command cannot be carried out; nothing was written.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        subcommand: str = "fit",
        checkpoint: Path | None = None,
        *,
        parsed: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        super().__init__(config, subcommand, parsed=parsed)

    def before_instantiate_classes(self) -> None:
        """Set the directories of loggers and callbacks to the run's directory."""
        trainer = self.config.trainer
        self.run_dir = Path(trainer.default_root_dir or ".")
        self.save_config_kwargs = {"run_dir": self.run_dir, "stored_config": self.resolved}
        if self.stage != "fit":
            trainer.logger = False
            return
        if (run_directory.read_result(self.run_dir) or {"status": "interrupted"})["status"] != "interrupted":
            raise UserError(f"'{self.run_dir}' already holds a run; delete it or choose another directory")
        self.unplaced = self.config.clone()
        _place(trainer, self.run_dir)

    def instantiate_classes(self) -> None:
        """Build all objects and load the data; this finds mistakes before anything is written."""
        with as_user_error():
            LightningCLI.instantiate_classes(self)
            if self.datamodule is not None:
                self.datamodule.prepare_data()
                self.datamodule.setup(self.stage)
            if isinstance(self.model, LectureModule):
                self.model.set_sizes(self.datamodule)
            if isinstance(self.model, LectureModule) and isinstance(self.datamodule, InMemoryDataModule):
                self.model.validate_batch(self.datamodule.smallest_batch())
                validate_built(self.trainer, self.model, self.datamodule, self.config.trainer.precision)
        if self.checkpoint is not None:
            steps = number_of_steps(self.trainer, self.datamodule) if self.stage == "fit" else None
            _check_checkpoint(self.checkpoint, self.model, steps)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give the trainer its numbers in their original types, and the plugin that writes checkpoints atomically."""
        plugins = self.config_init.trainer.plugins or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), CheckpointFiles()]
        try:
            return super().instantiate_trainer(**self.numbers, plugins=plugins, **kwargs)
        except RuntimeError as error:  # of two callbacks of one state, in words
            raise UserError(" ".join(str(error).split())) from error

    def fit(self) -> None:
        """Train. An error before the first step, or about a monitored metric, is a mistake in the config."""
        try:
            fit(self.trainer, self.model, self.datamodule, self.checkpoint)
            self.after_fit()
        except (UserError, ValueError, ImportError, MisconfigurationException) as error:
            before = not has_stepped(self.trainer)
            if not before and not isinstance(error, MisconfigurationException):
                raise
            if before and self.run_dir.is_dir():
                run_directory.empty(self.run_dir)
            raise UserError(" ".join(str(error).split())) from error

    def after_fit(self) -> None:
        """Test the best weights and write the result."""
        for recorder in callbacks_of(self.trainer, Recorder):  # fast_dev_run leaves no files
            test_and_write_results(self.trainer, self.model, self.datamodule)
            for line in differences(self.trainer, self.model, self.datamodule):
                print(line, file=sys.stderr)
            step = recorder.diverged_at(self.trainer)
            if step is not None:
                print(f"diverged: the loss is not finite from step {step} on", file=sys.stderr)
            say(self.run_dir)

    def validate(self) -> None:
        """Evaluate the checkpoint on the validation split."""
        self.trainer.validate(self.model, self.datamodule, ckpt_path=self.checkpoint, weights_only=True)

    def test(self) -> None:
        """Evaluate the checkpoint on the test split."""
        self.trainer.test(self.model, self.datamodule, ckpt_path=self.checkpoint, weights_only=True)

    def predict(self) -> None:
        """Write the class and the outputs of each test sample to `predictions.csv` in the run's directory."""
        batches: Any = self.trainer.predict(self.model, self.datamodule, ckpt_path=self.checkpoint, weights_only=True)
        outputs = torch.cat(batches)
        path = self.run_dir / "predictions.csv"
        with run_directory.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["sample", "predicted", *(f"output_{k}" for k in range(outputs.shape[1]))])
            writer.writerows([i, int(row.argmax()), *row.tolist()] for i, row in enumerate(outputs))
        say(path)

    def stack(self, seeds: Sequence[int], directories: Sequence[Path]) -> tuple[Stack, StackedData]:
        """Stack further seeds with the first, for which this CLI was built.

        Raises:
            NotStackableError: the seeds cannot be trained in one fit.
        """
        validate_stackable_fit(self.trainer, self.model, self.datamodule)
        for kind in ("model", "data"):
            # In a stack, dropout is drawn from the module's seed; in a single run, from the run's.
            if (self.resolved[kind].get("init_args") or {}).get("seed") is not None:
                raise NotStackableError(f"{kind}.seed is that of every run")
        reading = {"in_memory": False, "workers": 0} if shares_inputs(self.datamodule, len(seeds)) else {}
        data = [] if reading else [self.datamodule]
        for seed in seeds[len(data) :]:
            part = replace(self.datamodule, seed=seed, **reading)
            # Loggers show the configured values.
            part.save_hyperparameters(dict(self.datamodule.hparams))
            part.prepare_data()
            part.setup("fit")
            data.append(part)
        # Free the samples that the first data module has loaded.
        self.datamodule = data[0]
        modules = [self.model, *(replace(self.model, seed=seed) for seed in seeds[1:])]
        runs = [
            RunRecord(directory, {**self.resolved, "seed_everything": seed})
            for seed, directory in zip(seeds, directories, strict=True)
        ]
        loggers = [self.trainer.loggers, *(self._loggers(directory) for directory in directories[1:])]
        return stack_of(self.trainer, modules, data, runs, loggers)

    def _loggers(self, directory: Path) -> list[Logger]:
        """Build the loggers of one seed."""
        config = self.unplaced.clone()
        _place(config.trainer, directory)
        given = config.trainer.logger
        parts = given if isinstance(given, list) else [given] if given else []
        return [instantiate_class((), part.as_dict()) for part in parts]


def _place(trainer: Namespace, directory: Path) -> None:
    """Set the directories of loggers, callbacks and profiler to the run's directory."""
    run_directory.refuse_links(directory)
    trainer.default_root_dir = str(directory)
    for part in (trainer.logger, trainer.callbacks, trainer.profiler):
        run_directory.place_inside(part, directory)


def run_cli(subcommand: str, args: Sequence[str]) -> None:
    """Run one command of the Lightning CLI.

    Args:
        subcommand: fit, validate, test or predict.
        args: the command line after the subcommand, for example `["--config", "experiments/vanishing/base.yaml"]`.

    Raises:
        UserError: the command cannot be carried out; nothing was written.
    """
    silence_lightning()
    command = read_command(args, fits=subcommand == "fit")
    # One thread by default: sums over several threads round differently, and a run must repeat bit for bit.
    torch.set_num_threads(command.threads)
    for kind, name in command.described:
        print(f"{description(find_class(kind, name))}\n")
    if command.help:
        ParsedConfig(command.help, subcommand)  # prints it, and ends the process
    if command.print_config and not command.config:
        ParsedConfig(["--print_config"], subcommand)  # of a config to fill in
    config = with_defaults(command.config)
    if command.print_config:
        print(yaml.safe_dump(ParsedConfig(config, subcommand).resolved, sort_keys=False, allow_unicode=True), end="")
        return
    if subcommand != "fit" and command.checkpoint is None:
        raise UserError(f"{subcommand} needs the weights of a run: give --ckpt_path <run>/checkpoints/best.ckpt")
    with _directory(subcommand, command) as directory:
        trainer = {**config["trainer"], "default_root_dir": directory and str(directory)}
        try:
            cli = LectureCLI({**config, "trainer": trainer}, subcommand, command.checkpoint)
            getattr(cli, subcommand)()
        except SystemExit as end:
            # Lightning turns Ctrl-C into a plain exit.
            if isinstance(end.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _directory(subcommand: str, command: Command) -> Iterator[Path | None]:
    """Create, and so reserve, the directory of a command that writes; remove it at the end if it is empty."""
    if subcommand in ("validate", "test"):
        yield None
        return
    given = (command.config.get("trainer") or {}).get("default_root_dir")
    if not isinstance(given, str | None):
        raise UserError(f"trainer.default_root_dir must be the path of a directory; it is {given!r}")
    stem = re.sub(r"[^\w.,=+-]", "-", command.files[-1].stem) if command.files else subcommand
    seed = command.config["seed_everything"]
    directory = Path(given) if given else RUNS / "cli" / stem / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-seed={seed}"
    run_directory.check_writable(directory)
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    for count in itertools.count(2):
        try:
            directory.mkdir(parents=True, exist_ok=given is not None)
            break
        except FileExistsError:  # of a run that began within the same second
            directory = directory.with_name(f"{directory.name.partition('+')[0]}+{count}")
    try:
        yield directory
    except Exception as error:
        ends_run(error, directory)
        raise
    finally:
        for path in dict.fromkeys([directory, *new]) if new else ():
            with contextlib.suppress(OSError):  # it holds a run, or that of another
                path.rmdir()


def _check_checkpoint(path: Path, model: LightningModule, steps: float | None) -> None:
    """Require a readable checkpoint of the network that the config describes.

    Args:
        path: of the checkpoint.
        model: of the config.
        steps: of the training that starts from it; None for other commands.
    """
    content = read_checkpoint(path)
    stored = content["hyper_parameters"]
    strange = next((name for name in model.hparams if name not in stored), None)
    if strange is not None:
        raise UserError(f"'{path}' is of another network than {type(model).__name__}: it has no '{strange}'")
    if steps is not None and not content.get("optimizer_states"):
        raise UserError(f"'{path}' holds weights only, nothing to go on from; ModelCheckpoint keeps what a fit needs")
    if steps is not None and content.get("global_step") == steps:
        raise UserError(f"'{path}' has made all {steps} steps already: a longer training needs a larger max_epochs")
    for name, value in model.hparams.items():
        if stored.get(name) != value:
            raise UserError(f"'{path}' was trained with {name} {stored.get(name)!r}; the config says {value!r}")
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if {name: tuple(value.shape) for name, value in content["state_dict"].items()} != shapes:
        raise UserError(f"'{path}' holds the weights of another network than the config describes")
