"""`reference`: make the official results the kept reference of their experiment."""

from __future__ import annotations

import argparse
import functools
from collections import Counter

from experiments.core.commands.for_each import for_each, options_of
from experiments.core.commands.run import judge
from experiments.core.execution import tuning
from experiments.core.execution.planner import Planner, check_tasks
from experiments.core.execution.workers import Pool
from experiments.core.files.errors import UserError, say
from experiments.core.grid.plan import Options, Plan
from experiments.core.report import pages


def call(options: argparse.Namespace) -> int:
    """Answer the command `reference`."""
    return keep(options.experiment, options_of(options))


def keep(name: str, choice: Options) -> int:
    """Make the official results that are there the reference of their experiment, or of every one.

    Raises:
        UserError: some runs are missing, or were made by another version of the config.
    """
    return for_each(name, choice, lambda plan, pool, _rank: functools.partial(_keep, plan, pool))


def _keep(plan: Plan, pool: Pool) -> int:
    chosen = tuning.read_chosen(plan)
    states = Counter(task.state for task in [*Planner(plan).all_tasks(chosen), *check_tasks(plan)])
    if states.total() > states["finished"]:
        missing = states.total() - states["finished"]
        raise UserError(f"{missing} of {states.total()} runs are missing or outdated; first: {plan.command}")
    for path in pages.keep(judge(plan, chosen, pool)):
        say(path)
    return 0
