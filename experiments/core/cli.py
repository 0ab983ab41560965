"""The Lightning CLI of the lecture: the one way to train, for a student and for the grid alike."""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import functools
import itertools
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace, set_parsing_settings
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, instantiate_class
from lightning.pytorch.loggers import Logger

from datamodules.base import InMemoryDataModule
from datamodules.files import DISK
from datamodules.stack import StackedData
from experiments.core import allow_list, records
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.recorder import Recorder, RunRecord
from experiments.core.checkpoints import CheckpointFiles
from experiments.core.classes import description, find_class
from experiments.core.config import THREADS, Command, check_config, read_command, with_defaults
from experiments.core.contradictions import check_built
from experiments.core.errors import UserError
from experiments.core.foreign import read_checkpoint
from experiments.core.stacking import fit, refuse, stack_of, test_and_seal
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError, Stack

RUNS = Path("runs")
LONGEST = 350  # letters of a report of the parser that nothing shorter stands for


class _Parser(LightningArgumentParser):
    """Takes a text in the place of a class for the name of the class, and never for that of a file."""

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        """Add the arguments of a class, none of which is read from a file of its own."""
        added: list[str] = super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})
        return added


class ParsedConfig(LightningCLI):
    """A config as the Lightning CLI's parser understands it: types checked, defaults filled in, nothing built.

    Args:
        config: as the files and options say it; or words for the parser's own help.
        subcommand: fit, validate, test or predict.

    Raises:
        UserError: the parser does not accept it.
    """

    def __init__(self, config: Mapping[str, Any] | Sequence[str], subcommand: str = "fit") -> None:
        self.stage = subcommand
        trainer = (config.get("trainer") or {}) if isinstance(config, Mapping) else {}
        # Which of int and float the parser tries first depends on which of the equal types `int | float` and
        # `float | int` any package has written first; 1 is a batch, and 1.0 all of them.
        self.numbers = {key: value for key, value in trainer.items() if type(value) in (int, float)}
        set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=allow_list.importable())
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=Recorder,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            # A config has to name a seed; the default only keeps `--help` from inventing one.
            seed_everything_default=False,
            parser_kwargs={
                "prog": f"python -m experiments {subcommand}",
                "exit_on_error": False,
                "allow_abbrev": False,
            },
            run=False,
            parser_class=_Parser,
            # The parser changes what it is given.
            args=copy.deepcopy(dict(config)) if isinstance(config, Mapping) else list(config),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add, for the help, what is read before the parser."""
        parser.add_argument("--ckpt_path", type=str | None, help="checkpoint to begin from, or to evaluate")
        parser.add_argument(allow_list.OPTION, type=str | None, metavar="NAME", help=allow_list.HELP)
        parser.add_argument(THREADS, type=int, default=1, help="threads of torch; more than 1 may change last digits")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; what is wrong becomes one line."""
        try:
            self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)  # type: ignore[arg-type]
        except argparse.ArgumentError as error:
            raise UserError(condense(str(error))) from None
        for function in _functions(self.config):
            raise UserError(f"a config names classes and no functions, such as {function}")

    @functools.cached_property
    def resolved(self) -> dict[str, Any]:
        """The config as plain mappings that say nothing of where they are run."""
        plain: dict[str, Any] = json.loads(
            self.parser.dump(self.config, skip_unset=False, skip_validation=True, format="json")
        )
        trainer = {**plain["trainer"], **self.numbers, "default_root_dir": None}
        return {name: plain[name] for name in ("seed_everything", "model", "data")} | {"trainer": trainer}

    def instantiate_classes(self) -> None:
        """Build nothing."""


def _functions(value: Any) -> Iterator[str]:
    """The functions in a parsed config, by name."""
    if isinstance(value, Namespace | dict):
        for item in (vars(value) if isinstance(value, Namespace) else value).values():
            yield from _functions(item)
    elif isinstance(value, list):
        for item in value:
            yield from _functions(item)
    elif callable(value):
        yield getattr(value, "__qualname__", str(value))


def resolve(config: Mapping[str, Any], *, build: bool = False) -> dict[str, Any]:
    """Give a config with every default filled in, as plain mappings: what a run stores as its `config.yaml`.

    A process resolves the same config once; nobody changes what is given.

    Args:
        config: as files and options say it.
        build: build network, data module, callbacks and loggers as well, which finds values out of range.

    Raises:
        UserError: the first mistake found.
    """
    return _resolve(json.dumps(config), build, allow_list.allowed())


@functools.lru_cache(maxsize=256)
def _resolve(text: str, build: bool, allowed: str) -> dict[str, Any]:
    del allowed  # what is refused without it must not be found here
    quieten()
    config = json.loads(text)
    check_config(config)
    parsed = ParsedConfig(with_defaults(config))
    if build:
        with one_line():
            parsed.parser.instantiate_classes(parsed.config)
    return parsed.resolved


def load_data(section: Mapping[str, Any], seed: int) -> None:
    """Build the data module of a resolved config and set it up, whatever that has to fetch.

    Raises:
        UserError: the data are neither on this machine nor to be had.
    """
    with one_line():
        data = find_class("data", section["class_path"])(**{**section["init_args"], "seed": seed})
        data.setup("fit")


class LectureCLI(ParsedConfig):
    """The Lightning CLI with one directory a run, and a result at its end.

    Args:
        config: see `ParsedConfig`; `trainer.default_root_dir` is the directory of the run.
        subcommand: fit, validate, test or predict.
        checkpoint: to begin from, or to evaluate.

    Raises:
        UserError: something asked for is wrong; nothing was written.
    """

    def __init__(self, config: Mapping[str, Any], subcommand: str = "fit", checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint
        super().__init__(config, subcommand)

    def before_instantiate_classes(self) -> None:
        """Place what loggers and callbacks write inside the run's directory."""
        trainer = self.config.trainer
        self.run_dir = Path(trainer.default_root_dir or ".")
        self.save_config_kwargs = {"run_dir": self.run_dir, "stored_config": self.resolved}
        if self.stage != "fit":
            trainer.logger = False
            return
        if (records.read_result(self.run_dir) or {"status": "interrupted"})["status"] != "interrupted":
            raise UserError(f"'{self.run_dir}' already holds a run; delete it or choose another directory")
        self.unplaced = self.config.clone()
        _place(trainer, self.run_dir)

    def instantiate_classes(self) -> None:
        """Build everything and load the data: a mistake shows here, before anything is written."""
        with one_line():
            LightningCLI.instantiate_classes(self)
            if self.datamodule is not None:
                self.datamodule.prepare_data()
                self.datamodule.setup(self.stage)
            if isinstance(self.model, LectureModule):
                self.model.take_sizes(self.datamodule)
            if isinstance(self.model, LectureModule) and isinstance(self.datamodule, InMemoryDataModule):
                self.model.check_batch(self.datamodule.smallest_batch())
                check_built(self.trainer, self.model, self.datamodule, self.config.trainer.precision)
        if self.checkpoint is not None:
            _check_checkpoint(self.checkpoint, self.model, self.stage == "fit")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Hand the trainer its numbers in the types they were given in, and the writer of whole checkpoints."""
        plugins = self.config_init.trainer.plugins or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), CheckpointFiles()]
        return super().instantiate_trainer(**self.numbers, plugins=plugins, **kwargs)

    def fit(self) -> None:
        """Train; what shows before the first step only, or at the first look at a metric, is a user's mistake too."""
        try:
            fit(self.trainer, self.model, self.datamodule, self.checkpoint)
        except (ValueError, MisconfigurationException) as error:
            before = self.trainer.global_step == 0
            if not before and not isinstance(error, MisconfigurationException):
                raise
            if before and self.run_dir.is_dir():
                records.empty(self.run_dir)
            raise UserError(" ".join(str(error).split())) from error
        self.after_fit()

    def after_fit(self) -> None:
        """Test the best weights, if some were kept, and seal the run."""
        for recorder in callbacks_of(self.trainer, Recorder):  # fast_dev_run leaves no files
            test_and_seal(self.trainer, self.model, self.datamodule)
            step = recorder.diverged_at(self.trainer)
            if step is not None:
                print(f"diverged: the loss is not finite from step {step} on", file=sys.stderr)
            print(self.run_dir)

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
        with records.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["sample", "predicted", *(f"output_{k}" for k in range(outputs.shape[1]))])
            writer.writerows([i, int(row.argmax()), *row.tolist()] for i, row in enumerate(outputs))
        print(path)

    def stack(self, seeds: Sequence[int], directories: Sequence[Path]) -> tuple[Stack, StackedData]:
        """Put other seeds beside the CLI's own, the first, to be trained by its trainer.

        Raises:
            NotStackableError: the seeds cannot be trained in one fit.
        """
        refuse(self.trainer, self.model)
        modules, data = [self.model], [self.datamodule]
        for seed in seeds[1:]:
            part = replace(self.datamodule, seed=seed)
            part.prepare_data()
            part.setup("fit")
            data.append(part)
            modules.append(replace(self.model, seed=seed))
        runs = [
            RunRecord(directory, {**self.resolved, "seed_everything": seed})
            for seed, directory in zip(seeds, directories, strict=True)
        ]
        loggers = [self.trainer.loggers, *(self._loggers(directory) for directory in directories[1:])]
        return stack_of(self.trainer, modules, data, runs, loggers)

    def _loggers(self, directory: Path) -> list[Logger]:
        """Build the loggers of another seed."""
        config = self.unplaced.clone()
        _place(config.trainer, directory)
        given = config.trainer.logger
        parts = given if isinstance(given, list) else [given] if given else []
        return [instantiate_class((), part.as_dict()) for part in parts]


def _place(trainer: Namespace, directory: Path) -> None:
    """Have a run's loggers, callbacks and profiler write inside its directory."""
    records.refuse_links(directory)
    trainer.default_root_dir = str(directory)
    for part in (trainer.logger, trainer.callbacks, trainer.profiler):
        records.place_inside(part, directory)


QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def build_fit(config: Mapping[str, Any], seed: int, directory: Path) -> LectureCLI:
    """Build all that a fit needs which shows nothing on a terminal.

    Args:
        config: of a condition; its seed is replaced.
        seed: of the run.
        directory: of the run.

    Raises:
        UserError: something asked for is wrong.
    """
    quieten()
    torch.set_num_threads(1)
    check_config(config)
    trainer = {**(config.get("trainer") or {}), **QUIET, "default_root_dir": str(directory)}
    return LectureCLI(with_defaults({**config, "seed_everything": seed, "trainer": trainer}))


def fit_seeds(config: Mapping[str, Any], seeds: Sequence[int], directories: Sequence[Path]) -> str:
    """Train one condition with one seed, or with several in one fit; each run leaves what `fit` alone would leave.

    Args:
        config: of the condition; its seed is replaced.
        seeds: of the runs.
        directories: of the runs, one a seed.

    Returns:
        Why the seeds cannot be trained in one fit, and were not; an empty text if they were.

    Raises:
        UserError: something asked for is wrong.
    """
    cli = build_fit(config, seeds[0], directories[0])
    model, data = cli.model, cli.datamodule
    if len(seeds) > 1:
        try:
            model, data = cli.stack(seeds, directories)
        except NotStackableError as error:
            return str(error)
    fit(cli.trainer, model, data)
    test_and_seal(cli.trainer, model, data)
    return ""


def run_cli(subcommand: str, args: Sequence[str]) -> None:
    """Run one Lightning CLI command, as a person types it.

    Args:
        subcommand: fit, validate, test or predict.
        args: the command line after the subcommand, for example `["--config", "experiments/vanishing/base.yaml"]`.

    Raises:
        UserError: something asked for is wrong; nothing was written.
    """
    quieten()
    command = read_command(args, fits=subcommand == "fit")
    # One, unless asked otherwise: a sum split over threads rounds otherwise, and a run must repeat bit for bit.
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
            # Lightning answers Ctrl-C with an exit code like any other.
            if isinstance(end.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _directory(subcommand: str, command: Command) -> Iterator[Path | None]:
    """Make the directory of a command that writes, which reserves it; what is empty at the end is removed again."""
    if subcommand in ("validate", "test"):
        yield None
        return
    given = (command.config.get("trainer") or {}).get("default_root_dir")
    stem = re.sub(r"[^\w.,=+-]", "-", command.files[-1].stem) if command.files else subcommand
    seed = command.config["seed_everything"]
    directory = Path(given) if given else RUNS / "cli" / stem / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-seed={seed}"
    records.check_writable(directory)
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    for count in itertools.count(2):
        try:
            directory.mkdir(parents=True, exist_ok=given is not None)
            break
        except FileExistsError:  # of a run that began within the same second
            directory = directory.with_name(f"{directory.name.partition('+')[0]}+{count}")
    try:
        yield directory
    finally:
        for path in dict.fromkeys([directory, *new]) if new else ():
            with contextlib.suppress(OSError):  # it holds a run, or that of another
                path.rmdir()


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
    denied = re.search(r"Importing '([^']+)' is not allowed", message)
    if denied:
        return allow_list.refusal(denied[1])
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
        said = " ".join(message.partition("Given value")[0].split())
        return said if len(said) < LONGEST else f"{said[:LONGEST]} …"
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
