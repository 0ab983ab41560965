"""`run`: from an experiment's definition to its verdicts and report, running only what is not there yet."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar

from experiments.core import catalogue, records, tuning, verification
from experiments.core.errors import TERMINATED, UserError
from experiments.core.execution import Pool, Task, pending
from experiments.core.grid import FIRST_SEED, Condition
from experiments.core.locks import locked
from experiments.core.plan import Options, Plan, Planner, check_tasks, make_plan
from experiments.core.progress import follow
from experiments.core.samples import check_contrasts
from experiments.core.summary import VERDICTS, find

if TYPE_CHECKING:
    from experiments.core.reference import Reference

T = TypeVar("T")


def run(name: str, choice: Options) -> int:
    """Run what is missing of an experiment, or of all, then judge the claims and draw the report.

    Returns:
        0, or 1 if a run failed.
    """
    return _tied(name, choice, lambda pool: _run_each(name, choice, pool))


def report(name: str, choice: Options) -> int:
    """Judge and draw again from the results that are there, without running anything.

    Of all experiments, those that were run.
    """

    def if_run(plan: Plan, pool: Pool) -> int:
        return _report(plan, pool) if any(plan.directory.iterdir()) or name != catalogue.ALL else 0

    return _tied(name, choice, lambda pool: _each(name, choice, pool, if_run))


def _tied(name: str, choice: Options, action: Callable[[Pool], int]) -> int:
    from experiments.core.report import index

    code = _with_workers(choice, action)
    print(index.write(choice.runs, draw=name == catalogue.ALL))
    return code


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let a scheduler's SIGTERM end the workers too, and this process with the exit code that it expects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _with_workers(choice: Options, action: Callable[[Pool], int]) -> int:
    with _ending_on_sigterm(), Pool(choice.jobs) as pool:
        return action(pool)


def _names(name: str) -> Sequence[str]:
    return catalogue.names() if name == catalogue.ALL else [name]


@contextlib.contextmanager
def _one_of(name: str, each: str, codes: list[int]) -> Iterator[None]:
    """Of many experiments, one that cannot be done costs a message and the exit code 2, and no other experiment."""
    try:
        yield
    except UserError as error:
        if name != catalogue.ALL:
            raise
        print(f"error: {each}: {error}", file=sys.stderr)
        codes.append(2)


def _each(name: str, choice: Options, pool: Pool, action: Callable[[Plan, Pool], int]) -> int:
    """Do the same with one experiment, or with every one on the same workers."""
    codes = [0]
    for each in _names(name):
        with _one_of(name, each, codes), _held(each, choice) as plan:
            codes.append(action(plan, pool))
    return max(codes)


@contextlib.contextmanager
def _held(name: str, choice: Options) -> Iterator[Plan]:
    """Plan an experiment, and hold its directory while no other call does."""
    plan = make_plan(name, choice)
    check_contrasts(name, plan.grid.experiment.claims)
    with locked(plan.directory, wait=False) as held:
        if not held:
            raise UserError(f"another call is at '{plan.grid.name}' in '{plan.directory}': wait for it to end")
        for path in plan.directory.rglob(".*.tmp*"):  # of a call that was killed
            path.unlink(missing_ok=True)
        yield plan


# What is done in steps, between which other things can be done; in the end it gives something.
Steps = Generator[None, None, T]


def _begun(steps: Steps[T]) -> Steps[T]:
    """Do the first step."""
    next(steps)
    return steps


def _to_end(steps: Steps[T]) -> T:
    """Do the steps that are left."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def _run_each(name: str, choice: Options, pool: Pool) -> int:
    """Run one experiment, or every one: while the last runs of one end and it is judged, the workers begin the next."""
    codes = [0]
    before: tuple[str, Steps[int]] | None = None
    for each in [*_names(name), None]:
        steps = None
        if each is not None:
            with _one_of(name, each, codes):
                steps = _begun(_run(each, choice, pool))
        if before is not None:
            with _one_of(name, before[0], codes):
                codes.append(_to_end(before[1]))
        before = None
        if each is not None and steps is not None:
            with _one_of(name, each, codes):
                next(steps)
                before = each, steps
    return max(codes)


def _run(name: str, choice: Options, pool: Pool) -> Steps[int]:
    with _held(name, choice) as plan:
        if not (plan.directory / VERDICTS).is_file():
            pool.start()  # beside the imports of this process
        training = _training(plan, pool)
        next(training)
        yield
        print(f"{plan.title}: {plan.directory}")
        next(training)
        yield
        chosen, done = _to_end(training)
        # Where everything failed there is nothing to judge.
        if not done["failed"] or find(plan, chosen).runs:
            show(plan, chosen, pool, redraw=done.total() > 0)
        return 1 if done["failed"] else 0


def _training(plan: Plan, pool: Pool, only_exact: bool = False) -> Steps[tuple[dict[Condition, float], Counter[str]]]:
    """Run what is missing; give what tuning chose, and how many runs and checks ended how.

    The first step ends when something has been scheduled, the second when everything has.
    """
    exact = {claim.check for claim in plan.grid.experiment.claims if claim.kind == "exact"}
    checks = [task for task in check_tasks(plan) if not only_exact or task.check.partition(":")[2] in exact]
    planner = Planner(plan)
    trials = [] if only_exact else tuning.trials(plan, planner)
    tuned = begin_missing(pool, planner, [task for trial in trials for task in trial.tasks], "tuning")
    if trials:
        yield
    done = tuned()
    chosen = tuning.choose(plan, trials)
    tasks = [] if only_exact else run_tasks(planner, chosen)
    finish = begin_missing(pool, planner, [*tasks, *checks], "runs")
    if not trials:
        yield
    yield
    return chosen, done + finish()


def _report(plan: Plan, pool: Pool) -> int:
    show(plan, tuning.read_chosen(plan), pool, redraw=True)
    return 0


def verify(name: str, choice: Options, *, only_exact: bool, keep_answers: bool) -> int:
    """Run an experiment, or every one, again beside its results, and compare with the reference.

    Args:
        name: of the experiment, or `all`.
        choice: with the official first seed the same seeds are run from nothing; another is another seed set.
        only_exact: only the exact claims, which need no training and must come out on every machine.
        keep_answers: write the comparison with another seed set into the experiment's folder.

    Returns:
        0, or 1 if some claim came out differently.

    Raises:
        UserError: what would be run is not what the reference is of, or an answer is to be kept that nobody keeps.
    """
    if choice.scale != "quick" or choice.seeds is not None or choice.data is not None:
        raise UserError("verify runs what the reference is of: it takes no --scale, --seeds or --data")
    if keep_answers and choice.first_seed == FIRST_SEED:
        raise UserError("--keep is about another seed set: give --first-seed as well")

    def compare(plan: Plan, pool: Pool) -> int:
        from experiments.core import reference
        from experiments.core.report import terminal

        if name == catalogue.ALL and not reference.exists(plan.grid.name):
            print(f"{plan.title}: no reference yet")
            return 0
        kept = reference.read(plan.grid.name)
        if not plan.other_seeds:
            records.empty(plan.directory)
        answers = _answers(plan, pool, kept, only_exact)
        records.write_json(plan.directory / "verify.json", [asdict(answer) for answer in answers])
        if keep_answers:
            reference.keep_other_seeds(plan, answers)
        terminal.print_answers(plan.title, answers)
        return 0 if verification.summarize(answers)["good"] else 1

    beside = replace(choice, runs=choice.runs / "verify")
    return _with_workers(choice, lambda pool: _each(name, beside, pool, compare))


def _answers(plan: Plan, pool: Pool, kept: Reference, only_exact: bool) -> list[verification.Answer]:
    from experiments.core import ledger, summary

    claims = [claim for claim in plan.grid.experiment.claims if claim.kind == "exact" or not only_exact]
    if not claims:
        return []
    chosen, done = _to_end(_training(plan, pool, only_exact))
    if done["failed"]:
        raise UserError(f"{done['failed']} runs failed")
    results = summary.judge(plan, chosen, pool)
    judged = [verdict for verdict in results.verdicts if verdict.id in {claim.id for claim in claims}]
    if plan.other_seeds:
        return verification.other_seeds(kept, claims, judged, results.samples)
    changed = ledger.other_arithmetic(kept.environment, results.environment)
    if changed:
        print(f"Other arithmetic than the reference's, so seeds that part ways are judged as other seeds: {changed}")
    return verification.same_seeds(kept, claims, judged, results.samples, same_arithmetic=not changed)


def keep(name: str, choice: Options) -> int:
    """Make the official results that are there the reference of their experiment, or of every one.

    Raises:
        UserError: some runs are missing, or were made by another version of the config.
    """
    return _with_workers(choice, lambda pool: _each(name, choice, pool, _keep))


def _keep(plan: Plan, pool: Pool) -> int:
    from experiments.core import reference, summary

    chosen = tuning.read_chosen(plan)
    states = Counter(task.state for task in [*run_tasks(Planner(plan), chosen), *check_tasks(plan)])
    if states.total() > states["finished"]:
        missing = states.total() - states["finished"]
        raise UserError(f"{missing} of {states.total()} runs are missing or outdated; first: {plan.command}")
    for path in reference.keep(summary.judge(plan, chosen, pool)):
        print(path)
    return 0


def show(plan: Plan, chosen: Mapping[Condition, float], pool: Pool, redraw: bool) -> None:
    """Judge the claims and print the verdicts; draw figures and report if they are wanted or anything has changed."""
    from experiments.core import dashboards, figures, summary
    from experiments.core.report import page, terminal

    before = _judged(plan)
    results = summary.judge(plan, chosen, pool)
    path = plan.directory / page.REPORT
    if redraw or before != _judged(plan) or not path.is_file():
        # If anything goes wrong from here on, no page of earlier results stands for these.
        path.unlink(missing_ok=True)
        drawn = figures.draw(results, pool)
        dashboards.publish(results, drawn)
        page.write_report(results, drawn)
    terminal.print_verdicts(results)
    print(path)


def _judged(plan: Plan) -> list[bytes]:
    paths = [plan.directory / name for name in ("results.csv", VERDICTS)]
    return [path.read_bytes() for path in paths if path.is_file()]


def run_tasks(planner: Planner, chosen: Mapping[Condition, float]) -> list[Task]:
    """Every run of the grid, with the values that tuning chose."""
    return [task for tasks in planner.run_tasks(chosen).values() for task in tasks]


def begin_missing(pool: Pool, planner: Planner, tasks: Sequence[Task], title: str) -> Callable[[], Counter[str]]:
    """Schedule the tasks that have no valid result yet; the call that is returned counts how they ended."""
    states = Counter(task.state for task in tasks)
    groups = pending(tasks)
    missing = [task for group in groups for task in group]
    if not all(task.check for task in missing):
        planner.load_data()
    results = pool.run(groups)

    def finish() -> Counter[str]:
        if states["outdated"]:
            print(f"{states['outdated']} {title} failed or were made by another version of the config: run again")
        if len(missing) < len(tasks):
            print(f"{title}: {len(tasks) - len(missing)} of {len(tasks)} are there already")
        return Counter(outcome.status for _, outcome in follow(results, len(missing), title))

    return finish
