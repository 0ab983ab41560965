"""A task: one run or one check of an experiment, and the groups of tasks that share a fit."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.core.files import run_directory
from experiments.core.files.errors import check_known, interrupts_wait
from experiments.core.grid import catalogue


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
        result = run_directory.read_result(self.directory)
        if result is None:
            return "missing"
        if result.get("status") == "interrupted":
            return "missing"
        same = result.get("config_hash") == self.config_hash and result.get("status") in ("ok", "diverged")
        if not same:
            return "outdated"
        return "finished" if any(self.directory.glob(self.logger_files)) else "missing"


# Seeds of one condition that are trained in one fit: above ten, a seed's share of the time hardly falls.
MAX_STACK = 10


Group = tuple[Task, ...]


def groups(tasks: Sequence[Task]) -> list[Group]:
    """Put the seeds of a condition together, ten at most; which ones depends on the tasks alone, done or not."""
    found: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        together = task.stack and not task.check
        key = (task.directory.parent, task.seed // MAX_STACK) if together else (task.directory,)
        found.setdefault(key, []).append(task)
    return [tuple(group) for group in found.values()]


def pending(tasks: Sequence[Task]) -> list[Group]:
    """The groups that have to be run: whole where one of its tasks is missing, unless its seeds are trained alone."""
    found: list[Group] = []
    for group in groups(tasks):
        missing = [task for task in group if task.state != "finished"]
        alone = any(
            (run_directory.read_result(task.directory) or {}).get("stack") == 1 for task in group if task not in missing
        )
        found += [(task,) for task in missing] if alone else [group] if missing else []
    return found


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
