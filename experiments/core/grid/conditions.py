"""Conditions of an experiment: their names, and the config of each."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.core.definitions import TUNED, Axes, Claim, Experiment, Overrides, Value
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.files.yaml import load_yaml, merge
from experiments.core.grid import catalogue

FIRST_SEED = 1000
# An overlay with all these keys is a complete config.
WHOLE = {"seed_everything", "model", "data", "trainer"}
SAFE_NAME = re.compile(r"[A-Za-z0-9_.,=+-]+")


@dataclass(frozen=True)
class Condition:
    """One point of the grid: overrides that change the base config."""

    items: tuple[tuple[str, Value], ...]

    @property
    def overrides(self) -> dict[str, Value]:
        """The overrides, by key."""
        return dict(self.items)

    @property
    def name(self) -> str:
        """The name in directories, tables and dashboards; `base` without overrides."""
        parts = [f"{v}" if k == "config" else f"{last_word(k)}={_plain(v)}" for k, v in self.items]
        return ",".join(parts) or "base"


def is_safe(name: str) -> bool:
    """Return whether a file or a directory may have this name."""
    return SAFE_NAME.fullmatch(name) is not None and bool(name.strip("."))


def _plain(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Grid:
    """The conditions of an experiment at one scale on one data set, and the config files under them."""

    name: str
    experiment: Experiment
    scale: str
    data: str
    conditions: tuple[Condition, ...] = field(default=())

    @classmethod
    def build(cls, name: str, experiment: Experiment, scale: str, data: str) -> Grid:
        """Expand the axes; a condition of two blocks is one condition.

        Raises:
            UserError: the name of a condition is not valid for a directory, or two conditions have the same name.
        """
        grid = cls(name, experiment, scale, data)
        blocks: list[Axes] = [*experiment.grid, *experiment.scale_grid.get(scale, ())]
        conditions = list(dict.fromkeys(grid.condition(point) for block in blocks for point in block))
        for condition in conditions:
            if not is_safe(condition.name):
                raise UserError(f"condition '{condition.name}' of '{name}' cannot be the name of a directory")
        existing = [condition.name for condition in conditions]
        twice = sorted({word for word in existing if existing.count(word) > 1})
        if twice:
            raise UserError(f"two conditions of '{name}' would share the directory '{twice[0]}'")
        return cls(name, experiment, scale, data, tuple(conditions))

    def condition(self, overrides: Overrides) -> Condition:
        """Return the condition of a set of overrides, without those that repeat the value of the config files."""
        below = merged_files(tuple(self._files(overrides)))
        kept = {k: v for k, v in overrides.items() if k == "config" or _value(below, k) != v}
        return Condition(tuple(sorted(kept.items(), key=lambda item: (item[0] != "config", item[0]))))

    def find(self, overrides: Overrides, claim: str) -> Condition:
        """Return the condition of the grid that a claim's overrides name.

        Raises:
            UserError: the grid has no such condition; the message names the nearest.
        """
        wanted = self.condition(overrides)
        if wanted in self.conditions:
            return wanted
        existing = [condition.name for condition in self.conditions]
        near = difflib.get_close_matches(wanted.name, existing, n=3, cutoff=0.0)
        raise UserError(
            f"claim {claim}: no condition of '{self.name}' is '{wanted.name}'; nearest: {', '.join(near) or 'none'}"
        )

    @property
    def folder(self) -> Path:
        """Folder of the experiment."""
        return catalogue.folder(self.name)

    def files(self, condition: Condition) -> list[Path]:
        """Return the config files of a condition, lowest first: base, data, its own overlay, scale, data and scale.

        An overlay that is a whole config stands in the place of base and data.
        """
        return self._files(condition.overrides)

    def _files(self, overrides: Overrides) -> list[Path]:
        data, scale, both = (
            [path] if (path := self.folder / f"{word}.yaml").is_file() else []
            for word in (self.data, self.scale, f"{self.data}-{self.scale}")
        )
        name = str(overrides.get("config", "base"))
        if not is_safe(name):
            raise UserError(f"config {name!r} of '{self.name}' cannot be the name of a file")
        own = [self.folder / f"{name}.yaml"] if "config" in overrides else []
        if own and set(merged_files((own[0],))) >= WHOLE:
            # Merged into the base, it would keep arguments of the base's classes.
            return [*own, *scale, *both]
        return [self.folder / "base.yaml", *data, *own, *scale, *both]

    def settings(self, condition: Condition) -> dict[str, Any]:
        """Return the settings of a condition before tuning, by the last word of their key."""
        return {
            **run_directory.settings_of(self.merged(condition)),
            **{last_word(key): value for key, value in condition.items},
        }

    def merged(self, condition: Condition) -> dict[str, Any]:
        """Return the merged config files of a condition, before its overrides."""
        return merged_files(tuple(self.files(condition)))


def merged_files(paths: tuple[Path, ...]) -> dict[str, Any]:
    """Return merged config files; the result is cached and must not be modified."""
    return _merged(
        paths, tuple((at.st_mtime_ns, at.st_size) for path in paths if path.exists() for at in [path.stat()])
    )


@functools.lru_cache(maxsize=256)
def _merged(paths: tuple[Path, ...], changed: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    if len(paths) < 2:
        return load_yaml(paths[0])
    return merge(_merged(paths[:-1], changed[:-1]), _merged(paths[-1:], changed[-1:]))


def check_claims(grid: Grid) -> None:
    """Require that the grid has every condition of every claim.

    Raises:
        UserError: a claim names a condition that the grid does not have.
    """
    for claim in grid.experiment.claims:
        for overrides in claim.used_conditions:
            grid.find(overrides, claim.id)


def checked(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims that are decided by checks."""
    return [claim for claim in claims if claim.check]


def last_word(key: str) -> str:
    """Return the last word of a key: `depth` of `model.depth`."""
    return key.rpartition(".")[2]


def _value(config: Mapping[str, Any], key: str) -> Any:
    section = key.partition(".")[0]
    return run_directory.settings_of({section: config.get(section)} if "." in key else config).get(last_word(key))


def chosen_values(condition: Condition, tuned: Mapping[str, float]) -> dict[str, Value]:
    """Return the overrides of a condition, with the values that tuning chose.

    Args:
        condition: the condition.
        tuned: the value of each tuned override.

    Raises:
        UserError: no tuning chooses the value of an override.
    """
    found = {key: value for key, value in condition.items if key != "config"}
    for key, value in found.items():
        if value == TUNED and key not in tuned:
            raise UserError(f"condition '{condition.name}' has {key} tuned, which the experiment's tuning does not do")
    return {key: tuned[key] if value == TUNED else value for key, value in found.items()}


def laid(config: Mapping[str, Any], values: Mapping[str, Value]) -> tuple[dict[str, Any], bool]:
    """Set values in a copy of a resolved config.

    Args:
        config: with a value for every argument.
        values: by full key: `model.depth`.

    Returns:
        The new config, and whether it is resolved too: every value is of the type that it replaces.
    """
    new = {**config, **{name: dict(config[name]) for name in ("model", "data", "trainer")}}
    same = True
    for key, value in values.items():
        section, _, name = key.replace(".init_args.", ".").partition(".")
        part = new[section]
        if section != "trainer":
            part["init_args"] = part = dict(part["init_args"])
        same = same and type(part.get(name)) is type(value)
        part[name] = value
    return new, same


def full_key(key: str, sections: Mapping[str, set[str]]) -> str:
    """Return the full key of an axis: `depth` is `model.depth` if only the model has a depth."""
    if "." in key:
        return key
    takers = [section for section, names in sections.items() if key in names]
    if len(takers) == 1:
        return f"{takers[0]}.{key}"
    if takers:
        raise UserError(f"axis '{key}' is ambiguous: {', '.join(f'{section}.{key}' for section in takers)}")
    known = sorted(name for names in sections.values() for name in names)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    raise UserError(f"axis '{key}' is no argument of model, data or trainer; did you mean '{near[0]}'?")
