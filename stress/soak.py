"""Train a thousand tiny runs on the same two workers, and see that nothing grows with them: `make soak`.

The conditions of a small experiment are run again and again with new seeds, half of the runs in stacks of ten and half
alone. After each tenth, when no worker has anything to do, a table gets a line: memory, open files, threads and
temporary files. Then one worker trains the largest stacks that there are, of 50,000 images with every instrument; its
peak must stay that of the first. It reads all this in /proc, which only Linux has.
"""

from __future__ import annotations

import argparse
import multiprocessing.util
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.core.execution.execute import Outcome, run_groups
from experiments.core.execution.planner import Planner
from experiments.core.execution.tasks import MAX_STACK, Task, groups
from experiments.core.execution.workers import Pool
from experiments.core.files import run_directory
from experiments.core.grid.conditions import FIRST_SEED
from experiments.core.grid.plan import Options, make_plan
from stress.chaos import workers_of

NAME = "nonlinearity"
JOBS = 2
TENTHS = 10
# Half of a tenth is stacked, half is not.
LEAST = TENTHS * 2 * MAX_STACK
MOST_PARENT = 1500.0  # megabytes
MOST_GROWTH = 1.05  # of a worker's memory
SETTLED = 1.0  # seconds before a measurement
# The largest stacks: a few steps of them, since what they hold is there from the first.
LARGEST = Options(
    scale="full",
    data="fashion_mnist",
    overrides=("--data.num_train=50000", "--trainer.max_epochs=1", "--trainer.limit_train_batches=20"),
)
LARGE_STACKS = 5
MOST_OF_FIRST = 1.1  # of the peak of the first


@dataclass(frozen=True)
class Process:
    """What one process holds."""

    memory: float  # resident, in megabytes
    files: int
    threads: int


@dataclass(frozen=True)
class Measurement:
    """What all of them hold after so many runs."""

    runs: int
    seconds: float
    parent: Process
    workers: dict[int, Process]  # by their number in the system
    temporary: int


def process(pid: int) -> Process:
    """Look at a process."""
    folder = Path("/proc") / str(pid)
    lines = (folder / "status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return Process(
        memory=int(values["VmRSS"].split()[0]) / 2**10,
        files=len(list((folder / "fd").iterdir())),
        threads=int(values["Threads"]),
    )


def temporary_files(runs: Path) -> int:
    """Whatever is in the temporary folder, and what was left beside results while they were written."""
    return len(list(Path(tempfile.gettempdir()).rglob("*"))) + len(list(runs.rglob(".*.tmp*")))


def tenths(runs: int, folder: Path) -> Iterator[list[Task]]:
    """The tasks of each tenth: ten seeds of a condition to be stacked, ten of the same to be run alone, and so on."""
    plan = make_plan(NAME, Options(scale="smoke", runs=folder))
    planner = Planner(plan)
    planner.load_data()
    turns, seed = cycle(plan.grid.conditions), FIRST_SEED
    for _ in range(TENTHS):
        tasks: list[Task] = []
        while len(tasks) < runs // TENTHS:
            condition, seeds = next(turns), range(seed, seed + 2 * MAX_STACK)
            seed += len(seeds)
            found = planner.tasks(condition, seeds, {}, plan.directory / condition.name)
            tasks += [replace(task, stack=task in found[:MAX_STACK]) for task in found]
        yield tasks


def rest() -> int:
    """Keep a worker busy with nothing for so long that another one takes the next call."""
    time.sleep(SETTLED)
    return os.getpid()


def _check(task: Task, outcome: Outcome) -> None:
    stack = (run_directory.read_result(task.directory) or {}).get("stack")
    if outcome.status not in ("ok", "diverged") or stack != (MAX_STACK if task.stack else 1):
        raise RuntimeError(f"{task.label}: {outcome}, stack of {stack}")


def soak(runs: int, folder: Path) -> Iterator[Measurement]:
    """Run them and measure after each tenth.

    Raises:
        RuntimeError: a run failed, or one was stacked that should not be, or the other way round.
    """
    began, done = time.monotonic(), 0
    with Pool(JOBS) as pool:
        for tasks in tenths(runs, folder):
            for task, outcome in run_groups(pool, groups(tasks)):
                _check(task, outcome)
            done += len(tasks)
            rested = set(pool.map(rest, [()] * JOBS))
            workers = {pid: process(pid) for pid in sorted(workers_of(os.getpid()))}
            if rested != workers.keys():
                raise RuntimeError(f"of the workers {sorted(workers)} only {sorted(rested)} have rested")
            yield Measurement(done, time.monotonic() - began, process(os.getpid()), workers, temporary_files(folder))


def peaks(folder: Path) -> Iterator[float]:
    """Train the largest stacks, and give the peak of the worker after each, in megabytes.

    Raises:
        RuntimeError: a run failed, or its seeds were not stacked.
    """
    plan = make_plan("vanishing", replace(LARGEST, runs=folder))
    planner, seeds = Planner(plan), range(FIRST_SEED, FIRST_SEED + LARGE_STACKS * MAX_STACK)
    planner.load_data()
    tasks = planner.tasks(plan.grid.conditions[0], seeds, {plan.tuned_axis: 0.01}, folder)
    with Pool(1) as pool:
        # What a worker keeps, its imports and the images as their file holds them, comes with its first run.
        for task, outcome in run_groups(pool, [(replace(tasks[0], directory=folder / "first", stack=False),)]):
            _check(task, outcome)
        for count, (task, outcome) in enumerate(run_groups(pool, groups(tasks)), start=1):
            _check(task, outcome)
            if count % MAX_STACK == 0:
                (worker,) = workers_of(os.getpid())
                status = (Path("/proc") / str(worker) / "status").read_text(encoding="utf-8")
                yield next(int(line.split()[1]) / 2**10 for line in status.splitlines() if line.startswith("VmHWM:"))


def growth(early: Measurement, last: Measurement) -> list[str]:
    """What has grown between two measurements that should not, in words."""
    found = []
    if last.parent.memory > MOST_PARENT:
        found.append(f"the parent holds {last.parent.memory:,.0f} MB")
    if last.workers.keys() != early.workers.keys():
        found.append("the workers are others")
    if last.temporary > early.temporary:
        found.append(f"temporary files: {early.temporary}, then {last.temporary}")
    pairs = {"parent": (early.parent, last.parent)}
    common = early.workers.keys() & last.workers.keys()
    pairs |= {f"worker {pid}": (early.workers[pid], last.workers[pid]) for pid in sorted(common)}
    for name, (before, after) in pairs.items():
        if after.files > before.files:
            found.append(f"{name}, open files: {before.files}, then {after.files}")
        if after.threads > before.threads:
            found.append(f"{name}, threads: {before.threads}, then {after.threads}")
        if name != "parent" and after.memory > MOST_GROWTH * before.memory:
            found.append(f"{name}, memory: {before.memory:.0f} MB, then {after.memory:.0f} MB")
    return found


def table(measured: Sequence[Measurement]) -> Table:
    """Lay them out, a line for each: the parent first, then its workers."""
    shown = Table("runs", "seconds", "memory, MB", "open files", "threads", "temporary", title="parent | workers")
    for each in measured:
        processes = [each.parent, *each.workers.values()]
        columns = [
            [f"{one.memory:,.0f}" for one in processes],
            [str(one.files) for one in processes],
            [str(one.threads) for one in processes],
        ]
        cells = [" | ".join(column) for column in columns]
        shown.add_row(f"{each.runs:,}", f"{each.seconds:.0f}", *cells, str(each.temporary))
    return shown


def main(runs: int) -> int:
    """Run so many, rounded up to whole stacks, and print the table.

    Returns:
        0 if nothing grew, else 1.
    """
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        private = Path(folder) / "tmp"
        private.mkdir()
        multiprocessing.util.get_temp_dir()  # of the pool's sockets, which stay until this process ends
        # Read by this process from now on, and inherited by the workers.
        os.environ["TMPDIR"] = tempfile.tempdir = str(private)
        measured = []
        for each in soak(runs, Path(folder) / "runs"):
            measured.append(each)
            console.print(f"{each.runs:,} runs", highlight=False)
        highest = list(peaks(Path(folder) / "largest"))
    console.print(table(measured))
    found = growth(measured[1], measured[-1])
    for line in found:
        console.print(line, markup=False)
    console.print("peaks after each of the largest stacks, MB:", ", ".join(f"{peak:,.0f}" for peak in highest))
    if highest[-1] > MOST_OF_FIRST * highest[0]:
        found.append("the largest stacks")
    console.print("not flat" if found else "flat")
    return 1 if found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=1000, help=f"how many, {LEAST} at least (default: 1000)")
    options = parser.parse_args()
    if options.runs < LEAST:
        parser.error(f"a tenth must hold a stack and as many runs alone: --runs={LEAST} at least")
    sys.exit(main(options.runs))
