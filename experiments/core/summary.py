"""From finished runs to `results.csv`, `verdicts.json`, figures, dashboards and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.core import records, samples, verdicts
from experiments.core.errors import UserError, say
from experiments.core.execution import Task
from experiments.core.grid import Condition
from experiments.core.plan import Plan, Planner, check_tasks
from experiments.core.results import Results, Run, derive, table
from experiments.core.workers import Pool

VERDICTS = "verdicts.json"


@dataclass(frozen=True)
class Found:
    """The finished runs and checks in the directory of a plan."""

    # Those that the plan would make today, in the order of conditions and seeds.
    runs: list[Run]
    # The same, by the name of their function.
    checks: dict[str, list[Run]]
    # How many others there are, made by another version of the config.
    outdated: int


def find(plan: Plan, chosen: Mapping[Condition, float]) -> Found:
    """Read what is finished, and tell apart by its hash what does not fit the plan.

    Args:
        plan: what was run.
        chosen: what tuning chose.
    """
    planner, runs, checks, outdated = Planner(plan), [], dict[str, list[Run]](), 0
    for condition, tasks in planner.run_tasks(chosen).items():
        for task, result in _finished(tasks):
            if result["config_hash"] == task.config_hash:
                runs.append(run_of(condition, task, result))
            else:
                outdated += 1
    for task, result in _finished(check_tasks(plan)):
        if result["config_hash"] == task.config_hash:
            run = Run(Condition(()), task.seed, task.directory, {}, result)
            checks.setdefault(task.check.partition(":")[2], []).append(run)
        else:
            outdated += 1
    return Found(runs, checks, outdated)


def run_of(condition: Condition, task: Task, result: Mapping[str, Any]) -> Run:
    """A finished run of a condition."""
    # The name of a config file is the condition's, and stands in no config.
    named = {key: value for key, value in condition.items if key == "config"}
    return Run(condition, task.seed, task.directory, {**result.get("settings", {}), **named}, result)


def _finished(tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
    for task in tasks:
        result = records.read_result(task.directory)
        if result is not None and result.get("status") in ("ok", "diverged"):
            yield task, {"config_hash": "", **result}


def judge(plan: Plan, tuned: Mapping[Condition, float], pool: Pool) -> Results:
    """Write `results.csv` and `verdicts.json` from what the runs left.

    Args:
        plan: what was run.
        tuned: what tuning chose.
        pool: its workers derive the measures, if it has any.

    Raises:
        UserError: no run is finished, or a measure does not exist.
    """
    found = find(plan, tuned)
    runs, checks = found.runs, found.checks
    if found.outdated:
        say(f"outdated, and not judged: {found.outdated} runs or checks of another version; again: {plan.command}")
    if not (runs or checks):
        raise UserError(f"'{plan.directory}' holds no finished run; first: {plan.command}")
    claims = [claim for claim in plan.grid.experiment.claims if claim.measure and not claim.check]
    shown = list(dict.fromkeys([*plan.grid.experiment.measures, *(claim.measure for claim in claims)]))
    runs = _derived(plan.grid.name, [*shown, *(claim.arrived for claim in claims if claim.arrived)], runs, pool)
    frame = table(plan.grid.name, runs, shown, checks, complete=not found.outdated)
    records.write_atomically(plan.directory / "results.csv", frame.to_csv(index=False))
    collected = samples.collect(plan, runs, checks)
    judged = verdicts.judge(
        plan.grid.name,
        plan.grid.experiment.claims,
        collected,
        official=plan.official,
        scope=f"{plan.grid.data}, {plan.grid.scale}",
        verdicts=plan.gives_verdicts,
    )
    verdicts.write_verdicts(plan.directory / VERDICTS, judged)
    return Results(plan, tuple(runs), frame, tuple(judged), collected, tuned, checks)


def _derived(experiment: str, names: Sequence[str], runs: Sequence[Run], pool: Pool) -> list[Run]:
    parts = [runs[start : start + 10] for start in range(0, len(runs), 10)]
    found = pool.map(derive, [(experiment, list(dict.fromkeys(names)), part) for part in parts])
    return [
        replace(run, derived=one)
        for part, ones in zip(parts, found, strict=True)
        for run, one in zip(part, ones, strict=True)
    ]
