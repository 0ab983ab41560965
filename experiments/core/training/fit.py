"""One condition fitted with one seed, or with several as one stack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from datamodules.base import InMemoryDataModule
from experiments.core.training.cli import LectureCLI
from experiments.core.training.parsing import silence_lightning
from experiments.core.training.stacking import (
    fit,
    seeds_that_fit,
    test_and_write_results,
)
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError

# Callbacks that only print to a terminal, which a worker does not have.
SHOWING = ("TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary")
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def build_fit(config: Mapping[str, Any], seed: int, directory: Path) -> LectureCLI:
    """Build trainer, module and data of a run on a worker, without a terminal.

    Args:
        config: the resolved config of a condition; its seed is replaced.
        seed: of the run.
        directory: of the run.

    Raises:
        UserError: the config cannot be built.
    """
    silence_lightning()
    torch.set_num_threads(1)
    trainer = {**config["trainer"], **QUIET, "default_root_dir": str(directory)}
    callbacks = trainer["callbacks"]
    trainer["callbacks"] = [part for part in callbacks if part["class_path"].rpartition(".")[2] not in SHOWING]
    return LectureCLI({**config, "seed_everything": seed, "trainer": trainer}, parsed=True)


def fit_seeds(
    config: Mapping[str, Any], seeds: Sequence[int], directories: Sequence[Path], budget: float = math.inf
) -> str:
    """Train one condition with one seed, or with several seeds as a stack; each run leaves the files of a single fit.

    Args:
        config: the resolved config of the condition; its seed is replaced.
        seeds: of the runs.
        directories: of the runs, one a seed.
        budget: bytes that a fit may use; a larger stack is split into several fits.

    Returns:
        The reason why the seeds were not trained, because they cannot be stacked; empty if they were trained.

    Raises:
        UserError: the config cannot be built.
    """
    cli = build_fit(config, seeds[0], directories[0])
    model, data = cli.model, cli.datamodule
    if len(seeds) > 1:
        most = len(seeds)
        if isinstance(model, LectureModule) and isinstance(data, InMemoryDataModule):
            most = seeds_that_fit(model, data, budget, most)
        if most < len(seeds):
            parts = [slice(first, first + most) for first in range(0, len(seeds), most)]
            return next(filter(None, (fit_seeds(config, seeds[part], directories[part]) for part in parts)), "")
        try:
            model, data = cli.stack(seeds, directories)
        except NotStackableError as error:
            return str(error)
    fit(cli.trainer, model, data)
    test_and_write_results(cli.trainer, model, data)
    return ""
