"""Running many runs: long-lived worker processes, one thread each, whose truth is in the files they leave."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import inspect
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from experiments.core import records
from experiments.core.errors import UserError, check_known
from experiments.core.interrupts import interrupts_wait
from experiments.core.locks import locked

T = TypeVar("T")


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

# Workers that a task may cost: one that is killed is no fault of the task, one after another is.
ATTEMPTS = 3

# How long a worker may take to start, once the process that it is a copy of has imported everything.
SECONDS_TO_START = 5.0

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


def execute(group: Group, alone: str = "") -> list[Outcome] | str:
    """Run the tasks of a group in one fit: from nothing, or from where an earlier call was cut off.

    Args:
        group: a task, or several seeds of a condition.
        alone: why a task is run by itself that was to be one of several.

    Returns:
        How each of them ended; or why they have to be run one by one, and none was.
    """
    started = time.perf_counter()
    # A worker whose parent was killed may still be at it.
    try:
        with locked(group[0].directory, wait=True):
            reason, error = _logged(group, lambda: _run(group))
    except OSError as fault:  # not even the log could be written
        reason, error = "", " ".join(str(fault).split())
    if reason:
        return reason
    seconds = (time.perf_counter() - started) / len(group)
    return [Outcome(_status(task), seconds, error, alone) for task in group]


def _run(group: Group) -> str:
    task = group[0]
    if task.check:
        _run_check(task)
        return ""
    from experiments.core.cli import fit_seeds

    return fit_seeds(task.config, [task.seed for task in group], [task.directory for task in group])


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

    numbers = check_function(task.check)(task.seed)
    content = {"status": "ok", "config_hash": task.config_hash, "seed": task.seed, "check": task.check}
    environment = ledger.environment("cpu")
    records.write_json(task.directory / records.RESULT, {**content, "measures": numbers, "environment": environment})


def check_function(path: str) -> Callable[[int], dict[str, float]]:
    """Import the pure function that `module:function` names.

    Raises:
        UserError: the module has no such function.
    """
    module_name, _, name = path.partition(":")
    with interrupts_wait():
        module = importlib.import_module(module_name)
    check_known("check", name, [word for word in vars(module) if callable(vars(module)[word])])
    function: Callable[[int], dict[str, float]] = getattr(module, name)
    return function


def check_hash(path: str) -> str:
    """Fingerprint of a check: the source of its module."""
    module = sys.modules[check_function(path).__module__]
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:16]


def _start_worker(directory: str) -> None:
    """Leave Ctrl-C to the parent, which stops its workers itself; and work where it does.

    A new process begins where its parent is at that moment, and a parent that parses a config file is elsewhere.
    """
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = ["python -m experiments"]
    # What has been imported stays: set aside, it no longer puts off the search for what runs leave until hundreds have
    # been. The collector takes note of that when it is called.
    importlib.import_module("experiments.core.cli")
    gc.freeze()
    gc.collect()


def _workers(count: int, context: BaseContext, directory: str) -> ProcessPool:
    return ProcessPool(max_workers=count, context=context, initializer=_start_worker, initargs=[directory])


# What every run needs and takes seconds to import; nothing of this project, whose place only the workers know.
SHARED_IMPORTS = ("lightning.pytorch.cli", "torch.utils.tensorboard", "sklearn.datasets", "pandas", "matplotlib.figure")


class Pool:
    """A pool of workers; one that dies costs its own task, which is begun again, and no other.

    Where the system can, workers are copies of one process that has imported what they need; elsewhere each imports it.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        # On macOS a copy of a process that has loaded the system's libraries may crash.
        self._context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        self._pool: ProcessPool | None = None
        self._starting: threading.Thread | None = None
        self._first_call: Future[None] | None = None
        # Of what is scheduled, that which has not ended; and a worker for what cannot wait until it has.
        self._waiting: set[Future[list[Outcome] | str]] = set()
        self._aside: ProcessPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starting is not None:
            self._starting.join()
        for pool in (self._aside, self._pool):
            if pool is None:
                continue
            if kind is None:
                pool.close()  # type: ignore[no-untyped-call]
            else:
                # Workers that are about to start would look for a pool that is gone, and say so at length.
                wait([self._first_call] if self._first_call else [], timeout=SECONDS_TO_START)
                pool.stop()  # type: ignore[no-untyped-call]
            pool.join()

    def start(self) -> None:
        """Start the workers beside what the caller goes on with; the first `run` would start them otherwise."""
        if self._starting is None:
            self._starting = threading.Thread(target=self._start, args=[str(Path.cwd())])
            self._starting.start()

    def _start(self, directory: str) -> None:
        # Inherited by the workers, and read when they import torch.
        os.environ["OMP_NUM_THREADS"] = "1"
        if sys.platform == "linux":
            # Ctrl-C reaches the server, too, while it imports, and each worker before it can ignore it: never there.
            # The tracker first, whose start would let it through again.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._context.set_forkserver_preload(list(SHARED_IMPORTS))
        self._pool = _workers(self.jobs, self._context, directory)
        self._first_call = self._pool.schedule(_start_worker, args=[directory])

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
        """Call a function once for each tuple of arguments, on the workers if there are any; return the values.

        While they have runs to do, another worker does it beside them.

        Raises:
            ProcessExpired: a call has ended several workers.
        """
        if self._starting is None:
            return [function(*call) for call in calls]
        pool = self._started()
        if self._waiting:
            self._aside = self._aside or _workers(1, self._context, str(Path.cwd()))
            pool = self._aside
        futures = [pool.schedule(function, args=list(call)) for call in calls]
        for _ in range(ATTEMPTS - 1):
            lost = [k for k, future in enumerate(futures) if isinstance(future.exception(), ProcessExpired)]
            for k in lost:
                futures[k] = pool.schedule(function, args=list(calls[k]))
        return [future.result() for future in futures]

    def _started(self) -> ProcessPool:
        self.start()
        assert self._starting is not None
        self._starting.join()
        assert self._pool is not None
        return self._pool

    def run(self, pending: Sequence[Group]) -> Iterator[tuple[Task, Outcome]]:
        """Schedule groups of tasks, the longest first; the iterator that is returned gives each task as it ends."""
        waiting: dict[Future[list[Outcome] | str], Group] = {}
        for group in sorted(pending, key=lambda group: -sum(task.cost for task in group)):
            self._schedule(waiting, group)
        return self._results(waiting)

    def _schedule(self, waiting: dict[Future[list[Outcome] | str], Group], group: Group, alone: str = "") -> None:
        future: Future[list[Outcome] | str] = self._started().schedule(execute, args=[group, alone])
        waiting[future] = group
        self._waiting.add(future)

    def _results(self, waiting: dict[Future[list[Outcome] | str], Group]) -> Iterator[tuple[Task, Outcome]]:
        attempts = Counter[Group]()
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                group, error = waiting.pop(future), future.exception()
                self._waiting.discard(future)
                # Only the death of a worker arrives as an exception: `execute` catches what a run raises.
                attempts[group] += 1
                if error is not None and attempts[group] < ATTEMPTS:
                    self._schedule(waiting, group)
                    continue
                lost = [Outcome("failed", 0.0, f"worker ended, {ATTEMPTS} times: {error}")] * len(group)
                ended = lost if error is not None else future.result()
                if isinstance(ended, str):
                    for task in group:
                        self._schedule(waiting, (task,), ended)
                else:
                    yield from zip(group, ended, strict=True)
