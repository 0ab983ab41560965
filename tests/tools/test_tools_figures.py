"""The figures of `tools` at smoke scale: what they draw against results.csv and metrics.csv, read back from disk."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from read_back import artist, line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.tools import figures

Drawn = Mapping[str, Drawing]
NAMES = {"no zero_grad": "no_reset", "ReLU on the logits": "relu_on_logits", "sorted by class": "order=by_class"}
NAMES["learning rate × 100"] = "lr=0.3"


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("tools")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("tools")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("tools")


def losses(condition: Path) -> np.ndarray:
    """Training loss, shape (seeds, epochs), straight from the files."""
    found = []
    for path in sorted(condition.glob("seed=*/metrics.csv")):
        with path.open(newline="") as file:
            found.append([float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "train/loss"])
    return np.array(found)


@pytest.mark.parametrize("panel", [panel for panel in figures.PANELS if panel.check], ids=lambda panel: panel.check)
def test_numbers_of_the_gallery(drawn: Drawn, frame: pd.DataFrame, panel: figures.Panel) -> None:
    rows = frame[frame["condition"] == f"check={panel.check}"]
    assert len(rows) == 2
    for name in ("right", "wrong"):
        bar = artist(drawn["gallery"].figure, f"bar/{name}/{panel.title}")
        assert isinstance(bar, Rectangle)
        assert bar.get_height() == pytest.approx(rows[name].mean(), abs=1e-12)


def test_every_panel_is_there_once(drawn: Drawn) -> None:
    assert [axes.get_title(loc="left") for axes in drawn["gallery"].figure.axes] == [p.title for p in figures.PANELS]
    assert {panel.title for panel in figures.PANELS if panel.condition is not None} == set(NAMES)


def test_resumed_runs_against_the_uninterrupted(results: Results, drawn: Drawn) -> None:
    straight = losses(results.plan.directory / "base")
    for name, condition in (
        ("with the optimiser's state", "resumed"),
        ("from the weights alone", "resumed_weights_only"),
    ):
        apart = np.abs(losses(results.plan.directory / condition) - straight)
        assert line(drawn["resume"].figure, f"mean/{name}")[1] == pytest.approx(apart.mean(0), rel=1e-12, abs=0)
        for seed, expected in zip((1000, 1001), apart, strict=True):
            assert line(drawn["resume"].figure, f"seed/{name}/{seed}")[1].tolist() == expected.tolist()
        assert (apart[:, :3] == 0).all()
        assert (apart[:, 3] == 0).all() == (condition == "resumed")


def test_claims_about_the_resumed_runs_rest_on_their_checkpoints(results: Results) -> None:
    assert results.samples["L59-resumed"].values.tolist() == [0.0, 0.0]
    assert (results.samples["L59-weights-only"].values > 0).all()


def test_the_claims_about_mistakes_compare_the_last_training_losses(results: Results) -> None:
    straight = np.log10(losses(results.plan.directory / "base")[:, -1])
    for claim, condition in (("L31-no-reset", "no_reset"), ("L54-learning-rate", "lr=0.3"), ("L54-control", "lr=0.3")):
        wrong = np.log10(losses(results.plan.directory / condition)[:, -1])
        assert results.samples[claim].values == pytest.approx(wrong - straight, rel=1e-9)


def test_what_goes_beyond_the_lecture_is_not_primary(results: Results) -> None:
    experiment = results.plan.grid.experiment
    assert [claim.id for claim in experiment.claims if claim.control] == ["L54-control"]
    assert not any(
        c.primary for c in experiment.claims if c.source == "beyond" and c.kind == "effect" and not c.control
    )
