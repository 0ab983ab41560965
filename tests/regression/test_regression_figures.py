"""The experiment at smoke scale: what its figures draw against results.csv, read back from disk."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import artist, line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.regression import theory
from experiments.regression.checks import SIZES
from experiments.regression.figures import CONDITIONS, LAWS


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("regression")


@pytest.fixture(scope="module")
def figures(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("regression")


@pytest.fixture(scope="module")
def table(shared: Shared) -> pd.DataFrame:
    return shared.table("regression")


def test_raw_features_diverge_and_standardised_ones_do_not(table):
    rows = table.set_index("condition")["status"]
    assert set(rows["standardize=False"]) == {"diverged"}
    assert set(rows["base"]) == set(rows["two_layer"]) == set(rows["lr=1e-05,standardize=False"]) == {"ok"}


def test_efficiency_shows_the_theory(figures):
    for law, limit in (("gaussian", 2 / math.pi), ("laplace", 2.0)):
        name = LAWS[law][0]
        assert line(figures["efficiency"].figure, f"limit/{name}")[1] == pytest.approx(limit)
        exact = [theory.variance_ratio(law, n) for n in SIZES]
        assert line(figures["efficiency"].figure, f"theory/{name}")[1] == pytest.approx(exact)


def test_scores_show_r2_of_runs_that_have_one(figures):
    texts = [text.get_text() for text in figures["scores"].figure.axes[0].texts]
    assert "2 of 2 diverged" in texts
    labels = {a.get_label() for a in figures["scores"].figure.findobj(lambda a: a.get_gid())}
    assert "linear, standardised" in labels
    assert not any("lr .05" in label for label in labels)


def test_losses_are_geometric_means_of_the_runs(results, figures):
    for name, (overrides, _) in CONDITIONS.items():
        runs = results.of(overrides)
        by_step = [{step: loss for _, step, loss in run.series("train/loss")} for run in runs]
        x, y = line(figures["loss_by_step"].figure, f"mean/{name}")
        assert len(x) > 0
        for step, value in zip(x, y, strict=True):
            assert value == pytest.approx(math.exp(np.mean([math.log(seed[step]) for seed in by_step])), rel=1e-9)
    assert artist(figures["loss_by_step"].figure, "band/linear, standardised")
