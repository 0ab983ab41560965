"""The official results that the repository keeps: `reference.json`, and `other_seeds.json` beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import FiniteFloat
from typing_extensions import TypedDict

from experiments.core.definitions import INFERENTIAL
from experiments.core.files.errors import UserError
from experiments.core.files.json import read_json
from experiments.core.grid import catalogue
from experiments.core.verdicts.verdict import Rows

T = TypeVar("T")

FILE = "reference.json"
OTHER_SEEDS = "other_seeds.json"


# Mean, half of its 95 % interval, number of seeds.
Shown = tuple[FiniteFloat | None, FiniteFloat | None, int]


class OtherSeeds(TypedDict):
    """The fields of `other_seeds.json` that are read."""

    first_seed: int
    counts: dict[str, int]
    claims: list[dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """The official results of one experiment."""

    command: str
    environment: dict[str, Any]
    verdicts: Rows
    # The values per seed by claim; None for a value that was not finite.
    values: dict[str, list[FiniteFloat | None]]
    # The declared measures by condition.
    measures: dict[str, dict[str, Shown]]

    def __post_init__(self) -> None:
        sections = [self.environment.get(name, {}) for name in ("versions", "flags")]
        if not all(isinstance(section, dict) for section in sections):
            raise ValueError("the environment has no versions, or no flags")
        if not all(verdict.id in self.values for verdict in self.verdicts if verdict.kind in INFERENTIAL):
            raise ValueError("a claim has no values")


def all_kept() -> dict[str, Reference]:
    """Return the existing references by experiment."""
    return {name: read(name) for name in catalogue.names() if exists(name)}


def all_other_seeds() -> dict[str, OtherSeeds]:
    """Return the comparisons with another seed set by experiment.

    Raises:
        UserError: a file does not hold that.
    """
    paths = {name: catalogue.ROOT / name / OTHER_SEEDS for name in catalogue.names()}
    return {
        name: _read(path, OtherSeeds, "answer", f"make verify EXP={name} ARGS='--first-seed=2000 --keep'")
        for name, path in paths.items()
        if path.exists()
    }


def _read(path: Path, schema: type[T], kind: str, again: str) -> T:
    try:
        return read_json(path, schema)
    except (OSError, ValueError):
        raise UserError(f"'{path}' is no {kind} as this version writes it; again: {again}") from None


def exists(name: str) -> bool:
    """Return whether an experiment has a reference."""
    return (catalogue.ROOT / name / FILE).is_file()


def read(name: str) -> Reference:
    """Return the reference of an experiment.

    Raises:
        UserError: it has none that can be read.
    """
    path = catalogue.ROOT / name / FILE
    if not exists(name):
        raise UserError(f"'{name}' has no reference yet; first: make reference EXP={name}")
    return _read(path, Reference, "reference", f"make reference EXP={name}")
