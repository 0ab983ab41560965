"""The figures of the experiment `clipping`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

BOUNDS = {"no clipping": "1e+30", "at 1.6 (90th percentile)": "1.6", "at 1.05 (median)": "1.05"}


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("clipping")


@pytest.fixture(scope="module")
def figures(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("clipping")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("clipping")


def series(directory: Path, metric: str) -> dict[int, float]:
    """Finite values of a metric of one run, by step, straight from its file."""
    with (directory / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == metric and row["value"]]
    return {int(row["step"]): float(row["value"]) for row in rows if math.isfinite(float(row["value"]))}


def test_both_outcomes_are_there_to_be_drawn(frame: pd.DataFrame) -> None:
    failed = frame.loc[frame["config"].isin(["clipped", "unclipped"]), "failed"]
    assert {0.0, 1.0} <= set(failed)


@pytest.mark.parametrize(("config", "metric"), [("clipped", "before"), ("clipped", "after"), ("unclipped", "before")])
def test_gradient_norms_of_one_seed(results: Results, figures: Mapping[str, Drawing], config: str, metric: str) -> None:
    x, y = line(figures["gradient_norms"].figure, f"norm_{metric}/{config}")
    found = series(results.plan.directory / f"{config},lr=0.1" / "seed=1000", f"gradient/norm_{metric}")
    assert len(found) == 4
    assert dict(zip(x.astype(int).tolist(), y.tolist(), strict=True)) == pytest.approx(found, rel=1e-12)
    if metric == "after":
        assert y.max() <= 1.0 + 1e-6


@pytest.mark.parametrize("bound", BOUNDS)
def test_regularization(results: Results, figures: Mapping[str, Drawing], bound: str) -> None:
    condition = f"fully_connected,gradient_clip_val={BOUNDS[bound]},lr=tuned"
    runs = [results.plan.directory / condition / f"seed={seed}" for seed in (1000, 1001)]
    for axis, metric in enumerate(("train/loss", "val/loss")):
        both = np.mean([list(series(run, metric).values()) for run in runs], axis=0)
        assert line(figures["regularization"].figure, f"path/{bound}")[axis] == pytest.approx(both, rel=1e-12)


def test_a_bound_that_no_gradient_reaches_clips_nothing(frame: pd.DataFrame) -> None:
    rows = frame[frame["config"] == "unclipped"]
    assert (rows.loc[rows["status"] == "ok", "gradient/clipped_share"] == 0).all()
    assert (frame.loc[frame["config"] == "clipped", "gradient/clipped_share"] > 0).any()
