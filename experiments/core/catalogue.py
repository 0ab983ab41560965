"""Which experiments exist: every folder of `experiments/` that holds an `experiment.py`. Standard library only."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from experiments.core.definitions import DefinitionError, Experiment
from experiments.core.errors import UserError, check_known

ROOT = Path(__file__).resolve().parents[1]
SCALES = ("smoke", "quick", "full")
# Names every experiment where one is asked for.
ALL = "all"
LOGGERS = ("tensorboard", "wandb", "csv")


def names() -> list[str]:
    """Names of all experiments, in the order of the alphabet."""
    return sorted(path.parent.name for path in ROOT.glob("*/experiment.py"))


def folder(name: str) -> Path:
    """Folder of an experiment, as a path that the Lightning CLI can be given."""
    path = ROOT / name
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def load(name: str) -> Experiment:
    """Return the definition of an experiment.

    Raises:
        UserError: there is no such experiment, or its definition contradicts itself.
    """
    check_known("experiment", name, names())
    try:
        experiment = part(name, "experiment").experiment
    except DefinitionError as error:
        raise UserError(f"experiments/{name}/experiment.py: {error}") from None
    if not isinstance(experiment, Experiment):
        raise UserError(f"experiments/{name}/experiment.py defines no `experiment`")
    return experiment


def part(name: str, module: str) -> ModuleType:
    """Import `experiment`, `measures`, `figures` or `checks` of an experiment; a file that is missing holds nothing."""
    if not (ROOT / name / f"{module}.py").is_file():
        return ModuleType(f"experiments.{name}.{module}")
    return importlib.import_module(f"experiments.{name}.{module}")


def summary(name: str) -> str:
    """The sentence an experiment's definition opens with."""
    return (part(name, "experiment").__doc__ or "").strip().splitlines()[0]
