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

# What a worker has no terminal for.
SHOWING = ("TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary")
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def build_fit(config: Mapping[str, Any], seed: int, directory: Path) -> LectureCLI:
    """Build all that a fit needs which shows nothing on a terminal.

    Args:
        config: of a condition, resolved; its seed is replaced.
        seed: of the run.
        directory: of the run.

    Raises:
        UserError: something asked for is wrong.
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
    """Train one condition with one seed, or with several in one fit; each run leaves what `fit` alone would leave.

    Args:
        config: of the condition, resolved; its seed is replaced.
        seeds: of the runs.
        directories: of the runs, one a seed.
        budget: bytes that a fit may take; seeds that need more together are trained in several.

    Returns:
        Why the seeds cannot be trained in one fit, and were not; an empty text if they were.

    Raises:
        UserError: something asked for is wrong.
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
