"""The figures of the experiment `normalization`: what they draw against the files of a run at smoke scale."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import accuracy_by_epoch, band_ends, interval, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

Drawn = dict[str, Drawing]
ARMS = {
    "none": "",
    "BatchNorm": ",normalization=batch",
    "BatchNorm after": ",normalization=batch,normalization_position=after",
    "LayerNorm": ",normalization=layer",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("normalization", tmp_path_factory.mktemp("normalization"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> Drawn:
    return draw(results)


@pytest.fixture(scope="module")
def table(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


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


@pytest.mark.parametrize("metric", ["landscape/loss_range", "landscape/gradient_change/1"])
@pytest.mark.parametrize("arm", ARMS)
def test_landscape_by_step(results: Results, drawn: Drawn, metric: str, arm: str) -> None:
    figure = drawn["landscape"].figure
    seeds = recorded(results.plan.directory / f"relu{ARMS[arm]}", metric)
    x, y = line(figure, f"mean/{metric}/{arm}")
    assert x.tolist() == sorted(seeds[0])
    logs = [[math.log(seed[step]) for seed in seeds] for step in x]
    assert np.log(y) == pytest.approx([np.mean(values) for values in logs], rel=1e-9)
    low, high = band_ends(figure, f"band/{metric}/{arm}")
    assert np.log(low) == pytest.approx([student(values)[1] for values in logs], rel=1e-6)
    assert np.log(high) == pytest.approx([student(values)[2] for values in logs], rel=1e-6)


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


@pytest.mark.parametrize(("arm", "normalization"), [("BatchNorm", "batch"), ("LayerNorm", "layer")])
@pytest.mark.parametrize("measure", ["test/accuracy", "changed_predictions"])
def test_batch_sizes(drawn: Drawn, table: pd.DataFrame, measure: str, arm: str, normalization: str) -> None:
    sizes = [2, 4, 8, 32, 128]
    rows = [table[table["condition"] == f"batch_size,batch_size={b},normalization={normalization}"] for b in sizes]
    assert [len(found) for found in rows] == [2] * 5
    figure = drawn["batch_sizes"].figure
    x, y = line(figure, f"mean/{measure}/{arm}")
    assert x.tolist() == sizes
    assert y == pytest.approx([found[measure].mean() for found in rows], rel=1e-12, nan_ok=True)


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
def test_steps_to_target(results: Results, drawn: Drawn, name: str) -> None:
    figure = drawn["steps_to_target"].figure
    values, arrived = [], 0
    for seed in recorded(results.plan.directory / SPEEDS[name], "val/accuracy"):
        times = [step for step, accuracy in sorted(seed.items()) if accuracy >= 0.9]
        arrived += bool(times)
        values.append(math.log2(times[0] if times else 20))
    (x,), (y,) = line(figure, f"steps/{name}")
    assert math.log2(x) == pytest.approx(np.mean(values), rel=1e-12)
    assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name
    assert f"{arrived} of 2 arrive" in [text.get_text() for text in figure.axes[0].texts]
    low, high = interval(figure, f"interval/{name}")
    assert low <= x <= high


@pytest.mark.parametrize("arm", ARMS)
def test_learning_curves(results: Results, drawn: Drawn, arm: str) -> None:
    axes = drawn["learning_curves"].figure.axes[0]
    (shown,) = [a for a in axes.get_children() if a.get_gid() == f"mean/{arm}"]
    epochs = accuracy_by_epoch(results.plan.directory / f"landscape{ARMS[arm]}")
    assert shown.get_ydata() == pytest.approx([np.mean(values) for values in epochs], rel=1e-12)


def test_checks_have_rows_and_verdicts(results: Results, table: pd.DataFrame) -> None:
    checks = {name for name in table["condition"] if name.startswith("check=")}
    assert checks == {f"check={claim.check}" for claim in results.plan.grid.experiment.claims if claim.check}
    by_id = {verdict.id: verdict for verdict in results.verdicts}
    assert by_id["L68-order-only"].effect < 1e-4
