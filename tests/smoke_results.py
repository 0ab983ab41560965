"""The results that tests of topics look at: one run of each experiment a session, shared by all tests and workers.

An experiment runs at smoke scale, in this process through its real YAML. Nobody changes what it left.
"""

from __future__ import annotations

import functools
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import synthetic_results
from filelock import FileLock
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
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results

# Experiments whose figures need no training: every number of every run is made up.
SYNTHETIC = {
    "architectures": synthetic_results.build_architectures,
    "vanishing": functools.partial(synthetic_results.build, seeds=4),
}
# Without Fashion-MNIST, which is not everywhere.
DATA = {"fully_connected": "digits"}


class _Drawings(dict[str, Drawing]):
    def __init__(self, make: Callable[[str], Drawing]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, figure: str) -> Drawing:
        return self.make(figure)


class Shared:
    """The results of every experiment, made when a test first asks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.of = functools.cache(self._of)
        self.figure = functools.cache(self._figure)

    def _of(self, name: str) -> Results:
        kept = self.folder / f"{name}.pickle"
        with FileLock(self.folder / f"{name}.lock"):
            if not kept.exists():
                make = SYNTHETIC.get(name) or functools.partial(smoke, name, data=DATA.get(name))
                kept.write_bytes(pickle.dumps(make(self.folder / "runs")))
        found: Results = pickle.loads(kept.read_bytes())
        return found

    def _figure(self, name: str, figure: str) -> Drawing:
        return draw(self.of(name), figure)

    def drawings(self, name: str) -> Mapping[str, Drawing]:
        """The figures of an experiment by name, drawn when asked for."""
        return _Drawings(functools.partial(self.figure, name))

    def save(self, name: str, figure: str) -> Path:
        """Save one figure with its film; gives the folder."""
        with made_images():
            figures.draw_one(self.of(name), figure)
        return self.of(name).plan.directory / "figures"

    def table(self, name: str) -> pd.DataFrame:
        """results.csv, read back from its file."""
        return pd.read_csv(self.of(name).plan.directory / "results.csv")


def smoke(name: str, runs: Path, data: str | None = None) -> Results:
    """Run and judge an experiment at smoke scale; its files are in `runs`, as `results.plan.directory` says."""
    plan = make_plan(name, Options(scale="smoke", logger="csv", runs=runs, data=data))
    chosen = tuning.untuned(plan)
    with made_images():
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
def draw(results: Results, figure: str) -> Drawing:
    """One figure of these results, without a file; a warning is an error."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        return figures.find_figure(results.plan.grid.name, figure)(results)
