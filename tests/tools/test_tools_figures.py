"""The figures of `tools` at smoke scale: what they draw against results.csv and metrics.csv, read back from disk."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from read_back import artist, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.tools import figures

Drawn = dict[str, Drawing]
NAMES = {"no zero_grad": "no_reset", "ReLU on the logits": "relu_on_logits", "sorted by class": "order=by_class"}
NAMES["learning rate × 100"] = "lr=0.3"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("tools", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> Drawn:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


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
        assert line(drawn["gallery"].figure, f"mean/{name}/{panel.title}")[1] == pytest.approx(
            rows[name].mean(), abs=1e-12
        )


@pytest.mark.parametrize("title", NAMES)
def test_losses_of_the_gallery(results: Results, drawn: Drawn, title: str) -> None:
    for name, condition in (("right", "base"), ("wrong", NAMES[title])):
        values = losses(results.plan.directory / condition)
        assert values.shape == (2, 4)
        x, y = line(drawn["gallery"].figure, f"mean/{name}/{title}")
        assert x.tolist() == [1, 2, 3, 4]
        assert y == pytest.approx([10 ** student(np.log10(column))[0] for column in values.T], rel=1e-9)


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


def test_every_figure_that_a_claim_names_is_drawn(results: Results, drawn: Drawn) -> None:
    experiment = results.plan.grid.experiment
    assert {c.figure for c in experiment.claims if c.figure} == set(experiment.figures) == set(drawn) - {"forest"}
    assert [claim.id for claim in experiment.claims if claim.control] == ["L54-control"]
    assert not any(
        c.primary for c in experiment.claims if c.source == "beyond" and c.kind == "effect" and not c.control
    )
