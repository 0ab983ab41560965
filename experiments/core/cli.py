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
import pickle
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from datamodules.base import InMemoryDataModule
from experiments.core import records
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.recorder import Recorder
from experiments.core.classes import description
from experiments.core.errors import UserError
from experiments.core.strict import check_request
from experiments.core.yaml_files import parse_value
from lightning_modules.base import LectureModule

RUNS = Path("runs")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


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
        for size in ("num_features", "sample_shape", "num_classes"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")
        for section in ("model", "data"):
            parser.link_arguments("seed_everything", f"{section}.init_args.seed")

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
        if records.read_result(self.run_dir) is not None:
            raise UserError(f"'{self.run_dir}' already holds a run; delete it or choose another directory")
        records.check_writable(self.run_dir)
        config.trainer.default_root_dir = str(self.run_dir)
        if config.trainer.logger is False:
            config.trainer.callbacks = records.without_rate_monitor(config.trainer.callbacks)
        for part in (config.trainer.logger, config.trainer.callbacks):
            records.place_inside(part, self.run_dir)

    def _new_directory(self, seed: int) -> Path:
        parent, name = RUNS / "cli" / self.stem, f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-seed={seed}"
        # Two runs may begin within one second.
        names = itertools.chain([name], (f"{name}-{count}" for count in itertools.count(2)))
        return next(parent / name for name in names if not (parent / name).exists())

    def instantiate_classes(self) -> None:
        """Build everything and load the data: a mistake shows here, before anything is written."""
        with _one_line():
            super().instantiate_classes()
            if self.datamodule is not None:
                self.datamodule.prepare_data()
                self.datamodule.setup(self.wanted)
            if isinstance(self.model, LectureModule) and isinstance(self.datamodule, InMemoryDataModule):
                self.model.check_batch(self.datamodule.smallest_batch())
        if self.checkpoint is not None:
            _check_checkpoint(self.checkpoint, self.model)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Hand the trainer its numbers in the types they were given in: building may convert them like parsing does."""
        numbers = {key: value for key, value in vars(self.chosen.trainer).items() if type(value) in (int, float)}
        return super().instantiate_trainer(**numbers, **kwargs)

    def after_fit(self) -> None:
        """Test the best weights, if some were kept, and seal the run."""
        recorders = callbacks_of(self.trainer, Recorder)
        if not recorders:  # fast_dev_run leaves no files
            return
        best = [c.best_model_path for c in callbacks_of(self.trainer, ModelCheckpoint) if c.best_model_path]
        if best and recorders[0].diverged_at(self.trainer) is None:
            self.trainer.test(self.model, self.datamodule, ckpt_path=best[0], verbose=False, weights_only=True)
        recorders[0].finish(self.trainer, self.datamodule)
        print(self.run_dir)

    def predict(self, **arguments: Any) -> None:
        """Predict, and write the class and the outputs of each sample to `predictions.csv` in the run's directory."""
        batches: Any = self.trainer.predict(**arguments)
        outputs = torch.cat(batches)
        path = self.run_dir / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
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
        print(f"{description(kind, name)}\n")
    LectureCLI.wanted = subcommand
    LectureCLI.stem = re.sub(r"[^\w.,=+-]", "-", request.files[-1].stem) if request.files else subcommand
    LectureCLI.checkpoint = request.checkpoint
    LectureCLI.asked = request.config.get("trainer") or {}
    # Told of a checkpoint, Lightning lays the hyper-parameters in it over the config without a word.
    hidden = ["--ckpt_path=null"] if request.checkpoint else []
    one_line = {"exit_on_error": False}
    parsers = {"prog": "python -m experiments", **one_line, subcommand: dict(one_line)}
    try:
        LectureCLI(args=[subcommand, *args, *hidden], parser_kwargs=parsers, **CLI_SETTINGS)
    except SystemExit as end:
        # Lightning answers Ctrl-C with an exit code like any other.
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


class ConditionCLI(LectureCLI):
    """Parses once, and then trains one run after another: parsing takes as long as training a small network."""

    def __init__(self, args: Sequence[str]) -> None:
        request = check_request("fit", args)
        LectureCLI.wanted, LectureCLI.checkpoint = "fit", None
        LectureCLI.asked = request.config.get("trainer") or {}
        self._parsed: Namespace | None = None
        super().__init__(args=[*args, *QUIET], run=False, parser_kwargs={"exit_on_error": False}, **CLI_SETTINGS)
        self._parsed, self._portable = self.config, super().portable_config()
        self.choose([])

    def before_instantiate_classes(self) -> None:
        """Build nothing while parsing."""
        if self._parsed is not None:
            super().before_instantiate_classes()

    def instantiate_classes(self) -> None:
        """Build nothing while parsing."""
        if self._parsed is not None:
            super().instantiate_classes()

    def choose(self, options: Sequence[str]) -> bool:
        """Lay `--section.name=value` over what was parsed, without parsing again.

        Returns:
            Whether that could be done: an option whose value is of another type than the one it replaces needs the
            parser.
        """
        assert self._parsed is not None
        self.config, self._chosen = self._parsed.clone(), copy.deepcopy(self._portable)
        for option in options:
            key, _, text = option.removeprefix("--").replace(".init_args.", ".").partition("=")
            section, _, name = key.partition(".")
            inner = () if section == "trainer" else ("init_args",)
            value = parse_value(text)
            for config in (self.config, self._chosen):
                place = functools.reduce(lambda part, word: part[word], inner, config[section])
                if name not in place or type(place[name]) is not type(value):
                    return False
                place[name] = value
        return True

    def portable_config(self) -> dict[str, Any]:
        """The config of the run that was trained last; only the seed is its own."""
        return {**self._chosen, "seed_everything": self.config.seed_everything}

    def build(self) -> None:
        """Build network, data module, callbacks and loggers once, which finds values out of range."""
        with _one_line():
            self.parser.instantiate(self.config)

    def fit_seed(self, seed: int, directory: Path) -> None:
        """Do what `fit` does with this seed in this directory."""
        config = self.config = self.config.clone()
        config.seed_everything = config.model.init_args.seed = config.data.init_args.seed = seed
        config.trainer.default_root_dir = str(directory)
        seed_everything(seed, workers=True, verbose=False)
        self.before_instantiate_classes()
        self.instantiate_classes()
        self.trainer.fit(self.model, self.datamodule)
        self.after_fit()


def condition(args: Sequence[str]) -> ConditionCLI:
    """Return the parsed config of one condition; a process parses the same files once.

    Args:
        args: the command line after `fit`, each option in one word; `--config=FILE` first.

    Raises:
        UserError: something asked for is wrong.
    """
    quieten()
    files = [word for word in args if word.startswith("--config=")]
    contents = tuple(Path(word.partition("=")[2]).read_text(encoding="utf-8") for word in files)
    parsed = _parse_once(tuple(files), contents)
    if not parsed.choose([word for word in args if word not in files]):
        parsed = _parse_once(tuple(args), contents)
        parsed.choose([])
    return parsed


@functools.lru_cache(maxsize=16)
def _parse_once(args: tuple[str, ...], contents: tuple[str, ...]) -> ConditionCLI:
    del contents  # they are what the files held when they were parsed
    return ConditionCLI(args)


def run_seed(args: Sequence[str], seed: int, directory: Path) -> None:
    """Train one run of a condition; what it leaves is what `run_cli("fit", …)` would leave.

    Args:
        args: see `condition`; without seed and directory.
        seed: of the run.
        directory: of the run.
    """
    torch.set_num_threads(1)
    condition(args).fit_seed(seed, directory)


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
    if not (expected and given):
        return " ".join(message.split())
    named = r"<class '(?:\w+\.)*(\w+)'>|typing\.|Literal\[(.+)\]"
    wanted = " or ".join(dict.fromkeys(re.sub(named, r"\1\2", word) for word in expected))
    nested = re.fullmatch(r"NestedArg\(key='[^']+', val=(.+)\)", given[1])
    return f"{'.'.join(dict.fromkeys(keys))}: expected {wanted}; it is {nested[1] if nested else given[1]}"


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn what a class says about its arguments into a user's mistake, in one line."""
    try:
        yield
    except (ValueError, TypeError, OSError, MisconfigurationException) as error:
        raise UserError(" ".join(str(_cause(error)).split())) from error


def _cause(error: BaseException) -> BaseException:
    """The error of a class that refused its arguments, without the report that the parser wraps around it."""
    inner = error.__cause__ or error.__context__
    return _cause(inner) if inner and str(error).startswith("Does not validate against any") else error


def _check_checkpoint(path: Path, model: LightningModule) -> None:
    """Refuse a checkpoint that cannot be read, or whose network is not the one that the config describes."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)["hyper_parameters"]
    except (EOFError, OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError):
        raise UserError(f"'{path}' is not a checkpoint of a run, or it is damaged") from None
    for name, value in model.hparams.items():
        if stored.get(name) != value:
            raise UserError(f"'{path}' was trained with {name} {stored.get(name)!r}; the config says {value!r}")
