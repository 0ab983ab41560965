"""`run all`: the workers begin the next experiment while one ends, is judged and is drawn."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from experiments.core.commands import run as runner
from experiments.core.execution import schedule
from experiments.core.execution.execute import run_groups

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


def test_all_are_submitted_before_the_first_is_shown(three, monkeypatch: pytest.MonkeyPatch):
    events = []

    def submitted(pool, pending, rank):
        events.append(f"submitted {pending[0][0].directory.parents[1].name} {rank}")
        return run_groups(pool, pending, rank)

    def watched(plan, *args, redraw, show=runner.show):
        events.append(f"shown {plan.grid.name}")
        show(plan, *args, redraw)

    monkeypatch.setattr(schedule, "run_groups", submitted)
    monkeypatch.setattr(runner, "show", watched)
    answer = three.call("run", "all", "--logger=csv", "--data=generated")
    assert answer.code == 0
    assert events == [
        "submitted alpha 0",
        "submitted beta 1",
        "submitted tiny 2",
        "shown alpha",
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
