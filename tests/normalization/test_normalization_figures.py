"""The figures of the experiment `normalization`: what they draw against the files of a run at smoke scale."""

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

Drawn = Mapping[str, Drawing]
ARMS = {
    "none": "",
    "BatchNorm": ",normalization=batch",
    "BatchNorm after": ",normalization=batch,normalization_position=after",
    "LayerNorm": ",normalization=layer",
}


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("normalization")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("normalization")


@pytest.fixture(scope="module")
def table(shared: Shared) -> pd.DataFrame:
    return shared.table("normalization")


def recorded(condition: Path, metric: str) -> list[dict[int, float]]:
    """One metric of every seed by step, straight from the files."""
    found = []
    for path in sorted(condition.glob("seed=*/metrics.csv")):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == metric]
        found.append({int(row["step"]): float(row["value"]) for row in rows})
    assert len(found) == 2
    assert all(found)
    return found


def changes_by_octave(condition: Path) -> dict[float, list[float]]:
    """Mean log2 change of the gradient of every seed by the middle of the octave of the loss."""
    found: dict[float, list[float]] = {}
    losses, changes = recorded(condition, "landscape/loss"), recorded(condition, "landscape/gradient_change/1")
    for loss, change in zip(losses, changes, strict=True):
        octaves: dict[int, list[float]] = {}
        for step in loss:
            octaves.setdefault(math.floor(math.log2(loss[step])), []).append(math.log2(change[step]))
        for octave, values in octaves.items():
            found.setdefault(2 ** (octave + 0.5), []).append(float(np.mean(values)))
    return {x: values for x, values in sorted(found.items()) if len(values) == 2}


@pytest.mark.parametrize(("network", "config"), [("ReLU", "relu"), ("sigmoid", "landscape")])
@pytest.mark.parametrize("arm", ARMS)
def test_landscape_by_loss(results: Results, drawn: Drawn, network: str, config: str, arm: str) -> None:
    plain = changes_by_octave(results.plan.directory / config)
    ours = changes_by_octave(results.plan.directory / f"{config}{ARMS[arm]}")
    expected = {octave: values for octave, values in ours.items() if octave in plain}
    x, y = line(drawn["landscape"].figure, f"mean/{network}/{arm}")
    assert x == pytest.approx(list(expected), rel=1e-12)
    assert np.log2(y) == pytest.approx([np.mean(values) for values in expected.values()], rel=1e-9)


SPEEDS = {
    "1 layer": "depth=1",
    "1 layer, BatchNorm": "depth=1,normalization=batch",
    "3 layers": "landscape",
    "3 layers, BatchNorm after": "landscape,normalization=batch,normalization_position=after",
    "3 layers, LayerNorm": "landscape,normalization=layer",
    "own rate": "lr=tuned",
    "own rate, BatchNorm": "lr=tuned,normalization=batch",
    "own rate, Adam, LayerNorm": "lr=tuned,normalization=layer,optimizer=adam",
}


@pytest.mark.parametrize("name", SPEEDS)
def test_how_many_seeds_arrive(results: Results, drawn: Drawn, name: str) -> None:
    looks = recorded(results.plan.directory / SPEEDS[name], "val/accuracy")
    arrived = sum(any(accuracy >= 0.9 for accuracy in seed.values()) for seed in looks)
    texts = drawn["steps_to_target"].figure.axes[0].texts
    (row,) = [
        label.get_position()[1]
        for label in drawn["steps_to_target"].figure.axes[0].get_yticklabels()
        if label.get_text() == name
    ]
    assert f"{arrived} of 2 arrive" in [text.get_text() for text in texts if text.xy[1] == row]


def test_checks_have_rows_and_verdicts(results: Results, table: pd.DataFrame) -> None:
    checks = {name for name in table["condition"] if name.startswith("check=")}
    assert checks == {f"check={claim.check}" for claim in results.plan.grid.experiment.claims if claim.check}
    by_id = {verdict.id: verdict for verdict in results.verdicts}
    assert by_id["L68-order-only"].effect < 1e-4
