"""The Lightning CLI of the lecture: the one way to train, for a student and for the grid alike."""

from __future__ import annotations

import argparse
import csv
import logging
import re
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from experiments.core import records
from experiments.core.callbacks.recorder import Recorder
from experiments.core.errors import UserError
from experiments.core.strict import check_request

RUNS = Path("runs")


class LectureCLI(LightningCLI):
    """The Lightning CLI with linked sizes and seeds, one directory a run, and a result at its end."""

    # The only subcommand whose parser is built: each costs a tenth of a second.
    wanted = "fit"
    # Set by `run_cli`: the stem of the config file, which names the run's directory when nobody gave one.
    stem = "fit"
    run_dir: Path

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:  # type: ignore[override]
        """The subcommand that was called, with the arguments that the CLI gives it itself."""
        return {cls.wanted: LightningCLI.subcommands()[cls.wanted]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Take the sizes from the data set and every seed from `seed_everything`."""
        for size in ("num_features", "num_classes"):
            parser.link_arguments(f"data.{size}", f"model.init_args.{size}", apply_on="instantiate")
        for section in ("model", "data"):
            parser.link_arguments("seed_everything", f"{section}.init_args.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse; what the strict pass leaves to the parser (wrong types above all) becomes one line."""
        try:
            self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            raise UserError(condense(str(error))) from None

    def before_instantiate_classes(self) -> None:
        """Choose the run's directory and place what loggers and callbacks write inside it."""
        config = self.config[self.subcommand]
        self.run_dir = Path(config.trainer.default_root_dir or self._new_directory(config.seed_everything))
        self.save_config_kwargs = {"run_dir": self.run_dir}
        if self.subcommand != "fit":
            config.trainer.logger = False
            return
        if records.read_result(self.run_dir) is not None:
            raise UserError(f"'{self.run_dir}' already holds a run; delete it or choose another directory")
        config.trainer.default_root_dir = str(self.run_dir)
        for part in (config.trainer.logger, config.trainer.callbacks):
            records.place_inside(part, self.run_dir)

    def _new_directory(self, seed: int) -> Path:
        return RUNS / "cli" / self.stem / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-seed={seed}"

    def instantiate_classes(self) -> None:
        """Build everything and load the data: a mistake shows here, before anything is written."""
        try:
            super().instantiate_classes()
            if self.datamodule is not None:
                self.datamodule.prepare_data()
                self.datamodule.setup(self.subcommand)
        except (ValueError, TypeError, OSError) as error:
            raise UserError(" ".join(str(error).split())) from error

    def after_fit(self) -> None:
        """Test the best weights, if some were kept, and seal the run."""
        recorders = [c for c in self.trainer.callbacks if isinstance(c, Recorder)]
        if not recorders:  # fast_dev_run leaves no files
            return
        best = [c.best_model_path for c in self.trainer.callbacks if isinstance(c, ModelCheckpoint)]
        if any(best) and recorders[0].diverged_at(self.trainer) is None:
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
    LectureCLI.wanted = subcommand
    LectureCLI.stem = request.files[-1].stem if request.files else subcommand
    one_line = {"exit_on_error": False}
    LectureCLI(args=[subcommand, *args], parser_kwargs={**one_line, subcommand: dict(one_line)}, **CLI_SETTINGS)


def resolve(args: Sequence[str]) -> dict[str, Any]:
    """Return the fully resolved config that `fit` with these arguments would store, without building anything.

    Raises:
        UserError: something asked for is wrong.
    """
    quieten()
    check_request("fit", args)
    cli = _ParserOnly(args=list(args), run=False, parser_kwargs={"exit_on_error": False}, **CLI_SETTINGS)
    return records.portable_config(cli.parser, cli.config, Path())


class _ParserOnly(LectureCLI):
    """Parses and builds nothing."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


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


def condense(message: str) -> str:
    """Reduce a parser's report, tens of lines for one wrong value, to the key, what was expected and what was given."""
    key = re.findall(r'[Kk]ey "([^"]+)"', message)
    expected = re.findall(r"(?:Expected|Not of type|not accepted|No action for)[^\n]*", message)
    given = re.findall(r"Given value: ([^\n]+)", message)
    if not (key and expected):
        return " ".join(message.split())
    nested = re.findall(r"NestedArg\(key='([^']+)', val=(.+)\)", given[-1]) if given else []
    name = ".".join(dict.fromkeys([*key, *(n for n, _ in nested)]))
    value = nested[0][1] if nested else (given[-1] if given else "")
    wanted = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", expected[0].split(". Got value")[0])
    return f"{name}: {wanted[0].lower()}{wanted[1:]}" + (f"; it is {value}" if value else "")
