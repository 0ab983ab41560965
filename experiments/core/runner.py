"""`run`, `report`, `verify`, `reference`: from an experiment's definition to its verdicts and its report.

With `all`, the tasks of all experiments are submitted to the same workers, in the order of the experiments; each
experiment is judged when its own tasks are done, while the workers go on with the next.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar

import filelock

from experiments.core import catalogue, records, tuning, verification
from experiments.core.errors import TERMINATED, UserError, explain, is_out_of_memory, say
from experiments.core.execution import locked
from experiments.core.grid import FIRST_SEED, Condition
from experiments.core.plan import Options, Plan, Planner, check_tasks, make_plan
from experiments.core.samples import check_contrasts
from experiments.core.schedule import Schedule
from experiments.core.summary import VERDICTS, find
from experiments.core.workers import Pool

if TYPE_CHECKING:
    from experiments.core.definitions import Claim
    from experiments.core.reference import Reference

T = TypeVar("T")

# What is left to do for an experiment once its tasks are submitted; returns the exit code.
Finish = Callable[[], int]


def run(name: str, choice: Options) -> int:
    """Run what is missing of an experiment, or of all, then judge the claims and draw the report.

    Returns:
        0, 1 if a run failed, 2 if one of all experiments could not be run.
    """
    code = _for_each(name, choice, _begin_run)
    _write_index(name, choice)
    return code


def _begin_run(plan: Plan, pool: Pool, rank: int) -> Finish:
    if not (plan.directory / VERDICTS).is_file():
        pool.start()  # beside the imports of this process
    schedule = Schedule(plan, pool, rank)

    def finish() -> int:
        say(f"{plan.title}: {plan.directory}")
        ended = schedule.finish()
        # Where everything failed there is nothing to judge.
        if not ended["failed"] or find(plan, schedule.chosen).runs:
            show(plan, schedule.chosen, pool, redraw=ended.total() > 0)
        return 1 if ended["failed"] else 0

    return finish


def report(name: str, choice: Options) -> int:
    """Judge and draw again from the results that are there, without running anything.

    Of all experiments, those that were run.
    """

    def begin(plan: Plan, pool: Pool, _rank: int) -> Finish:
        if name == catalogue.ALL and not any(plan.directory.iterdir()):
            return lambda: 0

        def finish() -> int:
            show(plan, tuning.read_chosen(plan), pool, redraw=True)
            return 0

        return finish

    code = _for_each(name, choice, begin)
    _write_index(name, choice)
    return code


def _write_index(name: str, choice: Options) -> None:
    from experiments.core.report import index

    say(index.write(choice.runs, draw=name == catalogue.ALL))


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

    def begin(plan: Plan, pool: Pool, rank: int) -> Finish:
        from experiments.core import reference
        from experiments.core.report import terminal

        if name == catalogue.ALL and not reference.exists(plan.grid.name):
            say(f"{plan.title}: no reference yet")
            return lambda: 0
        kept = reference.read(plan.grid.name)
        if not plan.other_seeds:
            records.empty(plan.directory)
        claims = [claim for claim in plan.grid.experiment.claims if claim.kind == "exact" or not only_exact]
        schedule = Schedule(plan, pool, rank, only_exact) if claims else None

        def finish() -> int:
            answers, good = _answers(schedule, kept, claims) if schedule else ([], verification.GOOD)
            records.write_json(plan.directory / "verify.json", [asdict(answer) for answer in answers])
            if keep_answers:
                reference.keep_other_seeds(plan, answers)
            terminal.print_answers(plan.title, answers)
            return 0 if verification.summarize(answers, good)["good"] else 1

        return finish

    return _for_each(name, replace(choice, runs=choice.runs / "verify"), begin)


def _answers(
    schedule: Schedule, kept: Reference, claims: Sequence[Claim]
) -> tuple[list[verification.Answer], Collection[str]]:
    """How the claims came out again, and the answers with which all is well."""
    from experiments.core import ledger, summary

    failed = schedule.finish()["failed"]
    if failed:
        raise UserError(f"{failed} runs failed")
    results = summary.judge(schedule.plan, schedule.chosen, schedule.pool)
    judged = [verdict for verdict in results.verdicts if verdict.id in {claim.id for claim in claims}]
    if schedule.plan.other_seeds:
        return verification.other_seeds(kept, judged, results.samples), verification.GOOD
    changed = ledger.other_arithmetic(kept.environment, results.environment)
    if changed:
        say(f"Other arithmetic than the reference's, so seeds that part ways are judged as other seeds: {changed}")
    else:
        say("The arithmetic of the reference: compared seed by seed")
    answers = verification.same_seeds(kept, judged, results.samples, same_arithmetic=not changed)
    return answers, verification.GOOD_ELSEWHERE if changed else verification.GOOD


def keep(name: str, choice: Options) -> int:
    """Make the official results that are there the reference of their experiment, or of every one.

    Raises:
        UserError: some runs are missing, or were made by another version of the config.
    """
    return _for_each(name, choice, lambda plan, pool, _rank: functools.partial(_keep, plan, pool))


def _keep(plan: Plan, pool: Pool) -> int:
    from experiments.core import reference, summary

    chosen = tuning.read_chosen(plan)
    states = Counter(task.state for task in [*Planner(plan).all_tasks(chosen), *check_tasks(plan)])
    if states.total() > states["finished"]:
        missing = states.total() - states["finished"]
        raise UserError(f"{missing} of {states.total()} runs are missing or outdated; first: {plan.command}")
    for path in reference.keep(summary.judge(plan, chosen, pool)):
        say(path)
    return 0


def _for_each(name: str, choice: Options, begin: Callable[[Plan, Pool, int], Finish]) -> int:
    """Begin one experiment, or every one, then finish them one by one.

    With `all`, report an experiment that cannot be done, continue, and return 2 at the end.

    Args:
        name: the name of the experiment, or `all`.
        choice: the options of the call.
        begin: submits the tasks of an experiment to the pool, with a rank, and returns what is left to do.

    Returns:
        The largest of the exit codes.
    """
    one_of_many = name == catalogue.ALL
    names = catalogue.names() if one_of_many else [name]
    with _ending_on_sigterm(), contextlib.ExitStack() as locks, Pool(choice.jobs) as pool:

        def begin_locked(each: str, rank: int) -> Finish:
            with contextlib.ExitStack() as stack:
                finish = begin(_locked_plan(each, choice, stack), pool, rank)
                lock = locks.enter_context(stack.pop_all())

            def finish_and_unlock() -> int:
                with lock:
                    return finish()

            return finish_and_unlock

        begun = {
            each: _attempt(each, functools.partial(begin_locked, each, rank), one_of_many)
            for rank, each in enumerate(names)
        }
        codes = [finish and _attempt(each, finish, one_of_many) for each, finish in begun.items()]
    return max(2 if code is None else code for code in codes)


def _attempt(name: str, action: Callable[[], T], one_of_many: bool) -> T | None:
    """Do something for an experiment; of many, print what ended it and return None."""
    try:
        return action()
    # Whatever ends one experiment, the others go on.
    except Exception as error:
        if not one_of_many or isinstance(error, OSError) or is_out_of_memory(error):
            raise
        print(f"error: {name}: {explain(error)[0]}", file=sys.stderr)
        return None


def _locked_plan(name: str, choice: Options, lock: contextlib.ExitStack) -> Plan:
    """Plan an experiment, and hold its directory until `lock` is closed.

    Raises:
        UserError: what was chosen does not exist, or another call holds the directory.
    """
    plan = make_plan(name, choice)
    with catalogue.found_in(f"experiments/{name}/measures.py"):
        check_contrasts(name, plan.grid.experiment.claims)
    try:
        lock.enter_context(locked(plan.directory, wait=False))
    except filelock.Timeout:
        text = f"another call is at '{plan.grid.name}' in '{plan.directory}': wait for it to end"
        raise UserError(text) from None
    for path in plan.directory.rglob(".*.tmp*"):  # of a call that was killed
        path.unlink(missing_ok=True)
    return plan


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """On SIGTERM, stop the workers too, and end this process with the exit code that a scheduler expects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    say(path)


def _judged(plan: Plan) -> list[bytes]:
    paths = [plan.directory / name for name in ("results.csv", VERDICTS)]
    return [path.read_bytes() for path in paths if path.is_file()]
