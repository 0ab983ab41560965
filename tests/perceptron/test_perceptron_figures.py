"""The figures of the experiment `perceptron`: what they draw against results.csv, read back from its file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import artist, line
from scipy import stats
from smoke_results import Shared

from datamodules.points import FUNCTIONS
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.perceptron.checks import BEST_LINE, SEPARABLE


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("perceptron")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("perceptron")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("perceptron")


def rows(frame, check):
    found = frame[frame["condition"] == f"check={check}"]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("name", SEPARABLE)
def test_updates_beside_their_bound(drawn, frame, name):
    figure, found = drawn["updates_and_bound"].figure, rows(frame, "separable_data")
    assert line(figure, f"bound/{name}")[0] == pytest.approx([stats.gmean(found[f"bound/{name}"])])
    assert (found[f"most_updates/{name}"] <= found[f"bound/{name}"]).all()


@pytest.mark.parametrize("number", range(16))
def test_a_line_for_every_function_that_has_one(drawn, frame, number):
    figure = drawn["boolean_functions"].figure
    axes = figure.axes[number]
    learned = rows(frame, "functions_of_two")[f"learned/{number:02d}"].min() == 1
    assert learned == (FUNCTIONS[number] not in ("xor", "xnor"))
    assert axes.get_title(loc="left").startswith("✖") != learned
    true, false = (np.stack(line(figure, f"points/{number}/{value}"), axis=1) for value in (1, -1))
    assert len(true) == bin(number).count("1")
    assert len(true) + len(false) == 4
    for check, gid in (("functions_of_two", "line"), ("functions_of_two_without_bias", "through origin")):
        lines = figure.findobj(lambda a, wanted=f"{gid}/{number}": a.get_gid() == wanted)
        found = rows(frame, check).iloc[0]
        if not lines:
            assert found[f"learned/{number:02d}"] == 0 or number in (0, 15)
            continue
        x, y = line(figure, f"{gid}/{number}")
        w = [found[f"weight/{number:02d}/{k}"] for k in range(2)]
        w0 = found[f"weight/{number:02d}/2"] if gid == "line" else 0.0
        assert w[0] * x + w[1] * y + w0 == pytest.approx([0.0, 0.0], abs=1e-9)
        assert (true @ w + w0 > 0).all()
        assert (false @ w + w0 < 0).all()


@pytest.mark.parametrize("name", ["xor", "circles"])
def test_accuracy_below_the_best_line(drawn, frame, name):
    figure, found = drawn["limits"].figure, rows(frame, "limited_data")[f"accuracy/{name}"]
    assert sorted(line(figure, f"seeds/{name}")[0]) == pytest.approx(sorted(found))
    (segment,) = artist(figure, f"best line/{name}").get_segments()
    assert segment[:, 0] == pytest.approx([BEST_LINE[name]] * 2)


def test_nothing_is_concluded_at_smoke_scale_and_every_claim_has_its_row(results):
    ids = [verdict.id for verdict in results.verdicts]
    assert ids == [claim.id for claim in results.plan.grid.experiment.claims]
    assert {verdict.verdict for verdict in results.verdicts} == {"NONE"}
    assert [v.id for v in results.verdicts if v.effect is None] == ["L01-inspiration"]


def test_three_inputs(results):
    for check in results.checks["functions_of_three"]:
        assert (check["error"], check["draws"], check["learned"]) == (0, 256, 104)
