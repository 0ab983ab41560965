"""Claims that checks decide, without a grid: effects, proportions, censuses of pure functions; other seeds; `all`."""

from __future__ import annotations

import csv
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from experiments.core.definitions import Claim, DefinitionError
from experiments.core.grid import catalogue
from experiments.core.verdicts.statistics import student_interval
from experiments.core.verdicts.verdict import read_verdicts

DEFINITION = """
    '''Nothing is trained here.'''
    from experiments.core.definitions import Claim, Experiment

    def claim(id, **fields):
        return Claim(id, statement="s", statement_fr="s", slide="s", **fields)

    experiment = Experiment(
        title="Tiny", title_fr="Petite", figures=(),
        claims=[
            claim("L1-effect", kind="effect", check="drawn", measure="uniform", above=0.1),
            claim("L2-share", kind="proportion", check="drawn", measure="happened", above=0.5),
            claim("L3-count", kind="effect", check="drawn", measure="count", above=13.0, resolution=1.0),
            claim("L4-constant", kind="effect", check="drawn", measure="count", above=13.0, primary=False),
            claim("L5-census", kind="census", check="drawn", measure="count", n=1),
            claim("L6-words", kind="not testable", note="rhetoric"),
            claim("L7-exact", kind="exact", check="zero", tolerance=0.0, n=2),
        ],
    )
    """
CHECKS = """
    import random

    def drawn(seed):
        return {"uniform": 1 + random.Random(seed).random(), "happened": 1.0, "count": 14.0}

    def zero(seed):
        return {"error": 0.0, "draws": 1000.0}
    """


@pytest.fixture
def without_grid(tiny):
    tiny.write("experiment.py", DEFINITION)
    tiny.write("checks.py", CHECKS)
    (tiny.folder / "base.yaml").unlink()
    return tiny


def stored(place: str) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in json.loads(Path(place, "verdicts.json").read_text())}


def test_an_experiment_of_checks_alone_is_run_and_judged(without_grid):
    answer = without_grid.run()
    assert answer.code == 0, answer.err
    found = stored("runs/tiny")
    with Path("runs/tiny/results.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["condition"] == "check=drawn"]
    assert [row["seed"] for row in rows] == [str(seed) for seed in range(1000, 1030)]
    values = np.array([float(row["uniform"]) for row in rows])
    effect = found["L1-effect"]
    assert effect["n"] == 10
    assert effect["effect"] == pytest.approx(values[:10].mean(), rel=1e-12)
    low, high = student_interval(values[:10], 0.95)
    assert (effect["ci95_low"], effect["ci95_high"]) == pytest.approx((low, high), rel=1e-12)
    assert effect["verdict"] == "CONFIRMED"
    assert (found["L2-share"]["n"], found["L2-share"]["verdict"]) == (30, "CONFIRMED")
    assert found["L7-exact"]["verdict"] == "PASS"
    assert found["L7-exact"]["draws"] == 2000
    assert all(row["official"] for row in found.values())


def test_a_sample_without_spread_needs_a_resolution(without_grid):
    without_grid.run()
    found = stored("runs/tiny")
    # 14 ± 1 reaches 13: the whole interval must lie beyond the threshold.
    assert (found["L3-count"]["ci_low"], found["L3-count"]["verdict"]) == (13.0, "INCONCLUSIVE")
    assert found["L4-constant"]["undecidable"] == "all values are equal, and the measure declares no resolution"


def test_a_census_and_words_are_shown_without_a_verdict(without_grid):
    without_grid.run()
    found = stored("runs/tiny")
    assert (found["L5-census"]["verdict"], found["L5-census"]["effect"]) == ("NONE", 14.0)
    assert (found["L6-words"]["verdict"], found["L6-words"]["effect"]) == ("NONE", None)


def test_other_seeds_go_elsewhere_and_are_exploratory(without_grid):
    without_grid.run("--first-seed=2000")
    found = stored("runs/tiny-first_seed=2000")
    places = {path.parent.name for path in Path("runs/tiny-first_seed=2000/check=zero").glob("*/result.json")}
    assert places == {"seed=2000", "seed=2001"}
    assert not any(row["official"] for row in found.values())
    assert not Path("runs/tiny").exists()


def test_a_measure_that_the_check_does_not_give_is_named(without_grid):
    without_grid.edit("experiment.py", 'measure="uniform"', 'measure="unifrom"')
    answer = without_grid.run()
    assert answer.code == 2
    assert answer.err.strip().endswith("claim L1-effect: unknown measure 'unifrom'; did you mean 'uniform'?")


def test_all_goes_on_after_an_experiment_that_cannot_be_run(without_grid):
    other = without_grid.folder.with_name("another")
    other.mkdir()
    (other / "experiment.py").write_text(textwrap.dedent(DEFINITION).replace('"Petite"', '"Petite", data=("moons",)'))
    answer = without_grid.call("run", "all", "--logger=csv", "--data=generated")
    assert answer.code == 2
    assert answer.err == "error: another: unknown data set 'generated'; valid: moons\n"
    assert stored("runs/tiny")["L1-effect"]["verdict"] == "CONFIRMED"
    assert "Not run yet: another." in Path("runs/index.html").read_text()


def test_a_check_has_no_conditions_and_needs_a_measure():
    words = {"statement": "s", "statement_fr": "s", "slide": "s", "kind": "effect", "above": 0.1}
    with pytest.raises(DefinitionError, match="a check has no conditions"):
        Claim("L1-a", check="drawn", measure="m", where={}, **words)
    with pytest.raises(DefinitionError, match="needs a measure"):
        Claim("L1-a", check="drawn", **words)
    with pytest.raises(DefinitionError, match="or `check`"):
        Claim("L1-a", measure="m", **words)


def test_tuning_can_maximise_a_derived_measure(tiny):
    tiny.edit("experiment.py", "seeds=(900, 901))", 'seeds=(900, 901), minimize="-twice_accuracy")')
    assert tiny.run("--seeds=2").code == 0
    place = Path("runs/tiny-seeds=2")
    with (place / "tuning.csv").open(newline="") as file:
        rows = {float(row["lr"]): row for row in csv.DictReader(file)}
    for value, row in rows.items():
        results = [json.loads(path.read_text()) for path in place.glob(f"tuning/*lr={value:g}/*/result.json")]
        assert len(results) == 2
        diverged = any(result["status"] == "diverged" for result in results)
        mean = np.mean([2 * result["measures"].get("test/accuracy", 0.0) for result in results])
        assert float(row["-twice_accuracy"]) == (np.inf if diverged else pytest.approx(-mean, rel=1e-12))
    best = min(rows, key=lambda value: float(rows[value]["-twice_accuracy"]))
    assert [value for value, row in rows.items() if row["chosen"] == "1"] == [best]
    assert float(rows[1e30]["-twice_accuracy"]) == np.inf


def test_verdicts_of_checks_survive_their_file(without_grid):
    without_grid.run()
    found = read_verdicts(Path("runs/tiny/verdicts.json"))
    assert [verdict.id for verdict in found] == [claim.id for claim in catalogue.load("tiny").claims]
