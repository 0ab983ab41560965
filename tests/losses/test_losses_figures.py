"""The figures of the experiment `losses`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from read_back import accuracy_by_epoch, artist, line, student
from smoke_results import drawn, smoke

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

CURVES = {
    ("learning_curves", "cross-entropy"): "lr=tuned",
    ("learning_curves", "sigmoid + MSE"): "sigmoid_mse,lr=tuned",
    ("learning_curves", "softmax + MSE"): "softmax_mse,lr=tuned",
    ("learning_curves", "linear + MSE"): "linear_mse,lr=tuned",
    ("learning_curves", "Adam, cross-entropy"): "adam,lr=tuned",
    ("learning_curves", "Adam, sigmoid + MSE"): "adam_sigmoid_mse,lr=tuned",
    ("saturated_start", "×1, cross-entropy"): "base",
    ("saturated_start", "×30, cross-entropy"): "output_gain=30",
    ("saturated_start", "×1, sigmoid + MSE"): "sigmoid_mse",
    ("saturated_start", "×30, sigmoid + MSE"): "sigmoid_mse,output_gain=30",
    ("saturated_start", "×30, softmax + MSE"): "softmax_mse,output_gain=30",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("losses", tmp_path_factory.mktemp("losses"))


@pytest.fixture(scope="module")
def figures(results: Results) -> dict[str, Drawing]:
    return drawn(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


@pytest.mark.parametrize(("figure", "name"), CURVES)
def test_curves(results: Results, figures: dict[str, Drawing], figure: str, name: str) -> None:
    looks = accuracy_by_epoch(results.plan.directory / CURVES[figure, name])
    x, y = line(figures[figure].figure, f"mean/{name}")
    assert len(looks) == 2
    assert x.tolist() == [4, 8]
    assert y == pytest.approx([np.mean(look) for look in looks], rel=1e-12)
    assert artist(figures[figure].figure, f"band/{name}") is not None


def of_check(frame: pd.DataFrame, check: str) -> pd.DataFrame:
    rows = frame[frame["condition"] == f"check={check}"]
    assert len(rows) == 2
    return rows


@pytest.mark.parametrize("loss", ["cross_entropy", "sigmoid_mse", "softmax_mse", "linear_mse"])
def test_gradient_at_a_wrong_output(figures: dict[str, Drawing], frame: pd.DataFrame, loss: str) -> None:
    figure = figures["wrong_gradient"].figure
    x, y = line(figure, f"mean/{loss}")
    rows = of_check(frame, "wrong_gradient")
    assert y == pytest.approx([rows[f"{loss}_m{int(m):02d}"].mean() for m in x], rel=1e-9)
    fine, theory = line(figure, f"theory/{loss}")
    assert np.exp(np.interp(x, fine, np.log(theory))) == pytest.approx(y, rel=1e-9)


def test_gradient_share(figures: dict[str, Drawing], frame: pd.DataFrame) -> None:
    figure = figures["gradient_share"].figure
    rows = of_check(frame, "gradient_share")
    columns = [rows[f"mse_share_{k:03d}"] for k in (2, 10, 100)]
    assert line(figure, "mean/sigmoid_mse")[1] == pytest.approx([c.mean() for c in columns], rel=1e-9)
    ends = [segment[:, 1] for segment in artist(figure, "interval/sigmoid_mse").get_segments()]
    assert [e.max() for e in ends] == pytest.approx([student(c)[2] for c in columns], rel=1e-9)
    assert line(figure, "theory/cross_entropy")[1].tolist() == [0.5, 0.5]


def test_overflow(figures: dict[str, Drawing], frame: pd.DataFrame) -> None:
    figure = figures["overflow"].figure
    row = of_check(frame, "naive_overflow").iloc[0]
    x, y = line(figure, "mean/as written")
    assert y == pytest.approx([row[f"naive_{int(z):03d}"] for z in x], rel=1e-9, nan_ok=True)
    (limit, _), _ = line(figure, "theory/limit")
    assert limit == pytest.approx(88.72, abs=0.01)
    assert np.isnan(y[x > limit]).all()
    assert np.isfinite(y[x < limit]).all()
    assert line(figure, "mean/combined")[1] == pytest.approx([row[f"stable_{int(z):03d}"] for z in x], rel=1e-9)


def test_measures_of_the_runs_are_in_the_table(results: Results, frame: pd.DataFrame) -> None:
    for _, row in frame[~frame["condition"].str.startswith("check=")].iterrows():
        looks = accuracy_by_epoch(results.plan.directory / str(row["condition"]))
        of_seed = [look[int(row["seed"]) - 1000] for look in looks]
        steps = [4 * (k + 1) for k, accuracy in enumerate(of_seed) if accuracy >= 0.7] or [8]
        assert row["log10_steps_to_target"] == pytest.approx(math.log10(steps[0]), rel=1e-9)
