"""The experiment at smoke scale: what its figures draw against results.csv, read back from disk."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from read_back import artist, band_ends, line, student
from smoke_results import drawn, smoke

from experiments.regression import theory
from experiments.regression.checks import SIZES
from experiments.regression.figures import CONDITIONS, LAWS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return smoke("regression", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def figures(results):
    return {name: one.figure for name, one in drawn(results).items()}


@pytest.fixture(scope="module")
def table(results):
    return pd.read_csv(results.plan.directory / "results.csv")


def test_raw_features_diverge_and_standardised_ones_do_not(table):
    rows = table.set_index("condition")["status"]
    assert set(rows["standardize=False"]) == {"diverged"}
    assert set(rows["base"]) == set(rows["two_layer"]) == set(rows["lr=1e-05,standardize=False"]) == {"ok"}


def test_efficiency_shows_the_checks_and_the_theory(figures, table):
    rows = table[table["condition"] == "check=mean_against_median"]
    for law, (name, _) in LAWS.items():
        x, y = line(figures["efficiency"], f"mean/{name}")
        assert x.tolist() == list(SIZES)
        logs = [np.log(rows[f"{law}/ratio/{n}"]) for n in SIZES]
        assert y == pytest.approx(np.exp([values.mean() for values in logs]), rel=1e-9)
        low, high = band_ends(figures["efficiency"], f"interval/{name}")
        truth = np.exp([student(list(values))[1:] for values in logs])
        assert pytest.approx(truth, rel=1e-9) == np.stack([low, high]).T
    for law, limit in (("gaussian", 2 / math.pi), ("laplace", 2.0)):
        name = LAWS[law][0]
        assert line(figures["efficiency"], f"limit/{name}")[1] == pytest.approx(limit)
        exact = [theory.variance_ratio(law, n) for n in SIZES]
        assert line(figures["efficiency"], f"theory/{name}")[1] == pytest.approx(exact)


def test_scores_show_r2_of_runs_that_have_one(figures, table):
    names = {"base": "linear, standardised", "two_layer": "5 tanh, standardised"}
    for condition, name in names.items():
        rows = table[table["condition"] == condition]
        for column in ("train/r2", "final_test/r2", "test_ols_r2"):
            (x,), _ = line(figures["scores"], f"mean/{column}/{name}")
            assert x == pytest.approx(rows[column].mean(), rel=1e-9)
    texts = [text.get_text() for text in figures["scores"].axes[0].texts]
    assert "2 of 2 diverged" in texts
    gids = {a.get_gid() for a in figures["scores"].findobj(lambda a: a.get_gid())}
    assert not any("lr .05" in gid for gid in gids)


def test_losses_are_geometric_means_of_the_runs(results, figures):
    for name, (overrides, _) in CONDITIONS.items():
        runs = results.of(overrides)
        by_step = [{step: loss for _, step, loss in run.series("train/loss")} for run in runs]
        x, y = line(figures["loss_by_step"], f"mean/{name}")
        assert len(x) > 0
        for step, value in zip(x, y, strict=True):
            assert value == pytest.approx(math.exp(np.mean([math.log(seed[step]) for seed in by_step])), rel=1e-9)
    assert artist(figures["loss_by_step"], "band/linear, standardised")


def test_every_figure_shows_a_claim(results, figures):
    claimed = {claim.figure for claim in results.plan.grid.experiment.claims if claim.figure}
    assert claimed == set(results.plan.grid.experiment.figures) == set(figures) - {"forest"}
