"""How far the runs are: one bar with the time left on a terminal, one line a run elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.core.execution import Outcome, Task


def follow(results: Iterable[tuple[Task, Outcome]], total: int, title: str) -> Iterator[tuple[Task, Outcome]]:
    """Pass results on while showing how many of `total` are done; a run that failed is always shown."""
    console = Console(file=sys.stdout, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        handle = bar.add_task(title, total=total)
        for done, (task, outcome) in enumerate(results, start=1):
            line = f"[{done}/{total}] {task.label}: {outcome.status} ({outcome.seconds:.1f} s)" + (
                f", alone: {outcome.alone}" if outcome.alone else ""
            )
            if outcome.status == "failed":
                bar.console.print(
                    f"{line}; {outcome.error}; see {task.directory / 'run.log'}", markup=False, soft_wrap=True
                )
            elif not console.is_terminal:
                console.print(line, markup=False, soft_wrap=True)
            bar.advance(handle)
            yield task, outcome
