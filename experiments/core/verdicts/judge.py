"""From finished runs to `results.csv` and `verdicts.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, say
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan
from experiments.core.grid.runs import Found, Run
from experiments.core.verdicts import per_seed, verdicts
from experiments.core.verdicts.results import Map, Results, derive, table
from experiments.core.verdicts.verdict import write_verdicts


def judge_runs(plan: Plan, found: Found, tuned: Mapping[Condition, float], call: Map) -> Results:
    """Write `results.csv` and `verdicts.json` from the finished runs.

    Args:
        plan: what was run.
        found: its finished runs and checks.
        tuned: what tuning chose.
        call: calls a function once for each tuple of arguments, for example `Pool.map`.

    Raises:
        UserError: no run is finished, or a measure does not exist.
    """
    runs, checks = found.runs, found.checks
    if found.outdated:
        say(f"outdated, and not judged: {found.outdated} runs or checks of another version; again: {plan.command}")
    if not (runs or checks):
        raise UserError(f"'{plan.directory}' holds no finished run; first: {plan.command}")
    claims = [claim for claim in plan.grid.experiment.claims if claim.measure and not claim.check]
    shown = list(dict.fromkeys([*plan.grid.experiment.measures, *(claim.measure for claim in claims)]))
    runs = _derived(plan.grid.name, [*shown, *(claim.arrived for claim in claims if claim.arrived)], runs, call)
    frame = table(plan.grid.name, runs, shown, checks, complete=not found.outdated)
    run_directory.write_atomically(plan.directory / "results.csv", frame.to_csv(index=False))
    collected = per_seed.collect(plan, runs, checks)
    judged = verdicts.judge(
        plan.grid.name,
        plan.grid.experiment.claims,
        collected,
        official=plan.official,
        scope=f"{plan.grid.data}, {plan.grid.scale}",
        verdicts=plan.gives_verdicts,
    )
    write_verdicts(plan.directory / run_directory.VERDICTS, judged)
    return Results(plan, tuple(runs), frame, tuple(judged), collected, tuned, checks)


def _derived(experiment: str, names: Sequence[str], runs: Sequence[Run], call: Map) -> list[Run]:
    parts = [runs[start : start + 10] for start in range(0, len(runs), 10)]
    found = call(derive, [(experiment, list(dict.fromkeys(names)), part) for part in parts])
    return [
        replace(run, derived=one)
        for part, ones in zip(parts, found, strict=True)
        for run, one in zip(part, ones, strict=True)
    ]
