"""A fit by the words of a command line, in this process: what the grid's workers do with the config of a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.core.training import fit, parsing
from experiments.core.training.command_line import read_command


def asked(args: Sequence[str]) -> dict[str, Any]:
    """The config that files and options ask for."""
    return read_command(args).config


def resolve(args: Sequence[str]) -> dict[str, Any]:
    """The config that `fit` with these arguments would store."""
    return parsing.resolve(asked(args))


def run_seed(args: Sequence[str], seed: int, directory: Path) -> None:
    """Train one run."""
    assert fit.fit_seeds(resolve(args), [seed], [directory]) == ""


def run_stack(args: Sequence[str], seeds: Sequence[int], directories: Sequence[Path]) -> str:
    """Train several runs in one fit; gives the reason where that cannot be done."""
    return fit.fit_seeds(resolve(args), seeds, directories)
