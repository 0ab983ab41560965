"""`run`: train what is missing of an experiment, judge its claims, draw its report."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from experiments.core.commands.for_each import Finish, for_each, options_of
from experiments.core.execution.planner import find_finished
from experiments.core.execution.schedule import Schedule
from experiments.core.execution.workers import Pool
from experiments.core.files.errors import say
from experiments.core.files.run_directory import VERDICTS
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, Plan
from experiments.core.verdicts.judge import judge_runs
from experiments.core.verdicts.results import Results


def call(options: argparse.Namespace) -> int:
    """Answer the command `run`."""
    return run(options.experiment, options_of(options))


def run(name: str, choice: Options) -> int:
    """Run what is missing of an experiment, or of all, then judge the claims and draw the report.

    Returns:
        0, 1 if a run failed, 2 if one of all experiments could not be run.
    """
    code = for_each(name, choice, _begin_run)
    write_index(name, choice)
    return code


def _begin_run(plan: Plan, pool: Pool, rank: int) -> Finish:
    if not (plan.directory / VERDICTS).is_file():
        pool.start()  # beside the imports of this process
    schedule = Schedule(plan, pool, rank, find_figure)

    def finish() -> int:
        say(f"{plan.title}: {plan.directory}")
        ended = schedule.finish()
        # Where everything failed there is nothing to judge.
        if not ended["failed"] or find_finished(plan, schedule.chosen).runs:
            show(plan, schedule.chosen, pool, redraw=ended.total() > 0)
        return 1 if ended["failed"] else 0

    return finish


def find_figure(experiment: str, name: str) -> object:
    """Look up a figure of an experiment, or a shared one; see `report.figures.find_figure`."""
    # Imported while the workers start: it takes a second.
    from experiments.core.report import figures

    return figures.find_figure(experiment, name)


def judge(plan: Plan, chosen: Mapping[Condition, float], pool: Pool) -> Results:
    """Write `results.csv` and `verdicts.json` from the finished runs of a plan; see `judge_runs`."""
    return judge_runs(plan, find_finished(plan, chosen), chosen, pool.map)


def show(plan: Plan, chosen: Mapping[Condition, float], pool: Pool, redraw: bool) -> None:
    """Judge the claims and print the verdicts; draw figures and report if they are wanted or anything has changed."""
    from experiments.core.report import dashboards, figures, page, terminal

    before = _judged(plan)
    results = judge(plan, chosen, pool)
    path = plan.directory / page.REPORT
    if redraw or before != _judged(plan) or not path.is_file():
        # After an error below, no report of earlier results is left.
        path.unlink(missing_ok=True)
        drawn = figures.draw(results, pool.map)
        dashboards.publish(results, drawn)
        page.write_report(results, drawn)
    terminal.print_verdicts(results)
    say(path)


def _judged(plan: Plan) -> list[bytes]:
    paths = [plan.directory / name for name in ("results.csv", VERDICTS)]
    return [path.read_bytes() for path in paths if path.is_file()]


def write_index(name: str, choice: Options) -> None:
    """Write the index of all reports, and say where it is."""
    from experiments.core.report import index

    say(index.write(choice.runs, draw=name == catalogue.ALL))
