"""Computes the values per seed of every claim from runs and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.core.definitions import CHECKED, Claim
from experiments.core.files.errors import UserError, nearest
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan
from experiments.core.grid.runs import Run
from experiments.core.verdicts.inference import SeedValues, with_divergence
from experiments.core.verdicts.results import functions_of, value_of
from experiments.core.verdicts.statistics import Floats


def check_contrasts(experiment: str, claims: Sequence[Claim]) -> None:
    """Look up the contrasts of all claims before anything is trained.

    Raises:
        UserError: a contrast does not exist.
    """
    known = functions_of(experiment)
    for claim in claims:
        if claim.contrast and claim.contrast not in known:
            raise UserError(f"unknown contrast '{claim.contrast}'; {nearest(claim.contrast, known)}")


def collect(plan: Plan, runs: Sequence[Run], checks: Mapping[str, Sequence[Run]]) -> dict[str, SeedValues]:
    """Return the values per seed of every claim that runs or checks decide, by the claim's id.

    Args:
        plan: what was run.
        runs: the finished runs.
        checks: the finished checks, by the name of their function.
    """
    by_place = {(run.condition, run.seed): run for run in runs}
    samples = {}
    for claim in plan.grid.experiment.claims:
        if claim.check:
            seeds = plan.seeds_of(claim)
            found = [check for check in checks.get(claim.check, ()) if check.seed in seeds]
            samples[claim.id] = _checked(claim, found, len(seeds))
        elif claim.measure:
            samples[claim.id] = _measured(plan, claim, by_place)
    return samples


def _checked(claim: Claim, checks: Sequence[Run], wanted: int) -> SeedValues:
    measure = "error" if claim.kind in CHECKED else claim.measure
    unknown = next((check for check in checks if measure not in check.recorded), None)
    if unknown is not None:
        raise UserError(f"claim {claim.id}: unknown measure '{measure}'; {nearest(measure, unknown.recorded)}")
    missing = wanted - len(checks)
    return SeedValues(
        np.array([check[measure] for check in checks]),
        draws=_total("draws", checks),
        counterexamples=_total("counterexamples", checks),
        resolution=claim.resolution,
        undecidable=f"{missing} of {wanted} checks failed or are missing" if missing > 0 else "",
    )


def _total(name: str, checks: Sequence[Run]) -> int:
    return int(sum(check.recorded.get(name, 0.0) for check in checks))


def _measured(plan: Plan, claim: Claim, by_place: Mapping[tuple[Condition, int], Run]) -> SeedValues:
    conditions = [plan.grid.find(overrides, claim.id) for overrides in claim.used_conditions]
    table = [[by_place.get((condition, seed)) for condition in conditions] for seed in plan.seeds_of(claim)]
    complete = [[run for run in row if run is not None] for row in table if None not in row]
    missing = len(table) - len(complete)
    undecidable = f"{missing} of {len(table)} seeds have a run that failed or is missing" if missing else ""
    if not complete:
        return SeedValues(np.empty(0), undecidable=undecidable)
    diverged = np.array([[run.status == "diverged" for run in row] for row in complete])
    values = np.array([[value_of(plan.grid.name, claim.measure, run) for run in row] for row in complete])
    arrived = (
        [[value_of(plan.grid.name, claim.arrived, run) for run in row] for row in complete] if claim.arrived else []
    )
    columns = [with_divergence(claim, values[:, k], diverged[:, k]) for k in range(len(conditions))]
    return SeedValues(
        _per_seed(plan, claim, complete, columns),
        arms=(columns[0], columns[1]) if claim.minus is not None else None,
        n_diverged=int(diverged.any(axis=1).sum()),
        arrived=tuple(np.array(arrived).T),
        n_censored=int((np.array(arrived) == 0).sum()),
        overlap=_overlap(claim, complete),
        resolution=_resolution(claim, complete),
        undecidable=undecidable,
    )


def _per_seed(plan: Plan, claim: Claim, rows: Sequence[Sequence[Run]], columns: Sequence[Floats]) -> Floats:
    if claim.contrast:
        contrast = functions_of(plan.grid.name)[claim.contrast]
        points = [list(zip(row, values, strict=True)) for row, values in zip(rows, np.stack(columns).T, strict=True)]
        with catalogue.blamed_on(contrast):
            return np.array([float(contrast([(run, float(value)) for run, value in row])) for row in points])
    return columns[0] - columns[1] if claim.minus is not None else columns[0]


def _on_test_sample(claim: Claim) -> bool:
    # `test/…` is recorded; a derived measure is called `test_…`.
    return claim.measure.startswith(("test/", "test_"))


def _overlap(claim: Claim, rows: Sequence[Sequence[Run]]) -> float:
    """Return n_test / n_train if the measure uses test samples that seeds share, else 0."""
    data = rows[0][0].result.get("data") or {}
    if not _on_test_sample(claim) or not data or data["disjoint_test"]:
        return 0.0
    return float(data["test"] / data["train"])


def _resolution(claim: Claim, rows: Sequence[Sequence[Run]]) -> float | None:
    """Return the resolution of a claim; for an accuracy the default is one test sample."""
    data = rows[0][0].result.get("data") or {}
    if claim.resolution is None and claim.measure == "test/accuracy" and data:
        return 1 / float(data["test"])
    return claim.resolution
