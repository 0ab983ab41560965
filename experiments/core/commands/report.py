"""`report`: judge and draw again from the results that are there."""

from __future__ import annotations

import argparse

from experiments.core.commands.for_each import Finish, for_each, options_of
from experiments.core.commands.run import show, write_index
from experiments.core.execution import tuning
from experiments.core.execution.workers import Pool
from experiments.core.grid import catalogue
from experiments.core.grid.plan import Options, Plan


def call(options: argparse.Namespace) -> int:
    """Answer the command `report`."""
    return report(options.experiment, options_of(options))


def report(name: str, choice: Options) -> int:
    """Judge and draw again from the results that are there, without running anything.

    Of all experiments, those that were run.
    """

    def begin(plan: Plan, pool: Pool, _rank: int) -> Finish:
        if name == catalogue.ALL and not any(plan.directory.iterdir()):
            return lambda: 0

        def finish() -> int:
            show(plan, tuning.read_chosen(plan), pool, redraw=True)
            return 0

        return finish

    code = for_each(name, choice, begin)
    write_index(name, choice)
    return code
