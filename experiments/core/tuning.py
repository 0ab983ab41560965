"""Values chosen on validation data: equal trials for every condition, on seeds that no verdict uses."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.core import records
from experiments.core.definitions import TUNED
from experiments.core.execution import Task
from experiments.core.grid import Condition
from experiments.core.plan import Plan, Planner

FILE = "tuning.csv"


@dataclass(frozen=True)
class Trial:
    """One value tried for one condition: its runs, and their mean score once they are done."""

    condition: Condition
    value: float
    tasks: tuple[Task, ...]

    def score(self, metric: str) -> float:
        """Mean of the metric over the tuning seeds; infinite if a run diverged or is missing."""
        scores = []
        for task in self.tasks:
            result = records.read_result(task.directory) or {}
            value = result.get("measures", {}).get(metric)
            scores.append(math.inf if value is None or result["status"] != "ok" else float(value))
        return sum(scores) / len(scores)


def trials(plan: Plan, planner: Planner) -> list[Trial]:
    """Every value of the experiment's tuning for every condition that asks for one."""
    tuning = plan.grid.experiment.tuning
    if tuning is None:
        return []
    seeds = tuning.seeds if plan.gives_verdicts else tuning.seeds[:1]
    found = []
    for condition in plan.grid.conditions:
        if condition.overrides.get(tuning.axis) != TUNED:
            continue
        for value in tuning.values:
            name = condition.name.replace(f"{tuning.axis}={TUNED}", f"{tuning.axis}={value:g}")
            directory = plan.directory / "tuning" / name
            found.append(
                Trial(condition, value, tuple(planner.tasks(condition, seeds, {tuning.axis: value}, directory)))
            )
    return found


def choose(plan: Plan, tried: Sequence[Trial]) -> dict[Condition, float]:
    """Choose the best value for each condition and write every score to `tuning.csv`.

    A best value at the edge of its grid is marked there: a wider grid might have done better.
    """
    tuning = plan.grid.experiment.tuning
    if tuning is None or not tried:
        return {}
    scores = {(trial.condition, trial.value): trial.score(tuning.minimize) for trial in tried}
    chosen: dict[Condition, float] = {}
    for condition in dict.fromkeys(trial.condition for trial in tried):
        chosen[condition] = min(tuning.values, key=lambda value: scores[condition, value])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["condition", tuning.axis, tuning.minimize, "seeds", "chosen", "at_edge"])
    edges = (min(tuning.values), max(tuning.values))
    for trial in tried:
        best = chosen[trial.condition] == trial.value
        score = scores[trial.condition, trial.value]
        writer.writerow(
            [trial.condition.name, trial.value, score, len(trial.tasks), int(best), int(best and trial.value in edges)]
        )
    records.write_atomically(plan.directory / FILE, text.getvalue())
    return chosen


def read_chosen(plan: Plan) -> dict[Condition, float]:
    """Read back what `choose` chose; empty where nothing was tuned."""
    path = plan.directory / FILE
    tuning = plan.grid.experiment.tuning
    if tuning is None or not path.is_file():
        return {}
    by_name = {condition.name: condition for condition in plan.grid.conditions}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["chosen"] == "1"]
    return {by_name[row["condition"]]: float(row[tuning.axis]) for row in rows if row["condition"] in by_name}
