"""The figures of `batch_size`: what they draw against results.csv and metrics.csv, read back from their files."""

from __future__ import annotations

import csv
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from read_back import band_ends, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.report import figures as core
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results

SIZES = (1, 4, 16, 64, 256, 1200)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("batch_size", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> dict[str, Drawing]:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def rows(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    name = {64: "lr=tuned", 1200: "batch_size=full,lr=tuned"}.get(size, f"batch_size={size},lr=tuned")
    found = frame[frame["condition"] == name]
    assert len(found) == 2, name
    return found


@pytest.mark.parametrize(
    ("name", "column"),
    [("steps", "target/steps"), ("samples", "target/samples")],
)
def test_cost_by_batch_size(drawn: dict[str, Drawing], frame: pd.DataFrame, name: str, column: str) -> None:
    figure = drawn["cost_by_batch_size"].figure
    truth = [rows(frame, size)[column] for size in SIZES]
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == list(SIZES)
    assert np.log10(y) == pytest.approx([np.log10(values).mean() for values in truth], rel=1e-9)


def test_seconds_are_those_of_the_runs_with_their_interval(drawn: dict[str, Drawing], frame: pd.DataFrame) -> None:
    figure = drawn["cost_by_batch_size"].figure
    truth = [student(np.log10(rows(frame, size)["seconds"])) for size in SIZES]
    assert np.log10(line(figure, "mean/seconds")[1]) == pytest.approx([mean for mean, *_ in truth], rel=1e-9)
    low, high = band_ends(figure, "band/seconds")
    assert np.log10(low) == pytest.approx([low for _, low, _ in truth], rel=1e-6)
    assert np.log10(high) == pytest.approx([high for *_, high in truth], rel=1e-6)


@pytest.mark.parametrize("size", [1, 64, 1200])
@pytest.mark.parametrize("seed", [1000, 1001])
def test_the_same_loss_by_steps_and_by_samples(
    results: Results, drawn: dict[str, Drawing], frame: pd.DataFrame, size: int, seed: int
) -> None:
    name = rows(frame, size)["condition"].iloc[0]
    with (results.plan.directory / name / f"seed={seed}" / "metrics.csv").open(newline="") as file:
        loss = {int(r["step"]): float(r["value"]) for r in csv.DictReader(file) if r["metric"] == "sample/loss"}
    figure = drawn["loss_by_steps_and_samples"].figure
    steps, by_steps = line(figure, f"steps/{size}/{seed}")
    samples, by_samples = line(figure, f"samples/{size}/{seed}")
    assert steps.tolist() == list(range(1, 13))
    assert by_steps == pytest.approx([loss[step] for step in range(1, 13)])
    assert by_samples.tolist() == by_steps.tolist()
    # Twelve steps are within the first epoch, except for all samples at once, where each step is one.
    assert samples.tolist() == [step * size for step in range(1, 13)]
    assert samples[-1] == frame.loc[(frame["condition"] == name) & (frame["seed"] == seed), "target/samples"].item()


def test_the_target_is_that_of_the_config(results: Results, drawn: dict[str, Drawing]) -> None:
    assert line(drawn["loss_by_steps_and_samples"].figure, "target/steps")[1].tolist() == [0.3, 0.3]
    text = (results.plan.directory / "lr=tuned" / "seed=1000" / "config.yaml").read_text()
    assert "target: 0.3" in text


def test_gradient_variance(drawn: dict[str, Drawing], frame: pd.DataFrame) -> None:
    figure = drawn["gradient_variance"].figure
    found = frame[frame["condition"] == "check=gradient_variance"]
    assert len(found) == 2
    sizes = [1, 4, 16, 64, 256, 1024]
    measured = [student(np.log10(found[f"variance/{size:04d}"])) for size in sizes]
    x, y = line(figure, "mean/variance")
    assert x.tolist() == sizes
    assert np.log10(y) == pytest.approx([mean for mean, *_ in measured], rel=1e-6)
    low, high = band_ends(figure, "interval/variance")
    assert np.log10(low) == pytest.approx([low for _, low, _ in measured], rel=1e-6)
    assert np.log10(high) == pytest.approx([high for *_, high in measured], rel=1e-6)
    theory = [np.log10(found[f"theory/{size:04d}"]).mean() for size in sizes]
    assert np.log10(line(figure, "theory/variance")[1]) == pytest.approx(theory, rel=1e-6)


def test_every_figure_without_a_warning(results: Results) -> None:
    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        warnings.simplefilter("error")
        for name in (*results.plan.grid.experiment.figures, "forest"):
            core.find_figure("batch_size", name)(results).figure.draw_without_rendering()


def test_the_claims_are_judged_on_what_the_runs_left(results: Results, frame: pd.DataFrame) -> None:
    verdicts = {verdict.id: verdict for verdict in results.verdicts}
    slope = frame.loc[frame["condition"] == "check=gradient_variance", "slope_error"].mean()
    assert verdicts["L52-gradient-variance"].effect == pytest.approx(slope)
    # No run arrives in twelve steps: then the shares that arrived are compared, and they are the same.
    assert (frame["target/arrived"].dropna() == 0).all()
    assert verdicts["L52-samples-spent"].effect == 0
