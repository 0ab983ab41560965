"""Contrasts over several conditions, and differences paired by seed, against numbers made by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from read_back import interval, line, student
from synthetic_results import build

from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.verdicts.measures import largest_difference, smallest_difference


@pytest.mark.parametrize(
    ("values", "smallest", "largest"), [([1.0, 3.0, 0.0, 2.0], -1.0, 2.0), ([5.0, 1.0], -4.0, -4.0)]
)
def test_differences_are_to_the_first(values, smallest, largest):
    points = [(None, value) for value in values]
    assert smallest_difference(points) == smallest
    assert largest_difference(points) == largest


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Four seeds; of `residual=True` seed 1002 is missing, of `normalization=layer` seed 1001 diverged."""
    return build(tmp_path_factory.mktemp("synthetic"), seeds=4)


def paired(results, name, minus, column):
    frame = pd.read_csv(results.plan.directory / "results.csv")
    one, other = (frame[frame["condition"] == c].set_index("seed")[column] for c in (name, minus))
    return (one - other).dropna()


@pytest.mark.parametrize(("where", "name"), [({"residual": True}, "residual=True"), ({"depth": 1}, "depth=1")])
def test_pairs_are_seeds_that_both_have(results, where, name):
    found = plots.difference(results, where, {}, "test/accuracy").values
    expected = paired(results, name, "base", "test/accuracy")
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    assert len(found) == (3 if name == "residual=True" else 4)


def test_a_diverged_run_has_no_difference(results):
    assert len(plots.difference(results, {"normalization": "layer"}, {}, "test/accuracy").values) == 3


def test_drawn_differences(results):
    series = (plots.Series("plain", {}, d.BLUE, "o"), plots.Series("relu", {"activation": "relu"}, d.BLACK, "D"))
    rows = {"shallow": {"depth": 1}, "middle": {"depth": 4}}
    measures = (
        plots.Measure("test/loss", plots.PLAIN, "loss", -0.05),
        plots.Measure("test/accuracy", plots.PERCENT, "points", 1.0),
    )
    figure, counts = plots.draw_differences(results, rows, series, measures)
    assert counts == "n = 3–4"
    for shown in measures:
        for depth in ("depth=1", "depth=4"):
            for name, minus in ((depth, "base"), (f"activation=relu,{depth}", "activation=relu")):
                factor = 100 if shown.label == "points" else 1
                values = factor * paired(results, name, minus, shown.name)
                mean, low, high = student(values)
                key = f"{shown.scale.name}{shown.name}/{name} − {minus}"
                (x,), _ = line(figure, f"mean/{key}")
                assert x == pytest.approx(mean, rel=1e-9)
                assert interval(figure, f"interval/{key}") == pytest.approx([low, high], rel=1e-9)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(rows)
    thresholds = [float(axes.lines[1].get_xdata()[0]) for axes in figure.axes]
    assert thresholds == pytest.approx([-0.05, 1.0])
