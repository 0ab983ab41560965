"""A pool of worker processes with a priority queue of calls."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import heapq
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

T = TypeVar("T")

# Attempts of a call whose worker dies: a first death may have another cause, a third has not.
ATTEMPTS = 3

# Seconds that a worker may take to start, after the fork server has imported everything.
SECONDS_TO_START = 5.0

# The rank of `Pool.map`, ahead of every task: a finished experiment waits for it.
URGENT = -1

# Slow imports of every run; none of this project, which only the workers can find.
SHARED_IMPORTS = (
    "lightning.pytorch.cli",
    "torch.utils.tensorboard",
    "sklearn.datasets",
    "pandas",
    "matplotlib.figure",
    "pydantic",
)


def _start_worker(directory: str, ready: Semaphore) -> None:
    """Ignore Ctrl-C, since the parent stops its workers, and change to the directory where the parent was started.

    A new process inherits the current directory of its parent, which changes while the parent parses a config file.
    """
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = ["python -m experiments"]
    ready.release()
    # Move imported objects out of the garbage collector's reach; otherwise it scans them and rarely frees finished
    # runs. The collector must run once to take note.
    importlib.import_module("experiments.core.training.cli")
    gc.freeze()
    gc.collect()


def _call(function: Callable[..., T], *args: Any) -> T:
    """Call a function, then free the memory that it used."""
    try:
        return function(*args)
    finally:
        # A trainer is a reference cycle, which the collector finds late; and malloc keeps freed pages.
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)


@dataclass(order=True)
class _Call:
    """A call in the queue, ordered by rank, then by age."""

    rank: int
    number: int
    function: Callable[..., Any] = field(compare=False)
    args: tuple[Any, ...] = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)
    attempts: int = field(compare=False, default=0)


class Pool:
    """Worker processes, and one queue of calls in front of them.

    If a worker dies, its call is repeated; no other call is affected. On Linux the workers are forked from one process
    that has imported what they need; elsewhere each worker imports it.

    Args:
        jobs: the number of workers.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._workers: ProcessPool | None = None
        self._starting: threading.Thread | None = None
        # The queue of pebble has no ranks, so it gets one call a worker; the others wait here.
        self._queue: list[_Call] = []
        self._numbers = itertools.count()
        self._busy = 0
        # Guards the fields above, which threads of pebble change, too.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._starting is not None:
            self._starting.join()
        with self._lock:
            self._queue.clear()
            workers, self._workers = self._workers, None
        if workers is not None:
            if kind is None:
                workers.close()  # type: ignore[no-untyped-call]
            else:
                workers.stop()  # type: ignore[no-untyped-call]
            workers.join()

    def start(self) -> None:
        """Start the workers in a thread, and return at once. Without it, the first call of `submit` does this."""
        if self._starting is None:
            # On macOS, a forked process may crash in system libraries.
            context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
            context.set_forkserver_preload(list(SHARED_IMPORTS))
            # Create the first semaphore here: it starts the resource tracker, which unblocks Ctrl-C.
            ready = context.Semaphore(0)
            setup = [str(Path.cwd()), ready]
            workers = ProcessPool(self.jobs, context=context, initializer=_start_worker, initargs=setup)
            self._starting = threading.Thread(target=self._start, args=[workers, ready])
            self._starting.start()

    def _start(self, workers: ProcessPool, ready: Semaphore) -> None:
        # Workers inherit this variable; torch reads it at import.
        os.environ["OMP_NUM_THREADS"] = "1"
        if sys.platform == "linux":
            # Block Ctrl-C in the fork server while it imports, and in each worker until it ignores the signal.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        # Reading `active` starts the pool. If that fails, `schedule` fails too, and `_feed` reports it.
        with contextlib.suppress(OSError, RuntimeError):
            _ = workers.active
        with self._lock:
            self._workers = workers
            self._feed()
        # Wait: a worker that is stopped before it is ready prints a stack trace about missing semaphores.
        all(ready.acquire(timeout=SECONDS_TO_START) for _ in range(self.jobs))

    def submit(self, function: Callable[..., T], *args: Any, rank: int = 0) -> Future[T]:
        """Call a function on a worker.

        Args:
            function: a function of a module; its arguments and its value can be pickled.
            args: its arguments.
            rank: calls of a lower rank go first; calls of the same rank go in the order of submission.

        Returns:
            A future with the value or the exception of the function, or with `ProcessExpired` if `ATTEMPTS` workers
            died in this call.
        """
        self.start()
        call = _Call(rank, next(self._numbers), function, args)
        with self._lock:
            heapq.heappush(self._queue, call)
            self._feed()
        return call.future

    def _feed(self) -> None:
        with self._lock:
            while self._workers is not None and self._queue and self._busy < self.jobs:
                call = heapq.heappop(self._queue)
                try:
                    future: Future[Any] = self._workers.schedule(_call, args=[call.function, *call.args])
                except (OSError, RuntimeError) as error:  # the pool is broken, and stays so
                    call.future.set_exception(error)
                    continue
                self._busy += 1
                future.add_done_callback(functools.partial(self._end, call))

    def _end(self, call: _Call, ended: Future[Any]) -> None:
        error = ended.exception()
        call.attempts += 1
        again = isinstance(error, ProcessExpired) and call.attempts < ATTEMPTS
        with self._lock:
            self._busy -= 1
            if again:
                heapq.heappush(self._queue, call)
            self._feed()
        if error is None:
            call.future.set_result(ended.result())
        elif not again:
            call.future.set_exception(error)

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[T]:
        """Call a function once for each tuple of arguments, and return the values.

        If the workers were started, they make the calls, before all tasks in the queue; else this process does.

        Raises:
            ProcessExpired: several workers died in a call.
        """
        if self._starting is None:
            return [function(*call) for call in calls]
        futures = [self.submit(function, *call, rank=URGENT) for call in calls]
        return [future.result() for future in futures]
