"""`run all`: the workers begin the next experiment while one ends, is judged and is drawn."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from experiments.core import runner
from experiments.core.execution import Pool, Task

DEFINITION = """
    from experiments.core.definitions import Claim, Experiment

    experiment = Experiment(
        title="{name}", title_fr="{name}", data=("generated",), grid=[], figures=(),
        claims=[Claim("L1-check", statement="s", statement_fr="s", slide="s", kind="exact", check="zero",
                      tolerance=0.0, n=2)],
    )
    """
NAMES = ["alpha", "beta", "tiny"]


@pytest.fixture
def three(tiny):
    """Three experiments of one check each."""
    for name in NAMES:
        folder = tiny.folder.with_name(name)
        folder.mkdir(exist_ok=True)
        (folder / "checks.py").write_text((tiny.folder / "checks.py").read_text())
        (folder / "experiment.py").write_text(textwrap.dedent(DEFINITION.format(name=name)))
    tiny.write("experiment.py", DEFINITION.format(name="tiny"))
    yield tiny
    for module in [module for module in sys.modules if module.startswith(("experiments.alpha", "experiments.beta"))]:
        del sys.modules[module]


def test_each_is_scheduled_before_the_one_before_is_shown(three, monkeypatch: pytest.MonkeyPatch):
    events = []

    class Watched(runner.Pool):
        def run(self, pending):
            if pending:
                events.append(f"scheduled {pending[0][0].directory.parents[1].name}")
            return super().run(pending)

    def watched(plan, *args, redraw, show=runner.show):
        events.append(f"shown {plan.grid.name}")
        show(plan, *args, redraw)

    monkeypatch.setattr(runner, "Pool", Watched)
    monkeypatch.setattr(runner, "show", watched)
    answer = three.call("run", "all", "--logger=csv", "--data=generated")
    assert answer.code == 0
    assert events == [
        "scheduled alpha",
        "scheduled beta",
        "shown alpha",
        "scheduled tiny",
        "shown beta",
        "shown tiny",
    ]
    # What is printed stays together: the title of one after all of the one before.
    words = [line.split()[0] for line in answer.out.splitlines() if " on generated " in line or "seed=1001" in line]
    assert words == [word for name in NAMES for word in (name, "[2/2]")]


def test_one_that_cannot_begin_costs_none_of_the_others(three):
    path = three.folder.with_name("beta") / "experiment.py"
    path.write_text(path.read_text().replace('"generated"', '"moons"'))
    answer = three.call("run", "all", "--logger=csv", "--data=generated")
    assert answer.code == 2
    assert answer.err == "error: beta: unknown data set 'generated'; valid: moons\n"
    assert all((Path("runs") / name / "verdicts.json").is_file() for name in ("alpha", "tiny"))


def test_what_is_asked_while_runs_wait_is_done_by_another_worker(here: Path):
    with Pool(jobs=1) as pool:
        pool.start()
        (worker,) = pool.map(os.getpid, [()])
        check = "experiments.multilabel.checks:bce_is_bernoulli"
        results = pool.run([(Task("a check", here / "check", seed=1, config_hash="", check=check),)])
        (other,) = pool.map(os.getpid, [()])
        assert other != worker
        assert [(outcome.status, outcome.error) for _, outcome in results] == [("ok", "")]
        assert pool.map(os.getpid, [()]) == [worker]
