"""`run`: from an experiment's definition to its verdicts and report, running only what is not there yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from experiments.core import tuning
from experiments.core.errors import UserError
from experiments.core.execution import Pool, Task
from experiments.core.grid import Condition
from experiments.core.plan import Options, Plan, Planner, check_tasks, make_plan
from experiments.core.progress import follow
from experiments.core.samples import check_contrasts
from experiments.core.summary import VERDICTS, finished_runs


def run(name: str, choice: Options) -> int:
    """Run what is missing of an experiment, then judge its claims and draw its report.

    Returns:
        0, or 1 if a run failed.
    """
    plan = make_plan(name, choice)
    check_contrasts(name, plan.grid.experiment.claims)
    print(f"{plan.title}: {plan.directory}")
    with Pool(plan.jobs) as pool:
        if not (plan.directory / VERDICTS).is_file():
            pool.start()  # beside the imports of this process
        checks = check_tasks(plan)
        planner = Planner(plan)
        trials = tuning.trials(plan, planner)
        done = run_missing(pool, planner, [task for trial in trials for task in trial.tasks], "tuning")
        chosen = tuning.choose(plan, trials)
        tasks = [*run_tasks(plan, planner, chosen), *checks]
        done += run_missing(pool, planner, tasks, "runs")
        # Where everything failed there is nothing to judge.
        if not done["failed"] or finished_runs(plan, chosen):
            show(plan, chosen, pool, redraw=done.total() > 0)
    return 1 if done["failed"] else 0


def report(name: str, choice: Options) -> int:
    """Judge and draw again from the results that are there, without running anything."""
    plan = make_plan(name, choice)
    with Pool(plan.jobs) as pool:
        show(plan, tuning.read_chosen(plan), pool, redraw=True)
    return 0


def keep(name: str, choice: Options) -> int:
    """Make the official results that are there the reference of their experiment.

    Raises:
        UserError: some runs are missing, or were made by another version of the config.
    """
    from experiments.core import reference, summary

    plan = make_plan(name, choice)
    chosen = tuning.read_chosen(plan)
    states = Counter(task.state for task in [*run_tasks(plan, Planner(plan), chosen), *check_tasks(plan)])
    if states.total() > states["finished"]:
        missing = states.total() - states["finished"]
        raise UserError(f"{missing} of {states.total()} runs are missing or outdated; first: {plan.command}")
    for path in reference.keep(summary.judge(plan, chosen)):
        print(path)
    return 0


def show(plan: Plan, chosen: Mapping[Condition, float], pool: Pool, redraw: bool) -> None:
    """Judge the claims and print the verdicts; draw figures and report if they are wanted or anything has changed."""
    from experiments.core import dashboards, figures, summary
    from experiments.core.report import page, terminal

    before = _judged(plan)
    results = summary.judge(plan, chosen)
    path = plan.directory / page.REPORT
    if redraw or before != _judged(plan) or not path.is_file():
        drawn = figures.draw(results, pool)
        dashboards.publish(results, drawn)
        page.write_report(results, drawn)
        page.write_index(plan.directory.parent)
    terminal.print_verdicts(results)
    print(path)


def _judged(plan: Plan) -> list[bytes]:
    paths = [plan.directory / name for name in ("results.csv", VERDICTS)]
    return [path.read_bytes() for path in paths if path.is_file()]


def run_tasks(plan: Plan, planner: Planner, chosen: Mapping[Condition, float]) -> list[Task]:
    """Every run of the grid, with the values that tuning chose."""
    axis = plan.grid.experiment.tuning.axis if plan.grid.experiment.tuning else ""
    return [
        task
        for condition, seeds in plan.run_seeds.items()
        for task in planner.tasks(condition, seeds, {axis: chosen.get(condition, 0.0)}, plan.directory / condition.name)
    ]


def run_missing(pool: Pool, planner: Planner, tasks: Sequence[Task], title: str) -> Counter[str]:
    """Run the tasks that have no valid result yet, and count how they ended."""
    states = {task: task.state for task in tasks}
    count = Counter(states.values())
    if count["outdated"]:
        print(f"{count['outdated']} {title} failed or were made by another version of the config: run again")
    missing = [task for task, state in states.items() if state != "finished"]
    if count["finished"]:
        print(f"{title}: {count['finished']} of {len(tasks)} are there already")
    if missing:
        planner.load_data()
    return Counter(outcome.status for _, outcome in follow(pool.run(missing), len(missing), title))
