"""The workers' pool: one call costs itself at most, and an exception comes back as it was raised."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
from pebble import ProcessExpired

from experiments.core.execution.execute import run_groups
from experiments.core.execution.tasks import Task
from experiments.core.execution.workers import ATTEMPTS, Pool
from experiments.core.files.errors import UserError


def attempts(place: Path) -> int:
    return len(list(place.iterdir()))


def end_worker(place: Path, times: int) -> int:
    """End the first workers that make this call; return the number of the attempt that ends none."""
    number = attempts(place) + 1
    (place / str(number)).touch()
    if number <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse(place: Path) -> None:
    (place / str(attempts(place))).touch()
    raise UserError("no such figure")


def test_a_call_is_made_again_if_its_worker_ends_and_never_if_it_raises(here: Path):
    places = {name: here / name for name in ("sound", "once", "always", "refused")}
    for place in places.values():
        place.mkdir()
    with Pool(jobs=2) as pool:
        sound = pool.submit(end_worker, places["sound"], 0)
        once = pool.submit(end_worker, places["once"], 1)
        always = pool.submit(end_worker, places["always"], ATTEMPTS)
        refused = pool.submit(refuse, places["refused"])
        assert (sound.result(), once.result()) == (1, 2)
        with pytest.raises(ProcessExpired):
            always.result()
        with pytest.raises(UserError, match="no such figure"):
            refused.result()
    assert {name: attempts(place) for name, place in places.items()} == {
        "sound": 1,
        "once": 2,
        "always": ATTEMPTS,
        "refused": 1,
    }


def test_workers_begin_where_their_parent_was_when_it_asked_for_them(here: Path, monkeypatch: pytest.MonkeyPatch):
    # The parser changes to the folder of the file that it reads, here before the workers start.
    (here / "elsewhere").mkdir()
    start = threading.Thread.start

    def start_elsewhere(thread: threading.Thread) -> None:
        os.chdir(here / "elsewhere")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_elsewhere)
    with Pool(jobs=1) as pool:
        pool.start()
        assert pool.map(os.getcwd, [()]) == [str(here)]


def test_calls_that_nobody_waits_for_go_with_the_pool(here: Path):
    with Pool(jobs=1) as pool:
        for _ in range(1000):
            pool.submit(refuse, here)
    assert attempts(here) < 1000


class Circle:
    """Refers to itself, as a trainer and its module do to each other."""

    made: ClassVar[list[weakref.ref[Circle]]] = []

    def __init__(self) -> None:
        self.itself = self


def make_circle() -> None:
    Circle.made.append(weakref.ref(Circle()))


def alive() -> list[bool]:
    return [circle() is not None for circle in Circle.made]


def test_a_worker_lets_go_of_what_a_call_has_made():
    with Pool(jobs=1) as pool:
        pool.submit(make_circle).result()
        assert pool.submit(alive).result() == [False]


def test_calls_are_made_by_rank_and_what_a_result_needs_is_asked_before_all_runs(here: Path):
    check = "experiments.multilabel.checks:bce_is_bernoulli"
    names = ["later", "sooner", "last"]
    tasks = [(Task(name, here / name, seed=1, config_hash="", check=check),) for name in names]
    with Pool(jobs=1) as pool:
        results = [run_groups(pool, [task], rank) for task, rank in zip(tasks, (1, 0, 1), strict=True)]
        (there,) = pool.map(finished, [(here,)])
        assert len(there) <= 1  # the one that a worker was at
        for result in results:
            assert [(outcome.status, outcome.error) for _, outcome in result] == [("ok", "")]
    order = sorted(names, key=lambda name: (here / name / "result.json").stat().st_mtime_ns)
    assert order == ["sooner", "later", "last"]


def finished(place: Path) -> list[Path]:
    """What a worker sees when it is asked."""
    return list(place.rglob("result.json"))
