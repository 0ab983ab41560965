"""Worker processes, one thread each, and one queue of calls in front of them."""

from __future__ import annotations

import contextlib
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
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

T = TypeVar("T")

# Workers that a call may cost: one that is killed is no fault of the call, one after another is.
ATTEMPTS = 3

# How long a worker may take to start, once the process that it is a copy of has imported everything.
SECONDS_TO_START = 5.0

# Goes before every run: what a finished experiment asks of the workers before it can be shown.
URGENT = -1

# What every run needs and takes seconds to import; nothing of this project, whose place only the workers know.
SHARED_IMPORTS = ("lightning.pytorch.cli", "torch.utils.tensorboard", "sklearn.datasets", "pandas", "matplotlib.figure")


def _start_worker(directory: str, ready: Semaphore) -> None:
    """Leave Ctrl-C to the parent, which stops its workers itself; and work where it does.

    A new process begins where its parent is at that moment, and a parent that parses a config file is elsewhere.
    """
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = ["python -m experiments"]
    ready.release()
    # Move imported objects out of the garbage collector's reach; otherwise it scans them and rarely frees finished
    # runs. It takes note of that when it is called.
    importlib.import_module("experiments.core.cli")
    gc.freeze()
    gc.collect()


@dataclass(order=True)
class _Call:
    """A function call that waits for a worker: the lowest rank first, then the oldest."""

    rank: int
    number: int
    function: Callable[..., Any] = field(compare=False)
    args: tuple[Any, ...] = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)
    attempts: int = field(compare=False, default=0)


class Pool:
    """Worker processes, and one queue of calls in front of them.

    A worker that dies costs its own call, which is made again, and no other. Where the system can, workers are copies
    of one process that has imported what they need; elsewhere each imports it.

    Args:
        jobs: the number of workers.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._workers: ProcessPool | None = None
        self._starting: threading.Thread | None = None
        # The workers' own queue has no ranks, so that it is given no more calls than there are workers.
        self._queue: list[_Call] = []
        self._numbers = itertools.count()
        self._busy = 0
        # Of the four above, which the threads of the workers' pool change, too.
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
        """Start the workers beside what the caller goes on with; the first call would start them otherwise."""
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
        # On macOS a copy of a process that has loaded the system's libraries may crash.
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        context.set_forkserver_preload(list(SHARED_IMPORTS))
        ready = context.Semaphore(0)
        workers = ProcessPool(self.jobs, context=context, initializer=_start_worker, initargs=[directory, ready])
        # To ask whether it is active starts it; where that fails, so will every call.
        with contextlib.suppress(BrokenProcessPool):
            _ = workers.active
        with self._lock:
            self._workers = workers
            self._feed()
        # A worker that is stopped before it is ready looks for a pool that is gone, and says so at length.
        all(ready.acquire(timeout=SECONDS_TO_START) for _ in range(self.jobs))

    def submit(self, function: Callable[..., T], *args: Any, rank: int = 0) -> Future[T]:
        """Call a function on a worker, once those of a lower rank and the earlier ones of its own have one.

        Args:
            function: of a module, with what can be pickled as arguments and value.
            args: its arguments.
            rank: what goes first.

        Returns:
            Its value or its exception; `ProcessExpired` where it has ended `ATTEMPTS` workers.
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
                    future: Future[Any] = self._workers.schedule(call.function, args=call.args)
                except RuntimeError as error:  # nothing can be done on these workers any more
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
        """Call a function once for each tuple of arguments, on the workers if there are any; return the values.

        On the workers it goes before all runs that wait for one.

        Raises:
            ProcessExpired: a call has ended several workers.
        """
        if self._starting is None:
            return [function(*call) for call in calls]
        futures = [self.submit(function, *call, rank=URGENT) for call in calls]
        return [future.result() for future in futures]
