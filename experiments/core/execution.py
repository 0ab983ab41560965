"""Tasks: the runs and checks of an experiment, executed on workers, whose truth is in the files they leave."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import math
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from filelock import FileLock

from experiments.core import catalogue, memory, records
from experiments.core.errors import UserError, check_known
from experiments.core.interrupts import interrupts_wait
from experiments.core.workers import ATTEMPTS, Pool


@dataclass(frozen=True)
class Task:
    """One run or one check: everything a worker needs, and how to tell that it is done.

    A check names a function (`module:function`) instead of a config.
    """

    label: str
    directory: Path
    seed: int
    config_hash: str
    # Resolved; but for the seed, which is the task's own.
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    check: str = ""
    # A file pattern that the logger leaves in a finished run.
    logger_files: str = "result.json"
    # Relative duration, for starting the longest first.
    cost: float = 0.0
    # Whether it may be trained in one fit with other seeds of its condition.
    stack: bool = True

    @property
    def state(self) -> str:
        """`finished`, `missing`, or `outdated`: made by another config, or by a run that failed."""
        result = records.read_result(self.directory)
        if result is None:
            return "missing"
        if result.get("status") == "interrupted":
            return "missing"
        same = result.get("config_hash") == self.config_hash and result.get("status") in ("ok", "diverged")
        if not same:
            return "outdated"
        return "finished" if any(self.directory.glob(self.logger_files)) else "missing"


@dataclass(frozen=True)
class Outcome:
    """How a task ended."""

    status: str
    seconds: float  # of a stack, its share
    error: str = ""
    # Why it was not trained in one fit with other seeds, if it was to be.
    alone: str = ""


# Seeds of one condition that are trained in one fit: above ten, a seed's share of the time hardly falls.
STACK = 10

Group = tuple[Task, ...]


def groups(tasks: Sequence[Task]) -> list[Group]:
    """Put the seeds of a condition together, ten at most; which ones depends on the tasks alone, done or not."""
    found: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        together = task.stack and not task.check
        key = (task.directory.parent, task.seed // STACK) if together else (task.directory,)
        found.setdefault(key, []).append(task)
    return [tuple(group) for group in found.values()]


def pending(tasks: Sequence[Task]) -> list[Group]:
    """The groups that have to be run: whole where one of its tasks is missing, unless its seeds are trained alone."""
    found: list[Group] = []
    for group in groups(tasks):
        missing = [task for task in group if task.state != "finished"]
        alone = any(
            (records.read_result(task.directory) or {}).get("stack") == 1 for task in group if task not in missing
        )
        found += [(task,) for task in missing] if alone else [group] if missing else []
    return found


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool) -> Iterator[None]:
    """Lock a directory against other processes; make it first, and remove it at the end if it is empty.

    The lock is a hidden file beside the directory, removed at the end. A killed process leaves the file, but no lock.

    Args:
        directory: the directory.
        wait: whether to wait until another process releases it.

    Raises:
        filelock.Timeout: another process holds it, and `wait` is false.
    """
    directory = directory.absolute()
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    file = directory.with_name(f".{directory.name}.lock")
    try:
        with FileLock(file, blocking=wait):
            try:
                yield
            finally:
                # Unlink before release: a process that waits for this file notices, and makes a new one.
                with contextlib.suppress(OSError):
                    file.unlink()
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


def run_groups(pool: Pool, pending: Sequence[Group], rank: int = 0) -> Iterator[tuple[Task, Outcome]]:
    """Submit groups of tasks, the longest first; the iterator that is returned gives each task as it ends.

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
            # Only the death of a worker arrives as an exception: `execute` catches what a run raises.
            lost = Outcome("failed", 0.0, f"worker ended, {ATTEMPTS} times: {error}")
            ended = [lost] * len(group) if error is not None else future.result()
            if isinstance(ended, str):
                waiting |= {pool.submit(call, (task,), ended, rank=rank): (task,) for task in group}
            else:
                yield from zip(group, ended, strict=True)


def execute(group: Group, alone: str = "", *, budget: float = math.inf) -> list[Outcome] | str:
    """Run the tasks of a group in one fit: from nothing, or from where an earlier call was cut off.

    Args:
        group: a task, or several seeds of a condition.
        alone: why a task is run by itself that was to be one of several.
        budget: bytes that a fit may take; seeds that need more together are trained in several.

    Returns:
        How each of them ended; or why they have to be run one by one, and none was.
    """
    started = time.perf_counter()
    # A worker whose parent was killed may still be at it.
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
    from experiments.core.cli import fit_seeds

    return fit_seeds(task.config, [task.seed for task in group], [task.directory for task in group], budget)


def _status(task: Task) -> str:
    return str((records.read_result(task.directory) or {}).get("status", "failed"))


def _logged(group: Group, work: Callable[[], str]) -> tuple[str, str]:
    """Do some work in its directories; what it prints goes to `run.log` in each. Return what it says, and its error."""
    begun = _is_begun(group)
    for task in group:
        task.directory.mkdir(parents=True, exist_ok=True)
        # Of a run that goes on, all is kept but its end.
        records.empty(task.directory, only=records.RESULT if begun else "")
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


def _is_begun(group: Group) -> bool:
    """Whether an earlier call has left something to go on from."""
    if not (group[0].directory / records.RESUME).is_dir():
        return False
    from experiments.core.checkpoints import find

    return find(group[0].directory, " ".join(task.config_hash for task in group)) is not None


@contextlib.contextmanager
def _printing_to(log: object) -> Iterator[None]:
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):  # type: ignore[type-var]
        yield


def _run_check(task: Task) -> None:
    from experiments.core import ledger

    check = check_function(task.check)
    with catalogue.blamed_on(check):
        numbers = check(task.seed)
        if not all(isinstance(value, int | float) for value in numbers.values()):
            raise TypeError(f"it returns {numbers!r}, and not numbers by name")
    content = {"status": "ok", "config_hash": task.config_hash, "seed": task.seed, "check": task.check}
    environment = ledger.environment("cpu")
    records.write_json(task.directory / records.RESULT, {**content, "measures": numbers, "environment": environment})


def check_function(path: str) -> Callable[[int], dict[str, float]]:
    """Import the pure function that `module:function` names.

    Raises:
        UserError: the module has no such function.
    """
    module_name, _, name = path.partition(":")
    with interrupts_wait(), catalogue.blamed_on(f"{module_name.replace('.', '/')}.py"):
        # A file that is missing holds nothing.
        there = importlib.util.find_spec(module_name) is not None
        module = importlib.import_module(module_name) if there else ModuleType(module_name)
    check_known("check", name, [word for word in vars(module) if callable(vars(module)[word])])
    function: Callable[[int], dict[str, float]] = getattr(module, name)
    return function


def check_hash(path: str) -> str:
    """Fingerprint of a check: the source of its module."""
    module = sys.modules[check_function(path).__module__]
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:16]
