"""The figures of `batch_size`: what they draw against results.csv and metrics.csv, read back from their files."""

from __future__ import annotations

import csv
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("batch_size")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("batch_size")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("batch_size")


def rows(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    name = {64: "lr=tuned", 1200: "batch_size=full,lr=tuned"}.get(size, f"batch_size={size},lr=tuned")
    found = frame[frame["condition"] == name]
    assert len(found) == 2, name
    return found


@pytest.mark.parametrize("size", [1, 64, 1200])
@pytest.mark.parametrize("seed", [1000, 1001])
def test_the_same_loss_by_steps_and_by_samples(
    results: Results, drawn: Mapping[str, Drawing], frame: pd.DataFrame, size: int, seed: int
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


def test_the_target_is_that_of_the_config(results: Results, drawn: Mapping[str, Drawing]) -> None:
    assert line(drawn["loss_by_steps_and_samples"].figure, "target/steps")[1].tolist() == [0.3, 0.3]
    text = (results.plan.directory / "lr=tuned" / "seed=1000" / "config.yaml").read_text()
    assert "target: 0.3" in text


def test_theory_of_the_variance(drawn: Mapping[str, Drawing], frame: pd.DataFrame) -> None:
    found = frame[frame["condition"] == "check=gradient_variance"]
    sizes, theory = line(drawn["gradient_variance"].figure, "theory/variance")
    expected = [np.log10(found[f"theory/{int(size):04d}"]).mean() for size in sizes]
    assert np.log10(theory) == pytest.approx(expected, rel=1e-6)


def test_the_claims_are_judged_on_what_the_runs_left(results: Results, frame: pd.DataFrame) -> None:
    verdicts = {verdict.id: verdict for verdict in results.verdicts}
    slope = frame.loc[frame["condition"] == "check=gradient_variance", "slope_error"].mean()
    assert verdicts["L52-gradient-variance"].effect == pytest.approx(slope)
    # No run arrives in twelve steps: then the shares that arrived are compared, and they are the same.
    assert (frame["target/arrived"].dropna() == 0).all()
    assert verdicts["L52-samples-spent"].effect == 0
