"""Tunes values on validation data: equal trials for every condition, on seeds that no verdict uses."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.core.definitions import TUNED
from experiments.core.execution.planner import Planner
from experiments.core.execution.tasks import Task
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, read_text
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan
from experiments.core.grid.runs import Run
from experiments.core.verdicts.results import value_of

FILE = "tuning.csv"


@dataclass(frozen=True)
class Trial:
    """One candidate value of one condition, with its runs."""

    condition: Condition
    value: float
    tasks: tuple[Task, ...]

    def score(self, plan: Plan, minimize: str) -> float:
        """Return the mean of the minimised measure over the tuning seeds; infinite if a run diverged or is missing."""
        metric = minimize.removeprefix("-")
        scores = []
        for task in self.tasks:
            result = run_directory.read_result(task.directory) or {}
            if result.get("status") != "ok":
                return math.inf
            value = value_of(
                plan.grid.name,
                metric,
                Run(self.condition, task.seed, task.directory, result.get("settings", {}), result),
            )
            scores.append(value if metric == minimize else -value)
        mean = sum(scores) / len(scores)
        return mean if math.isfinite(mean) else math.inf


def candidates(plan: Plan, condition: Condition) -> Sequence[float]:
    """Return the candidate values of a condition.

    Raises:
        UserError: the tuning has none for it.
    """
    tuning = plan.grid.experiment.tuning
    kind = plan.grid.settings(condition).get(tuning.by, "") if tuning else ""
    if tuning is None or kind not in tuning.candidates:
        file = f"experiments/{plan.grid.name}/experiment.py"
        raise UserError(f"{file}: condition '{condition.name}' asks for tuning, which has no candidates for it")
    return tuning.candidates[kind]


def untuned(plan: Plan) -> dict[Condition, float]:
    """Return the middle candidate of each tuned condition, which plans without verdicts use."""
    tuning = plan.grid.experiment.tuning
    asking = [c for c in plan.grid.conditions if tuning and c.overrides.get(tuning.axis) == TUNED]
    return {condition: sorted(found)[len(found) // 2] for condition in asking if (found := candidates(plan, condition))}


def trials(plan: Plan, planner: Planner) -> list[Trial]:
    """Return every candidate of every tuned condition; none for plans without verdicts."""
    tuning = plan.grid.experiment.tuning
    if tuning is None or not plan.gives_verdicts:
        return []
    found = []
    for condition in untuned(plan):
        for value in candidates(plan, condition):
            name = condition.name.replace(f"{tuning.axis}={TUNED}", f"{tuning.axis}={value:g}")
            directory = plan.directory / "tuning" / name
            found.append(
                Trial(condition, value, tuple(planner.tasks(condition, tuning.seeds, {tuning.axis: value}, directory)))
            )
    return found


def choose(plan: Plan, tried: Sequence[Trial]) -> dict[Condition, float]:
    """Choose the best value for each condition and write every score to `tuning.csv`.

    A best value at the edge of its grid is marked there: a wider grid might have done better.
    """
    tuning = plan.grid.experiment.tuning
    if tuning is None or not tried:
        return untuned(plan)
    scores = {(trial.condition, trial.value): trial.score(plan, tuning.minimize) for trial in tried}
    chosen: dict[Condition, float] = {}
    for condition in dict.fromkeys(trial.condition for trial in tried):
        tried_values = [trial.value for trial in tried if trial.condition == condition]
        chosen[condition] = min(tried_values, key=lambda value: scores[condition, value])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["condition", tuning.axis, tuning.minimize, "seeds", "chosen", "at_edge"])
    for trial in tried:
        values = candidates(plan, trial.condition)
        best = chosen[trial.condition] == trial.value
        score = scores[trial.condition, trial.value]
        writer.writerow(
            [
                trial.condition.name,
                trial.value,
                score,
                len(trial.tasks),
                int(best),
                int(best and trial.value in (min(values), max(values))),
            ]
        )
    run_directory.write_atomically(plan.directory / FILE, text.getvalue())
    return chosen


def read_chosen(plan: Plan) -> dict[Condition, float]:
    """Read the values that `choose` chose."""
    path = plan.directory / FILE
    tuning = plan.grid.experiment.tuning
    if tuning is None or not path.exists():
        return untuned(plan)
    by_name = {condition.name: condition for condition in plan.grid.conditions}
    try:
        table = csv.DictReader(io.StringIO(read_text(path), newline=""))
        rows = [row for row in table if row["chosen"] == "1"]
        return {by_name[row["condition"]]: float(row[tuning.axis]) for row in rows if row["condition"] in by_name}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        raise UserError(f"'{path}' does not hold what tuning tried: delete it, and run its experiment again") from None
