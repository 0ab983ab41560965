"""Validates the definition of an experiment before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.core.execution import tuning
from experiments.core.execution.planner import Planner, run_of
from experiments.core.execution.tasks import Task
from experiments.core.execution.workers import Pool
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, nearest
from experiments.core.grid.catalogue import found_in
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan
from experiments.core.verdicts.results import derive, functions_of

if TYPE_CHECKING:
    from lightning import LightningModule

STAGES = ("train", "val", "test")


def validate(plan: Plan, planner: Planner, find_figure: Callable[[str, str], object]) -> None:
    """Validate figures, configs and measures of a definition before its first run.

    Args:
        plan: what is going to be run.
        planner: of this plan.
        find_figure: looks up a figure by the names of the experiment and of the figure; raises a UserError.

    Raises:
        UserError: the first mistake; its message begins with a file or a condition.
    """
    name, experiment = plan.grid.name, plan.grid.experiment
    with found_in(f"experiments/{name}/experiment.py"):
        for figure in ["forest", *experiment.figures, *(claim.figure for claim in experiment.claims if claim.figure)]:
            find_figure(name, figure)
        logged, tuned = dict[Condition, list[str]](), tuning.untuned(plan)
    for condition in plan.grid.conditions:
        with found_in(planner.place_of(condition)):
            for value in tuning.candidates(plan, condition) if condition in tuned else (0.0,):
                logged[condition] = _logged(planner.build(condition, value))
    with found_in(f"experiments/{name}/experiment.py"):
        _validate_measures(plan, logged)


def _validate_measures(plan: Plan, logged: Mapping[Condition, Sequence[str]]) -> None:
    """Look up every measure of the definition, except those that only a run can record."""
    functions = functions_of(plan.grid.name)
    for place, measure, conditions in _asked_for(plan):
        found = [name for condition in conditions for name in logged[condition]]
        known = list(dict.fromkeys([*functions, *found]))
        stage, slash, _ = measure.partition("/")
        recorded = slash and (stage not in STAGES or not found)
        if not recorded and not any(measure == name or (slash and measure.startswith(f"{name}/")) for name in known):
            raise UserError(f"{place}unknown measure '{measure}'; {nearest(measure, known)}")


class FirstRuns:
    """Looks for the measures of a definition in the first runs that should record them.

    Args:
        plan: what is run.
        pool: its workers compute what is derived.
    """

    def __init__(self, plan: Plan, pool: Pool) -> None:
        self._name, self._pool = plan.grid.name, pool
        self._conditions = {condition.name: condition for condition in plan.grid.conditions}
        # For each measure, the conditions without a finished run.
        self._open: dict[str, set[Condition]] = {}
        for _, measure, conditions in _asked_for(plan):
            self._open.setdefault(measure, set()).update(conditions)

    def look(self, task: Task) -> None:
        """Look for the measures in a finished run.

        Raises:
            UserError: a measure raises an error, or no condition that should have recorded it has.
        """
        condition, result = self._conditions.get(task.directory.parent.name), run_directory.read_result(task.directory)
        if condition is None or result is None or result["status"] != "ok":
            return
        run, derived = run_of(condition, task, result), functions_of(self._name)
        asked = [measure for measure, conditions in self._open.items() if condition in conditions]
        self._pool.map(derive, [(self._name, asked, [run])] if derived.keys() & {*asked} else [])
        for measure in asked:
            self._open[measure].discard(condition)
            if measure in derived or measure in run.recorded:
                del self._open[measure]
            elif not self._open[measure]:
                near = nearest(measure, [*derived, *run.recorded])
                raise UserError(f"experiments/{self._name}/experiment.py: unknown measure '{measure}'; {near}")


def _asked_for(plan: Plan) -> Iterator[tuple[str, str, list[Condition]]]:
    """Yield each measure that the definition names: its place, its name and its conditions."""
    experiment, conditions = plan.grid.experiment, list(plan.grid.conditions)
    for claim in experiment.claims:
        if claim.measure and not claim.check:
            used = [plan.grid.find(overrides, claim.id) for overrides in claim.used_conditions]
            yield from ((f"claim {claim.id}: ", name, used) for name in (claim.measure, claim.arrived) if name)
    if conditions:
        yield from (("", name, conditions) for name in experiment.measures)
        if experiment.tuning is not None:
            yield "tuning: ", experiment.tuning.minimize.removeprefix("-"), conditions


def _logged(module: LightningModule) -> list[str]:
    """Return the names of the metrics that a module of this project logs; empty for any other module."""
    from lightning_modules.base import LectureModule

    if not isinstance(module, LectureModule):
        return []
    return ["lr", *(str(name) for stage in STAGES for name in module.metrics_of(stage))]
