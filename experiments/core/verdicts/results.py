"""The results of an experiment: one row a run, one column a measure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pandas as pd

from experiments.core.definitions import Overrides
from experiments.core.files.errors import UserError, nearest
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan
from experiments.core.grid.runs import Run
from experiments.core.verdicts import measures as core_measures
from experiments.core.verdicts.inference import SeedValues
from experiments.core.verdicts.verdict import Verdict

# Calls a function once for each tuple of arguments, and returns the values in their order.
Map = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], list[Any]]


@dataclass(frozen=True)
class Results:
    """The results of an experiment, from which figures, dashboards and reports are made."""

    plan: Plan
    runs: tuple[Run, ...]
    # The content of results.csv: one row a run.
    frame: pd.DataFrame
    verdicts: tuple[Verdict, ...]
    # The values per seed by claim.
    samples: Mapping[str, SeedValues]
    # The values that tuning chose, by condition.
    tuned: Mapping[Condition, float]
    # The finished checks by function name, one a seed.
    checks: Mapping[str, Sequence[Run]]

    @property
    def environment(self) -> dict[str, Any]:
        """The environment of the first run, or of the first check if nothing was trained."""
        made = [*self.runs, *(check for found in self.checks.values() for check in found)]
        return dict(made[0].result["environment"])

    def of(self, overrides: Overrides) -> list[Run]:
        """Return the finished runs of one condition, ordered by seed."""
        condition = self.plan.grid.condition(overrides)
        return [run for run in self.runs if run.condition == condition]


def functions_of(experiment: str) -> dict[str, Callable[..., Any]]:
    """Return the measures and contrasts that an experiment can name: its own and the shared ones."""
    return {**public_functions(core_measures), **public_functions(catalogue.part(experiment, "measures"))}


def public_functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the public functions that a module defines."""
    return {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def value_of(experiment: str, name: str, run: Run) -> float:
    """Return a measure of a run; nan if the run does not have it."""
    if name in run.derived:
        return run.derived[name]
    measure = functions_of(experiment).get(name)
    if measure is None:
        return float(run[name])
    with catalogue.blamed_on(measure):
        return float(measure(run))


def derive(experiment: str, names: Sequence[str], runs: Sequence[Run]) -> list[dict[str, float]]:
    """Compute the derived measures among `names` for each run."""
    known = functions_of(experiment)
    wanted = [name for name in names if name in known]
    return [{name: value_of(experiment, name, run) for name in wanted} for run in runs]


def table(
    experiment: str,
    runs: Sequence[Run],
    derived: Sequence[str],
    checks: Mapping[str, Sequence[Run]],
    *,
    complete: bool = True,
) -> pd.DataFrame:
    """Return one row a run: condition, overrides, seed, status, stack, derived measures, recorded measures.

    Below them, one row a check and seed: `check=<its function>` as condition, and the numbers it came to.

    Args:
        experiment: name of the experiment.
        runs: the finished runs.
        derived: names of measures.
        checks: the finished checks, by the name of their function.
        complete: whether a measure that no run has recorded is a mistake; else its runs may be missing.

    Raises:
        UserError: a derived measure is neither defined nor recorded by any run.
    """
    rows = []
    known = [*functions_of(experiment), *{name for run in runs for name in run.recorded}]
    for name in derived:
        if complete and runs and name not in known:
            raise UserError(f"unknown measure '{name}'; {nearest(name, known)}")
    for run in runs:
        rows.append(
            {
                "condition": run.condition.name,
                **run.condition.overrides,
                "seed": run.seed,
                "status": run.status,
                "stack": run.result.get("stack", 1),
                **{name: value_of(experiment, name, run) for name in derived},
                **dict(sorted(run.recorded.items())),
            }
        )
    for name, found in checks.items():
        for check in found:
            rows.append({"condition": f"check={name}", "seed": check.seed, "status": check.status, "stack": 1})
            rows[-1] |= check.recorded
    frame = pd.DataFrame(rows)
    keys = sorted({key for run in runs for key, _ in run.condition.items})
    first = ["condition", *keys, "seed", "status", "stack"]
    return frame[[*first, *(column for column in frame.columns if column not in first)]]
