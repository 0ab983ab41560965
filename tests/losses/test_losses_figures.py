"""The figures of the experiment `losses`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import accuracy_by_epoch, line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("losses")


@pytest.fixture(scope="module")
def figures(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("losses")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("losses")


def of_check(frame: pd.DataFrame, check: str) -> pd.DataFrame:
    rows = frame[frame["condition"] == f"check={check}"]
    assert len(rows) == 2
    return rows


@pytest.mark.parametrize("loss", ["cross_entropy", "sigmoid_mse", "softmax_mse", "linear_mse"])
def test_gradient_at_a_wrong_output(figures: Mapping[str, Drawing], frame: pd.DataFrame, loss: str) -> None:
    figure = figures["wrong_gradient"].figure
    fine, theory = line(figure, f"theory/{loss}")
    rows, margins = of_check(frame, "wrong_gradient"), fine[:: 200 // int(fine[-1])]
    found = [rows[f"{loss}_m{int(m):02d}"].mean() for m in margins]
    assert np.exp(np.interp(margins, fine, np.log(theory))) == pytest.approx(found, rel=1e-9)


def test_half_of_the_gradient_of_cross_entropy(figures: Mapping[str, Drawing]) -> None:
    assert line(figures["gradient_share"].figure, "theory/cross_entropy")[1].tolist() == [0.5, 0.5]


def test_overflow(figures: Mapping[str, Drawing], frame: pd.DataFrame) -> None:
    figure = figures["overflow"].figure
    row = of_check(frame, "naive_overflow").iloc[0]
    x, y = line(figure, "loss/as written")
    assert y == pytest.approx([row[f"naive_{int(z):03d}"] for z in x], rel=1e-9, nan_ok=True)
    (limit, _), _ = line(figure, "theory/limit")
    assert limit == pytest.approx(88.72, abs=0.01)
    assert np.isnan(y[x > limit]).all()
    assert np.isfinite(y[x < limit]).all()
    assert line(figure, "loss/combined")[1] == pytest.approx([row[f"stable_{int(z):03d}"] for z in x], rel=1e-9)


def test_measures_of_the_runs_are_in_the_table(results: Results, frame: pd.DataFrame) -> None:
    for _, row in frame[~frame["condition"].str.startswith("check=")].iterrows():
        looks = accuracy_by_epoch(results.plan.directory / str(row["condition"]))
        of_seed = [look[int(row["seed"]) - 1000] for look in looks]
        steps = [4 * (k + 1) for k, accuracy in enumerate(of_seed) if accuracy >= 0.7] or [8]
        assert row["log10_steps_to_target"] == pytest.approx(math.log10(steps[0]), rel=1e-9)
