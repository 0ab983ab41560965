"""The figures of the experiment `clipping`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import artist, band_ends, interval, line, student
from scipy import stats
from smoke_results import drawn, smoke

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

RATES = {0.01: ",lr=0.01", 0.03: ",lr=0.03", 0.1: ",lr=0.1", 0.3: ",lr=0.3", 1.0: "", 3.0: ",lr=3", 10.0: ",lr=10"}
BOUNDS = {"1e+30": "1e+30", "1.6": "1.6", "1.05": "1.05"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("clipping", tmp_path_factory.mktemp("clipping"))


@pytest.fixture(scope="module")
def figures(results: Results) -> dict[str, Drawing]:
    return drawn(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def of(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    rows = frame[frame["condition"] == condition]
    assert len(rows) == 2, condition
    return rows


def series(directory: Path, metric: str) -> dict[int, float]:
    """Finite values of a metric of one run, by step, straight from its file."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == metric and row["value"]]
    return {int(row["step"]): float(row["value"]) for row in rows if math.isfinite(float(row["value"]))}


@pytest.mark.parametrize("config", ["clipped", "unclipped"])
def test_failures(figures: dict[str, Drawing], frame: pd.DataFrame, config: str) -> None:
    figure = figures["failures"].figure
    failed = []
    for suffix in RATES.values():
        rows = of(frame, f"{config}{suffix}")
        failed.append(int(((rows["status"] != "ok") | ~(rows["train/loss"] < math.log(10))).sum()))
    x, y = line(figure, f"share/{config}")
    assert x == pytest.approx(list(RATES), rel=0.06)
    assert y.tolist() == [count / 2 for count in failed]
    wilson = [stats.binomtest(count, 2).proportion_ci(0.95, method="wilson") for count in failed]
    low, high = band_ends(figure, f"interval/{config}")
    assert low == pytest.approx([w.low for w in wilson], abs=1e-9)
    assert high == pytest.approx([w.high for w in wilson], abs=1e-9)


def test_both_outcomes_are_there_to_be_drawn(frame: pd.DataFrame) -> None:
    failed = frame.loc[frame["config"].isin(["clipped", "unclipped"]), "failed"]
    assert {0.0, 1.0} <= set(failed)


@pytest.mark.parametrize(("config", "metric"), [("clipped", "before"), ("clipped", "after"), ("unclipped", "before")])
def test_gradient_norms_of_one_seed(results: Results, figures: dict[str, Drawing], config: str, metric: str) -> None:
    x, y = line(figures["gradient_norms"].figure, f"norm_{metric}/{config}")
    found = series(results.plan.directory / f"{config},lr=0.1" / "seed=1000", f"gradient/norm_{metric}")
    assert len(found) == 4
    assert dict(zip(x.astype(int).tolist(), y.tolist(), strict=True)) == pytest.approx(found, rel=1e-12)
    if metric == "after":
        assert y.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("bound", BOUNDS)
def test_regularization(results: Results, figures: dict[str, Drawing], frame: pd.DataFrame, bound: str) -> None:
    figure = figures["regularization"].figure
    condition = f"fully_connected,gradient_clip_val={BOUNDS[bound]},lr=tuned"
    values = of(frame, condition)["val_loss_at_equal_training"]
    runs = [results.plan.directory / condition / f"seed={seed}" for seed in (1000, 1001)]
    for axis, metric in enumerate(("train/loss", "val/loss")):
        both = np.mean([list(series(run, metric).values()) for run in runs], axis=0)
        assert line(figure, f"path/{bound}")[axis] == pytest.approx(both, rel=1e-12)
    if np.isfinite(values).all():
        assert line(figure, f"mean/{bound}")[0] == pytest.approx([values.mean()], rel=1e-9)
        assert interval(figure, f"interval/{bound}") == pytest.approx(student(values)[1:], rel=1e-9)
    else:
        assert np.isnan(line(figure, f"mean/{bound}")[0]).all()
    assert artist(figure, f"mean/{bound}") is not None


def test_a_bound_that_no_gradient_reaches_clips_nothing(frame: pd.DataFrame) -> None:
    rows = frame[frame["config"] == "unclipped"]
    assert (rows.loc[rows["status"] == "ok", "gradient/clipped_share"] == 0).all()
    assert (frame.loc[frame["config"] == "clipped", "gradient/clipped_share"] > 0).any()
