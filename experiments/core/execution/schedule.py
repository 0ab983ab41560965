"""Submits the tasks of an experiment in stages, and shows their progress."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.core.execution import tuning
from experiments.core.execution.execute import Outcome, run_groups
from experiments.core.execution.planner import Planner, check_tasks
from experiments.core.execution.tasks import Task, pending
from experiments.core.execution.validation import FirstRuns, validate
from experiments.core.execution.workers import Pool
from experiments.core.files.errors import printable, say
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Plan


class Schedule:
    """Runs the tasks of one experiment: first the trials of its tuning, then runs and checks.

    The first stage is submitted at once.

    Args:
        plan: what to run.
        pool: the workers.
        rank: tasks of experiments with a lower rank go first.
        find_figure: see `validate`.
        only_exact: whether to submit nothing but the checks of exact claims.
    """

    def __init__(
        self,
        plan: Plan,
        pool: Pool,
        rank: int,
        find_figure: Callable[[str, str], object],
        *,
        only_exact: bool = False,
    ) -> None:
        self.plan, self.pool = plan, pool
        self.chosen: dict[Condition, float] = {}  # by tuning
        self._rank, self._only_exact, self._find_figure = rank, only_exact, find_figure
        self._planner = Planner(plan)
        check_tasks(plan)
        self._is_valid = only_exact  # a check builds nothing
        self._trials = [] if only_exact else tuning.trials(plan, self._planner)
        tasks = [task for trial in self._trials for task in trial.tasks]
        self._submitted = self._submit(tasks, "tuning") if tasks else self._submit_runs()

    def finish(self) -> Counter[str]:
        """Wait for each stage and submit the next one; return the counts of outcomes of the executed tasks."""
        ended = self._submitted()
        if self._trials:
            ended += self._submit_runs()()
        return ended

    def _submit_runs(self) -> Callable[[], Counter[str]]:
        self.chosen = tuning.choose(self.plan, self._trials)
        exact = {claim.check for claim in self.plan.grid.experiment.claims if claim.kind == "exact"}
        checks = check_tasks(self.plan)
        if self._only_exact:
            return self._submit([task for task in checks if task.check.partition(":")[2] in exact], "runs")
        return self._submit([*self._planner.all_tasks(self.chosen), *checks], "runs")

    def _submit(self, tasks: Sequence[Task], title: str) -> Callable[[], Counter[str]]:
        """Submit the tasks without a valid result; return a function that waits for them and shows their progress."""
        states = Counter(task.state for task in tasks)
        groups = pending(tasks)
        missing = [task for group in groups for task in group]
        if missing and not self._is_valid:
            validate(self.plan, self._planner, self._find_figure)
            self._is_valid = True
        if not all(task.check for task in missing):
            self._planner.load_data()
        results = run_groups(self.pool, groups, self._rank)

        def finish() -> Counter[str]:
            if states["outdated"]:
                say(f"{states['outdated']} {title} failed or were made by another version of the config: run again")
            if len(missing) < len(tasks):
                say(f"{title}: {len(tasks) - len(missing)} of {len(tasks)} are there already")
            return _follow(results, len(missing), title, FirstRuns(self.plan, self.pool).look)

        return finish


def _follow(
    results: Iterator[tuple[Task, Outcome]], total: int, title: str, look: Callable[[Task], None]
) -> Counter[str]:
    """Show each finished task, call `look` with it, and count the outcomes.

    On a terminal a bar shows it, elsewhere one line a task; failures always get a line.
    """
    console = Console(file=sys.stdout, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    ended = Counter[str]()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        handle = bar.add_task(title, total=total)
        for task, outcome in results:
            ended[outcome.status] += 1
            line = f"[{ended.total()}/{total}] {task.label}: {outcome.status} ({outcome.seconds:.1f} s)"
            line += f", alone: {outcome.alone}" if outcome.alone else ""
            if outcome.status == "failed":
                line += f"; {outcome.error}; see {task.directory / 'run.log'}"
            if outcome.status == "failed" or not console.is_terminal:
                bar.console.print(printable(line), markup=False, soft_wrap=True)
            bar.advance(handle)
            look(task)
    return ended
