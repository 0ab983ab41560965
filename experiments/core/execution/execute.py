"""Executes tasks on workers; each task leaves its files in its directory."""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from experiments.core.execution import memory
from experiments.core.execution.tasks import Group, Task, check_function
from experiments.core.execution.workers import ATTEMPTS, Pool
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.files.run_directory import locked
from experiments.core.grid import catalogue


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task."""

    status: str
    seconds: float  # of a stack, its share
    error: str = ""
    # Why the task was trained alone although a stack was planned.
    alone: str = ""


def run_groups(pool: Pool, pending: Sequence[Group], rank: int = 0) -> Iterator[tuple[Task, Outcome]]:
    """Submit groups of tasks, the longest first, and return an iterator over the tasks as they finish.

    Args:
        pool: executes them.
        pending: the groups.
        rank: groups of a lower rank go first.
    """
    ordered = sorted(pending, key=lambda group: -sum(task.cost for task in group))
    call = functools.partial(execute, budget=memory.available() / pool.jobs)
    return _results(pool, call, {pool.submit(call, group, rank=rank): group for group in ordered}, rank)


def _results(
    pool: Pool,
    call: Callable[..., list[Outcome] | str],
    waiting: dict[Future[list[Outcome] | str], Group],
    rank: int,
) -> Iterator[tuple[Task, Outcome]]:
    while waiting:
        wait(waiting, return_when=FIRST_COMPLETED)
        for future in [future for future in waiting if future.done()]:
            group, error = waiting.pop(future), future.exception()
            # Only the death of a worker is an exception here: `execute` catches the errors of a run.
            lost = Outcome("failed", 0.0, f"worker ended, {ATTEMPTS} times: {error}")
            ended = [lost] * len(group) if error is not None else future.result()
            if isinstance(ended, str):
                waiting |= {pool.submit(call, (task,), ended, rank=rank): (task,) for task in group}
            else:
                yield from zip(group, ended, strict=True)


def execute(group: Group, alone: str = "", *, budget: float = math.inf) -> list[Outcome] | str:
    """Run the tasks of a group in one fit; resume it if an earlier call was interrupted.

    Args:
        group: a task, or several seeds of a condition.
        alone: why this task runs alone although a stack was planned.
        budget: bytes that a fit may use; a larger stack is split into several fits.

    Returns:
        The outcome of each task; or the reason why they must run one by one, if none was run.
    """
    started = time.perf_counter()
    # A worker whose parent was killed may still be running this task.
    try:
        with locked(group[0].directory, wait=True):
            reason, error = _logged(group, lambda: _run(group, budget))
    except (OSError, UserError) as fault:  # not even the log could be written
        reason, error = "", " ".join(str(fault).split())
    if reason:
        return reason
    seconds = (time.perf_counter() - started) / len(group)
    return [Outcome(_status(task), seconds, error, alone) for task in group]


def _run(group: Group, budget: float) -> str:
    task = group[0]
    if task.check:
        _run_check(task)
        return ""
    from experiments.core.training.fit import fit_seeds

    return fit_seeds(task.config, [task.seed for task in group], [task.directory for task in group], budget)


def _status(task: Task) -> str:
    return str((run_directory.read_result(task.directory) or {}).get("status", "failed"))


def _logged(group: Group, work: Callable[[], str]) -> tuple[str, str]:
    """Call `work` with its output in the `run.log` of each task; return its value and its error message."""
    begun = _can_resume(group)
    for task in group:
        task.directory.mkdir(parents=True, exist_ok=True)
        # A resumed run keeps all files except its result.
        run_directory.empty(task.directory, only=run_directory.RESULT if begun else "")
    path, said, message = group[0].directory / "run.log", "", ""
    with path.open("a", encoding="utf-8") as log, _printing_to(log):
        try:
            said = work()
        except Exception as error:
            traceback.print_exc(file=log)
            text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            message = " ".join(text.split())
    for task in group[1:]:
        shutil.copyfile(path, task.directory / path.name)
    return said, message


def _can_resume(group: Group) -> bool:
    """Return whether an earlier call left a checkpoint to resume from."""
    if not (group[0].directory / run_directory.RESUME).is_dir():
        return False
    from experiments.core.training.resume import find_resume

    return find_resume(group[0].directory, " ".join(task.config_hash for task in group)) is not None


@contextlib.contextmanager
def _printing_to(log: object) -> Iterator[None]:
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):  # type: ignore[type-var]
        yield


def _run_check(task: Task) -> None:
    from experiments.core.files import environment

    check = check_function(task.check)
    with catalogue.blamed_on(check):
        numbers = check(task.seed)
        if not all(isinstance(value, int | float) for value in numbers.values()):
            raise TypeError(f"it returns {numbers!r}, and not numbers by name")
    content = {"status": "ok", "config_hash": task.config_hash, "seed": task.seed, "check": task.check}
    content |= {"measures": numbers, "environment": environment.describe("cpu")}
    run_directory.write_json(task.directory / run_directory.RESULT, content)
