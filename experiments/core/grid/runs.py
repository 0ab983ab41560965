"""Finished runs and checks, read from their directories."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.core.definitions import Value
from experiments.core.files import run_directory
from experiments.core.grid.conditions import Condition


@dataclass(frozen=True)
class Run:
    """A finished run or check, read from its directory.

    `settings` are the values it ran with, by the last word of their key: `depth`, `activation`, `lr`, `max_epochs`.
    """

    condition: Condition
    seed: int
    directory: Path
    settings: Mapping[str, Value]
    result: Mapping[str, Any]
    # Measures that were computed already from the files of the run, by name.
    derived: Mapping[str, float] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`ok`, `diverged` or `failed`."""
        return str(self.result["status"])

    @property
    def recorded(self) -> dict[str, float]:
        """The measures in `result.json`; nan for a value that was not finite."""
        return {name: math.nan if value is None else value for name, value in self.result["measures"].items()}

    def __getitem__(self, name: str) -> float:
        return self.recorded.get(name, math.nan)

    def series(self, name: str) -> list[tuple[int, int, float]]:
        """Return the values of a metric as (epoch, step, value)."""
        return [(epoch, step, value) for epoch, step, metric, value in self._rows if metric == name]

    @functools.cached_property
    def _rows(self) -> list[tuple[int, int, str, float]]:
        return run_directory.read_metrics(self.directory / run_directory.METRICS)


@dataclass(frozen=True)
class Found:
    """The finished runs and checks in the directory of a plan."""

    # Runs that match the config of today, in the order of conditions and seeds.
    runs: list[Run]
    # Checks that match the code of today, by function name.
    checks: dict[str, list[Run]]
    # Number of runs and checks of other versions of config or code.
    outdated: int
