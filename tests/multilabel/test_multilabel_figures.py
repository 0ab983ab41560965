"""The experiment at smoke scale: what its figures draw against results.csv, read back from disk."""

from __future__ import annotations

import pandas as pd
import pytest
from read_back import band_ends, interval, line, student
from smoke_results import drawn, smoke

from experiments.multilabel.figures import LOSSES, SCORES

CONDITIONS = {
    "binary cross-entropy": "base",
    "sigmoid, squared error": "loss=label_mse",
    "softmax, cross-entropy": "loss=label_softmax",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return smoke("multilabel", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def figures(results):
    return {name: one.figure for name, one in drawn(results).items()}


@pytest.fixture(scope="module")
def table(results):
    return pd.read_csv(results.plan.directory / "results.csv")


def test_scores(figures, table):
    assert set(LOSSES) == set(CONDITIONS)
    for name, condition in CONDITIONS.items():
        rows = table[table["condition"] == condition]
        assert len(rows) == 2
        for columns in SCORES.values():
            for column in columns:
                mean, low, high = student(list(rows[column]))
                assert line(figures["scores"], f"mean/{column}/{name}")[0] == pytest.approx([mean], rel=1e-9)
                assert interval(figures["scores"], f"interval/{column}/{name}") == pytest.approx([low, high], rel=1e-9)


def test_by_number_of_labels(figures, table):
    for name, condition in CONDITIONS.items():
        rows = table[table["condition"] == condition]
        x, y = line(figures["by_number_of_labels"], f"mean/{name}")
        low, high = band_ends(figures["by_number_of_labels"], f"band/{name}")
        assert x.tolist() == [0, 1, 2, 3, 4, 5, 6]
        for number in range(4):
            values = list(rows[f"test/exact_match/labels={number}"])
            assert (y[number], low[number], high[number]) == pytest.approx(student(values), rel=1e-9, nan_ok=True)


def test_every_figure_shows_a_claim(results, figures):
    claimed = {claim.figure for claim in results.plan.grid.experiment.claims if claim.figure}
    assert claimed == set(results.plan.grid.experiment.figures) == set(figures) - {"forest"}
