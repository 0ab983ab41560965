"""The Lightning CLI of the lecture: the one way to train, for a student and for the grid alike."""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import json
import logging
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from datamodules.base import InMemoryDataModule
from datamodules.files import DISK
from experiments.core import records
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.recorder import Recorder
from experiments.core.checkpoints import CheckpointFiles, forget, prepare
from experiments.core.classes import SIZES, description, find_class
from experiments.core.consistency import check_built
from experiments.core.errors import UserError
from experiments.core.foreign import read_checkpoint
from experiments.core.strict import check_request
from experiments.core.trust import HELP, OPTION, ReadBefore
from lightning_modules.base import LectureModule

RUNS = Path("runs")


class LectureCLI(LightningCLI):
    """The Lightning CLI with linked sizes and seeds, one directory a run, and a result at its end."""

    # The only subcommand whose parser is built: each costs a tenth of a second.
    wanted = "fit"
    # Set by `run_cli`: the stem of the config file, which names the run's directory when nobody gave one.
    stem = "fit"
    checkpoint: Path | None = None
    # What files and options say about the trainer, in their own types.
    asked: Mapping[str, Any] = {}
    run_dir: Path

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """The subcommand that was called, with the arguments that the CLI gives it itself."""
        return {cls.wanted: LightningCLI.subcommands()[cls.wanted]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Take the sizes from the data set and every seed from `seed_everything`."""
        for size in SIZES:
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")
        for section in ("model", "data"):
            parser.link_arguments("seed_everything", f"{section}.init_args.seed")
        parser.add_argument(OPTION, action=ReadBefore, metavar="NAME", help=HELP)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; what the strict pass leaves to the parser (wrong types above all) becomes one line."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except argparse.ArgumentError as error:
            raise UserError(condense(str(error))) from None
        records.keep_number_types(self.chosen.trainer, self.asked)

    @property
    def chosen(self) -> Namespace:
        """The config of the subcommand, or the only one there is."""
        chosen: Namespace = self.config.get(self.wanted, self.config)
        return chosen

    def portable_config(self) -> dict[str, Any]:
        """The resolved config as plain mappings that say nothing of where they are run."""
        plain = json.loads(self.parser.dump(self.config, skip_unset=False, format="json"))
        plain = plain.get(self.wanted, plain)
        plain.pop("config", None)
        records.keep_number_types(plain["trainer"], self.chosen.trainer)
        plain["trainer"]["default_root_dir"] = None
        return plain  # type: ignore[no-any-return]

    def before_instantiate_classes(self) -> None:
        """Choose the run's directory and place what loggers and callbacks write inside it."""
        config = self.chosen
        if self.checkpoint is not None:
            config.ckpt_path, config.weights_only = str(self.checkpoint), True
        self.run_dir = Path(config.trainer.default_root_dir or self._new_directory(config.seed_everything))
        self.save_config_kwargs = {"run_dir": self.run_dir, "stored_config": self.portable_config()}
        if self.wanted != "fit":
            config.trainer.logger = False
            return
        if (records.read_result(self.run_dir) or {"status": "interrupted"})["status"] != "interrupted":
            raise UserError(f"'{self.run_dir}' already holds a run; delete it or choose another directory")
        records.check_writable(self.run_dir)
        config.trainer.default_root_dir = str(self.run_dir)
        if config.trainer.logger is False:
            config.trainer.callbacks = records.without_rate_monitor(config.trainer.callbacks)
        for part in (config.trainer.logger, config.trainer.callbacks, config.trainer.profiler):
            records.place_inside(part, self.run_dir)

    def _new_directory(self, seed: int) -> Path:
        parent, name = RUNS / "cli" / self.stem, f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-seed={seed}"
        # Two runs may begin within one second.
        names = itertools.chain([name], (f"{name}-{count}" for count in itertools.count(2)))
        return next(parent / name for name in names if not (parent / name).exists())

    def instantiate_classes(self) -> None:
        """Build everything and load the data: a mistake shows here, before anything is written."""
        with one_line():
            super().instantiate_classes()
            if self.datamodule is not None:
                self.datamodule.prepare_data()
                self.datamodule.setup(self.wanted)
            if isinstance(self.model, LectureModule) and isinstance(self.datamodule, InMemoryDataModule):
                self.model.check_batch(self.datamodule.smallest_batch())
                check_built(self.trainer, self.model, self.datamodule, self.chosen.trainer.precision)
        if self.checkpoint is not None:
            _check_checkpoint(self.checkpoint, self.model, self.wanted == "fit")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Hand the trainer its numbers in the types they were given in: building may convert them like parsing does."""
        numbers = {key: value for key, value in vars(self.chosen.trainer).items() if type(value) in (int, float)}
        plugins = self.config_init.get(self.wanted, self.config_init).trainer.plugins or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), CheckpointFiles()]
        return super().instantiate_trainer(**numbers, plugins=plugins, **kwargs)

    def train(self, **arguments: Any) -> None:
        """Train, from where an earlier call in the same directory was cut off."""
        begun = prepare(self.trainer, self.model)
        if begun is not None:
            arguments |= {"ckpt_path": str(begun), "weights_only": True}
        self.trainer.fit(**arguments)

    def fit(self, **arguments: Any) -> None:
        """Train; what shows before the first step only, or at the first look at a metric, is a user's mistake too."""
        new = [path for path in (self.run_dir, *self.run_dir.parents) if not path.exists()]
        try:
            self.train(**arguments)
        except (ValueError, MisconfigurationException) as error:
            before = self.trainer.global_step == 0
            if not before and not isinstance(error, MisconfigurationException):
                raise
            if before and new:
                shutil.rmtree(self.run_dir, ignore_errors=True)
                with contextlib.suppress(OSError):  # another run has begun beside it
                    for parent in new[1:]:
                        parent.rmdir()
            raise UserError(" ".join(str(error).split())) from error

    def after_fit(self) -> None:
        """Test the best weights, if some were kept, and seal the run."""
        recorders = callbacks_of(self.trainer, Recorder)
        if not recorders:  # fast_dev_run leaves no files
            return
        best = [c.best_model_path for c in callbacks_of(self.trainer, ModelCheckpoint) if c.best_model_path]
        if best and recorders[0].diverged_at(self.trainer) is None:
            self.trainer.test(self.model, self.datamodule, ckpt_path=best[0], verbose=False, weights_only=True)
        recorders[0].finish(self.trainer, self.datamodule)
        forget(self.run_dir)
        step = recorders[0].diverged_at(self.trainer)
        if step is not None:
            print(f"diverged: the loss is no number from step {step} on", file=sys.stderr)
        print(self.run_dir)

    def predict(self, **arguments: Any) -> None:
        """Predict, and write the class and the outputs of each sample to `predictions.csv` in the run's directory."""
        batches: Any = self.trainer.predict(**arguments)
        outputs = torch.cat(batches)
        path = self.run_dir / "predictions.csv"
        with records.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["sample", "predicted", *(f"output_{k}" for k in range(outputs.shape[1]))])
            writer.writerows([i, int(row.argmax()), *row.tolist()] for i, row in enumerate(outputs))
        print(path)


def run_cli(subcommand: str, args: Sequence[str]) -> None:
    """Run one Lightning CLI command; the only call by which anything in this project is trained.

    Args:
        subcommand: fit, validate, test or predict.
        args: the command line after the subcommand, for example `["--config", "experiments/vanishing/base.yaml"]`.

    Raises:
        UserError: something asked for is wrong; nothing was written.
    """
    quieten()
    # One thread: a sum split over threads rounds otherwise, and a run must repeat bit for bit wherever it is run.
    torch.set_num_threads(1)
    request = check_request(subcommand, args)
    asks_for_help = any(
        word in ("--help", "-h") or word.startswith(("--print_config", "--model.help")) for word in args
    )
    if subcommand != "fit" and request.checkpoint is None and not asks_for_help:
        raise UserError(f"{subcommand} needs the weights of a run: give --ckpt_path <run>/checkpoints/best.ckpt")
    for kind, name in request.described:
        print(f"{description(find_class(kind, name))}\n")
    LectureCLI.wanted = subcommand
    LectureCLI.stem = re.sub(r"[^\w.,=+-]", "-", request.files[-1].stem) if request.files else subcommand
    LectureCLI.checkpoint = request.checkpoint
    LectureCLI.asked = request.config.get("trainer") or {}
    # Told of a checkpoint, Lightning lays the hyper-parameters in it over the config without a word.
    hidden = ["--ckpt_path=null"] if request.checkpoint else []
    raising = {"exit_on_error": False}
    parsers = {"prog": "python -m experiments", **raising, subcommand: dict(raising)}
    try:
        LectureCLI(args=[subcommand, *args, *hidden], parser_kwargs=parsers, **CLI_SETTINGS)
    except SystemExit as end:
        # Lightning answers Ctrl-C with an exit code like any other.
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


CLI_SETTINGS: dict[str, Any] = {
    "model_class": LightningModule,
    "datamodule_class": LightningDataModule,
    "subclass_mode_model": True,
    "subclass_mode_data": True,
    "save_config_callback": Recorder,
    "auto_configure_optimizers": False,
    "load_from_checkpoint_support": False,
    # The strict pass asks for a seed; the default only keeps `--help` from inventing one.
    "seed_everything_default": False,
}


def quieten() -> None:
    """Leave out what Lightning says at every run and nobody acts on; warnings that matter stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # A checkpoint that is evaluated, or continued in a directory of its own, was written elsewhere.
    warnings.filterwarnings("ignore", message="The dirpath has changed")


def condense(message: str) -> str:
    """Reduce a parser's report, tens of lines for one wrong value, to the key, what was expected and what was given."""
    keys = re.findall(r'[Kk]ey "([^"]+)"', message)
    missing = re.search(r"class_path '(?:\w+\.)*(\w+)':\s+the following arguments are required: ([^\n]+)", message)
    if keys and missing:
        return f"{keys[0]}: {missing[1]} needs {missing[2]}"
    # The keys are nested; what is wrong stands behind the innermost.
    inner = message[message.rfind(f'ey "{keys[-1]}"') :] if keys else ""
    expected = [
        word for word in re.findall(r"Expected an? (.+?)(?:\. Got value|\n|$)", inner) if "NoneType" not in word
    ]
    given = re.search(r"(?:Got|Given) value: ([^\n]+)", inner)
    strange = re.search(r"class_path '(?:\w+\.)*(\w+)':\s+Option '([^']+)' is not accepted", message)
    if keys and strange:
        return f"unknown key '{keys[0]}.{strange[2]}' of {strange[1]}"
    if not (expected and given):
        return " ".join(message.split())
    named = r"<class '(?:\w+\.)*(\w+)'>|typing\.|Literal\[(.+)\]"
    wanted = " or ".join(dict.fromkeys(re.sub(named, r"\1\2", word) for word in expected))
    nested = re.fullmatch(r"NestedArg\(key='[^']+', val=(.+)\)", given[1])
    return f"{'.'.join(dict.fromkeys(keys))}: expected {wanted}; it is {nested[1] if nested else given[1]}"


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn what a class says about its arguments into a user's mistake, in one line."""
    try:
        yield
    except (ValueError, TypeError, OSError, MisconfigurationException) as error:
        if isinstance(error, OSError) and error.errno in DISK:
            raise
        raise UserError(" ".join(str(_cause(error)).split())) from error


def _cause(error: BaseException) -> BaseException:
    """The error of a class that refused its arguments, without the report that the parser wraps around it."""
    inner = error.__cause__ or error.__context__
    return _cause(inner) if inner and str(error).startswith("Does not validate against any") else error


def _check_checkpoint(path: Path, model: LightningModule, to_train: bool) -> None:
    """Refuse a checkpoint that cannot be read, or whose network is not the one that the config describes."""
    content = read_checkpoint(path)
    stored = content["hyper_parameters"]
    if to_train and not content.get("optimizer_states"):
        raise UserError(f"'{path}' holds weights only, as a stack of seeds keeps them: nothing to go on training from")
    for name, value in model.hparams.items():
        if stored.get(name) != value:
            raise UserError(f"'{path}' was trained with {name} {stored.get(name)!r}; the config says {value!r}")
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if {name: tuple(value.shape) for name, value in content["state_dict"].items()} != shapes:
        raise UserError(f"'{path}' holds the weights of another network than the config describes")
