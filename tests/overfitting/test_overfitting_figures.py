"""The figures of the experiment `overfitting`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import artist, band_ends, interval, line, student
from smoke_results import drawn, smoke

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

NOISY = {1: "lr=tuned", 4: "depth=4,lr=tuned", 8: "depth=8,lr=tuned"}
CLEAN = {1: "true_labels", 4: "true_labels,depth=4", 8: "true_labels,depth=8"}
CONDITIONS = {"true labels": CLEAN, "20 % label noise": NOISY}
LAYERS = {1: "1 layer", 4: "4 layers", 8: "8 layers"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("overfitting", tmp_path_factory.mktemp("overfitting"))


@pytest.fixture(scope="module")
def figures(results: Results) -> dict[str, Drawing]:
    return drawn(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def of(frame: pd.DataFrame, condition: str) -> pd.DataFrame:
    rows = frame[frame["condition"] == condition]
    assert len(rows) == 2
    return rows


def by_epoch(condition: Path, metric: str) -> list[float]:
    """Mean over seeds of a metric, by epoch, straight from the files."""
    found: dict[int, list[float]] = {}
    for path in sorted(condition.glob("seed=*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] == metric:
                    found.setdefault(int(row["epoch"]), []).append(float(row["value"]))
    return [float(np.mean(found[epoch])) for epoch in sorted(found)]


@pytest.mark.parametrize("title", CONDITIONS)
@pytest.mark.parametrize("depth", LAYERS)
@pytest.mark.parametrize("metric", ["train/loss", "val/loss", "train/accuracy", "val/accuracy"])
def test_curves(results: Results, figures: dict[str, Drawing], title: str, depth: int, metric: str) -> None:
    name = f"{metric}, {LAYERS[depth]}, {title}"
    x, y = line(figures["curves_by_depth"].figure, f"mean/{name}")
    assert x.tolist() == [1, 2]
    assert y == pytest.approx(by_epoch(results.plan.directory / CONDITIONS[title][depth], metric), rel=1e-12)
    dashed = artist(figures["curves_by_depth"].figure, f"mean/{name}").get_linestyle() == "--"
    assert dashed == metric.startswith("train/")


@pytest.mark.parametrize("title", CONDITIONS)
@pytest.mark.parametrize("column", ["final_test/loss", "test/loss", "final_test/accuracy", "test/accuracy"])
def test_overfitting_by_depth(figures: dict[str, Drawing], frame: pd.DataFrame, title: str, column: str) -> None:
    figure = figures["overfitting_by_depth"].figure
    values = [student(of(frame, condition)[column]) for condition in CONDITIONS[title].values()]
    x, y = line(figure, f"mean/{column}, {title}")
    assert x.tolist() == [1, 4, 8]
    assert y == pytest.approx([v[0] for v in values], rel=1e-9)
    low, high = band_ends(figure, f"interval/{column}, {title}")
    assert low == pytest.approx([v[1] for v in values], rel=1e-6)
    assert high == pytest.approx([v[2] for v in values], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "condition"),
    [("1 layer of 128", NOISY[1]), ("1 layer of 686", "lr=tuned,width=686"), ("8 layers of 128", NOISY[8])],
)
def test_width_control(figures: dict[str, Drawing], frame: pd.DataFrame, name: str, condition: str) -> None:
    rows = of(frame, condition)
    for quantity in ("loss", "accuracy"):
        values = rows[f"final_test/{quantity}"] - rows[f"test/{quantity}"]
        mean, low, high = student(values)
        gid = f"test_{quantity}_excess, {name}"
        assert line(figures["width_control"].figure, f"mean/{gid}")[0] == pytest.approx([mean], abs=1e-9)
        if high > low:
            assert interval(figures["width_control"].figure, f"interval/{gid}") == pytest.approx([low, high], abs=1e-9)


@pytest.mark.parametrize(("name", "condition"), [("true labels", CLEAN[4]), ("random labels", "depth=4,label_noise=1")])
@pytest.mark.parametrize("stage", ["train", "val"])
def test_random_labels(results: Results, figures: dict[str, Drawing], name: str, condition: str, stage: str) -> None:
    _, y = line(figures["random_labels"].figure, f"mean/{stage}, {name}")
    assert y == pytest.approx(by_epoch(results.plan.directory / condition, f"{stage}/accuracy"), rel=1e-12)


def test_the_last_weights_are_tested_beside_the_best(frame: pd.DataFrame) -> None:
    """Where validation is best at the last look, both are the same weights and the same numbers."""
    rows = frame[frame["best_epoch"] == 2]
    assert len(rows) > 4
    assert rows["final_test/accuracy"].tolist() == pytest.approx(rows["test/accuracy"].tolist(), abs=1e-12)
    assert rows["final_test/loss"].tolist() == pytest.approx(rows["test/loss"].tolist(), rel=1e-5)
    assert (frame["test_loss_excess"] - (frame["final_test/loss"] - frame["test/loss"])).abs().max() < 1e-12
