"""An experiment at smoke scale, run in this process through its real YAML, for tests of its figures and measures."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

from made_images import made_images

from experiments.core.commands import run as runner
from experiments.core.execution import tuning
from experiments.core.execution.execute import Outcome, execute
from experiments.core.execution.planner import Planner, check_tasks
from experiments.core.execution.tasks import Group, Task, groups
from experiments.core.execution.workers import Pool
from experiments.core.files import run_directory
from experiments.core.grid.plan import Options, make_plan
from experiments.core.report import figures
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@made_images()
def smoke(name: str, runs: Path, data: str | None = None) -> Results:
    """Run and judge an experiment at smoke scale; its files are in `runs`, as `results.plan.directory` says."""
    plan = make_plan(name, Options(scale="smoke", logger="csv", runs=runs, data=data))
    chosen = tuning.untuned(plan)
    for task, outcome in in_this_process(groups([*Planner(plan).all_tasks(chosen), *check_tasks(plan)])):
        assert outcome.status in ("ok", "diverged"), f"{task.label}: {outcome.error}"
        assert run_directory.read_result(task.directory) is not None
    return runner.judge(plan, chosen, Pool(jobs=1))


def in_this_process(pending: Sequence[Group]) -> Iterator[tuple[Task, Outcome]]:
    """What a pool of one worker would do."""
    for group in sorted(pending, key=lambda group: -sum(task.cost for task in group)):
        ended = execute(group)
        if isinstance(ended, str):
            yield from in_this_process([(task,) for task in group])
        else:
            yield from zip(group, ended, strict=True)


@made_images()
def drawn(results: Results) -> dict[str, Drawing]:
    """All figures of these results, saved beside them; each can travel from a worker, which usually draws it."""
    found = figures.draw(results, Pool(jobs=1).map)
    pickle.dumps(found)
    return found
