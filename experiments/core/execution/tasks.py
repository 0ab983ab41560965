"""Tasks: the runs and checks of an experiment, and the groups that share a fit."""

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
    """One run or one check: everything a worker needs, and whether it is finished.

    A check names a function (`module:function`) instead of a config.
    """

    label: str
    directory: Path
    seed: int
    config_hash: str
    # The resolved config of the condition; its seed is replaced by the task's.
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    check: str = ""
    # Pattern of the files that the logger writes in a finished run.
    logger_files: str = "result.json"
    # Relative duration; longer tasks start first.
    cost: float = 0.0
    # Whether the run may be stacked with other seeds of its condition.
    stack: bool = True

    @property
    def state(self) -> str:
        """`finished`, `missing`, or `outdated` (from another config, or failed)."""
        result = run_directory.read_result(self.directory)
        if result is None:
            return "missing"
        if result.get("status") == "interrupted":
            return "missing"
        same = result.get("config_hash") == self.config_hash and result.get("status") in ("ok", "diverged")
        if not same:
            return "outdated"
        return "finished" if any(self.directory.glob(self.logger_files)) else "missing"


# Maximum seeds of a stack: above ten, the time per seed hardly falls.
MAX_STACK = 10


Group = tuple[Task, ...]


def groups(tasks: Sequence[Task]) -> list[Group]:
    """Group the seeds of a condition, ten at most; the groups do not depend on which tasks are finished."""
    found: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        together = task.stack and not task.check
        key = (task.directory.parent, task.seed // MAX_STACK) if together else (task.directory,)
        found.setdefault(key, []).append(task)
    return [tuple(group) for group in found.values()]


def pending(tasks: Sequence[Task]) -> list[Group]:
    """Return the groups to run: a whole group if one of its tasks is missing, unless its seeds were trained alone."""
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
        # A missing file is an empty module.
        there = importlib.util.find_spec(module_name) is not None
        module = importlib.import_module(module_name) if there else ModuleType(module_name)
    check_known("check", name, [word for word in vars(module) if callable(vars(module)[word])])
    function: Callable[[int], dict[str, float]] = getattr(module, name)
    return function


def check_hash(path: str) -> str:
    """Return a hash of the source of a check's module."""
    module = sys.modules[check_function(path).__module__]
    return hashlib.sha256(inspect.getsource(module).encode()).hexdigest()[:16]
