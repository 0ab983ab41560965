"""Runs a command for one experiment, or for all: plan it, lock its directory, submit its tasks, finish it.

With `all`, the tasks of all experiments are submitted to the same workers, in the order of the experiments; each
experiment is judged when its own tasks are done, while the workers go on with the next.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import filelock

from experiments.core.execution.workers import Pool
from experiments.core.files.errors import TERMINATED, UserError, explain, is_out_of_memory
from experiments.core.files.run_directory import locked
from experiments.core.grid import catalogue
from experiments.core.grid.plan import Options, Plan, make_plan
from experiments.core.training import allow_list
from experiments.core.verdicts.per_seed import check_contrasts
from experiments.core.verdicts.verdicts import check_claims

T = TypeVar("T")

# Finishes an experiment whose tasks are submitted; returns the exit code.
Finish = Callable[[], int]


def options_of(options: argparse.Namespace) -> Options:
    """Return the options of a command line, and set the import allow-list."""
    allow_list.allow(options.allow_import)
    return Options(
        scale=options.scale,
        seeds=options.seeds,
        jobs=options.jobs,
        logger=options.logger,
        data=options.data,
        first_seed=options.first_seed,
        overrides=options.overrides,
        allow_import=allow_list.allowed(),
        runs=Path(options.runs),
    )


def for_each(name: str, choice: Options, begin: Callable[[Plan, Pool, int], Finish]) -> int:
    """Begin one experiment, or every one, then finish them one by one.

    With `all`, report an experiment that cannot be done, continue, and return 2 at the end.

    Args:
        name: the name of the experiment, or `all`.
        choice: the options of the call.
        begin: submits the tasks of an experiment to the pool, with a rank, and returns the function that finishes it.

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

        started = {
            each: _attempt(each, functools.partial(begin_locked, each, rank), one_of_many)
            for rank, each in enumerate(names)
        }
        codes = [finish and _attempt(each, finish, one_of_many) for each, finish in started.items()]
    return max(2 if code is None else code for code in codes)


def _attempt(name: str, action: Callable[[], T], one_of_many: bool) -> T | None:
    """Call a function for one experiment; if it is one of many, print its error and return None."""
    try:
        return action()
    # An error of one experiment does not stop the others.
    except Exception as error:
        if not one_of_many or isinstance(error, OSError) or is_out_of_memory(error):
            raise
        print(f"error: {name}: {explain(error)[0]}", file=sys.stderr)
        return None


def _locked_plan(name: str, choice: Options, lock: contextlib.ExitStack) -> Plan:
    """Plan an experiment, and lock its directory until `lock` is closed.

    Raises:
        UserError: an option is wrong, or another process has locked the directory.
    """
    plan = make_plan(name, choice)
    with catalogue.blamed_on(f"experiments/{name}/experiment.py"):
        check_claims(plan.grid.experiment.claims)
    with catalogue.found_in(f"experiments/{name}/measures.py"):
        check_contrasts(name, plan.grid.experiment.claims)
    try:
        lock.enter_context(locked(plan.directory, wait=False))
    except filelock.Timeout:
        text = f"another call is at '{plan.grid.name}' in '{plan.directory}': wait for it to end"
        raise UserError(text) from None
    for path in plan.directory.rglob(".*.tmp*"):  # left by a killed process
        path.unlink(missing_ok=True)
    return plan


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """On SIGTERM, stop the workers and exit with the code that a scheduler expects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
