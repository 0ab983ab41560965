"""Finds and imports experiments: every folder of `experiments/` with an `experiment.py`. Standard library only."""

from __future__ import annotations

import contextlib
import importlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.core.definitions import DefinitionError, Experiment
from experiments.core.files.errors import UserError, check_known, is_out_of_memory

ROOT = Path(__file__).resolve().parents[2]
SCALES = ("smoke", "quick", "full")
# Stands for all experiments in a command.
ALL = "all"
ALLOW_IMPORT = "--allow-import"
LOGGERS = ("tensorboard", "wandb", "csv")


def names() -> list[str]:
    """Return the names of all experiments in alphabetical order."""
    return sorted(path.parent.name for path in ROOT.glob("*/experiment.py"))


def folder(name: str) -> Path:
    """Return the folder of an experiment, relative to the current directory if possible."""
    path = ROOT / name
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def load(name: str) -> Experiment:
    """Return the definition of an experiment.

    Raises:
        UserError: the experiment does not exist, or its definition is not valid.
    """
    check_known("experiment", name, names())
    experiment = getattr(part(name, "experiment"), "experiment", None)
    if not isinstance(experiment, Experiment):
        raise UserError(f"experiments/{name}/experiment.py defines no `experiment`")
    return experiment


def part(name: str, module: str) -> ModuleType:
    """Import `experiment`, `measures`, `figures` or `checks` of an experiment; a missing file is an empty module.

    Raises:
        UserError: the file cannot be imported.
    """
    if not (ROOT / name / f"{module}.py").is_file():
        return ModuleType(f"experiments.{name}.{module}")
    with blamed_on(f"experiments/{name}/{module}.py"):
        return importlib.import_module(f"experiments.{name}.{module}")


@contextlib.contextmanager
def blamed_on(code: str | Callable[..., Any]) -> Iterator[None]:
    """Turn an error in the code of an experiment into one line with its place.

    Args:
        code: a file, relative to the root of the repository; or a function.

    Raises:
        UserError: instead of any error, except those of files and memory.
    """
    try:
        yield
    # The code of an experiment can raise anything.
    except Exception as error:
        if isinstance(error, UserError | OSError) or is_out_of_memory(error):
            raise
        file = code if isinstance(code, str) else f"{code.__module__.replace('.', '/')}.py"
        inside = "/".join(file.split("/")[-2:])
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if Path(at.filename).match(inside)]
        place = f", line {lines[-1]}" if lines else ""
        called = "" if isinstance(code, str) else f", {code.__name__}"
        kind = "" if isinstance(error, DefinitionError) else f"{type(error).__name__}: "
        raise UserError(f"{file}{place}{called}: {kind}{error}") from error


@contextlib.contextmanager
def found_in(place: str) -> Iterator[None]:
    """Prefix the message of a UserError with its place, unless it begins with a file already."""
    try:
        yield
    except UserError as error:
        if not place or str(error).startswith("experiments/"):
            raise
        raise UserError(f"{place}: {error}") from error


def summary(name: str) -> str:
    """Return the first line of the docstring of an experiment's definition; empty without one."""
    return next(iter((part(name, "experiment").__doc__ or "").strip().splitlines()), "")
