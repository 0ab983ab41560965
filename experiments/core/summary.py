"""From finished runs to `results.csv`, `verdicts.json`, figures, dashboards and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.core import records, samples, verdicts
from experiments.core.errors import UserError
from experiments.core.grid import Condition
from experiments.core.plan import Plan, check_tasks
from experiments.core.results import Results, Run, derive, table
from experiments.core.workers import Pool

VERDICTS = "verdicts.json"


def finished_runs(plan: Plan, chosen: Mapping[Condition, float]) -> list[Run]:
    """Read every finished run of the grid, in the order of conditions and seeds."""
    found = []
    for condition, seeds in plan.run_seeds.items():
        settings = {**plan.grid.settings(condition), **plan.override_values}
        if condition in chosen:
            settings[plan.tuned_axis] = chosen[condition]
        for seed in seeds:
            found.append(_read(condition, seed, plan.directory / condition.name / f"seed={seed}", settings))
    return [run for run in found if run is not None]


def finished_checks(plan: Plan) -> dict[str, list[Run]]:
    """Read every finished check, by the name of its function."""
    found: dict[str, list[Run]] = {}
    for task in check_tasks(plan):
        run = _read(Condition(()), task.seed, task.directory, {})
        if run is not None:
            found.setdefault(task.check.partition(":")[2], []).append(run)
    return found


def _read(condition: Condition, seed: int, directory: Path, settings: Mapping[str, object]) -> Run | None:
    result = records.read_result(directory)
    if result is None or result.get("status") not in ("ok", "diverged"):
        return None
    return Run(condition, seed, directory, settings, result)  # type: ignore[arg-type]


def judge(plan: Plan, tuned: Mapping[Condition, float], pool: Pool) -> Results:
    """Write `results.csv` and `verdicts.json` from what the runs left.

    Args:
        plan: what was run.
        tuned: what tuning chose.
        pool: its workers derive the measures, if it has any.

    Raises:
        UserError: no run is finished, or a measure does not exist.
    """
    runs, checks = finished_runs(plan, tuned), finished_checks(plan)
    if not (runs or checks):
        raise UserError(f"'{plan.directory}' holds no finished run; first: {plan.command}")
    claims = [claim for claim in plan.grid.experiment.claims if claim.measure and not claim.check]
    shown = list(dict.fromkeys([*plan.grid.experiment.measures, *(claim.measure for claim in claims)]))
    runs = _derived(plan.grid.name, [*shown, *(claim.arrived for claim in claims if claim.arrived)], runs, pool)
    frame = table(plan.grid.name, runs, shown, checks)
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
