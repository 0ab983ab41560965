"""The figures of the experiment `vanishing`: what they draw against results.csv, read back from its file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle, StepPatch
from read_back import accuracy_by_epoch, artist, band_ends, line, student
from smoke_results import Shared
from synthetic_results import build

from experiments.core.report import figures as core
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results

Drawn = Mapping[str, Drawing]
ACTIVATIONS = {"sigmoid": "sigmoid", "ReLU": "relu", "tanh": "tanh", "identity": "identity"}


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("vanishing")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Drawn:
    return shared.drawings("vanishing")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("vanishing")


def condition(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one condition, of which there is more than one."""
    rows = frame[frame["condition"] == name]
    assert len(rows) > 1, name
    return rows


def at_start(**overrides: object) -> str:
    """Name of a condition measured at initialisation."""
    plain = {"activation": "sigmoid", "initialization": "default", "depth": 10}
    changed = {k: v for k, v in overrides.items() if plain.get(k) != v}
    return ",".join(["initialization", *(f"{k}={v}" for k, v in sorted(changed.items()))])


@pytest.mark.parametrize("name", ["sigmoid", "ReLU"])
def test_theory_in_delta_by_layer_starts_at_the_last_layer(drawn: Drawn, frame: pd.DataFrame, name: str) -> None:
    figure = drawn["delta_by_layer"].figure
    rows = condition(frame, at_start(activation=ACTIVATIONS[name]))
    last = np.log10(rows["initial/gradient/delta_a/layer_10"]).mean()
    _, predicted = line(figure, f"theory/{name}")
    distance = np.arange(9, -1, -1)
    expected = last + rows["predicted_decades_per_layer"].mean() * distance
    assert np.log10(predicted) == pytest.approx(expected, rel=1e-12)
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("name", ["sigmoid", "ReLU"])
def test_decay_against_depth(drawn: Drawn, frame: pd.DataFrame, name: str) -> None:
    figure = drawn["decay_against_depth"].figure
    depths = [2, 4, 6, 10, 16]
    measured, predicted = [], []
    for depth in depths:
        rows = condition(frame, at_start(activation=ACTIVATIONS[name], depth=depth))
        first, last = rows["initial/gradient/delta_a/layer_01"], rows[f"initial/gradient/delta_a/layer_{depth:02d}"]
        measured.append(student(np.log10(first / last)))
        predicted.append((depth - 1) * rows["predicted_decades_per_layer"].mean())
    x, y = line(figure, f"decades/{name}")
    assert x.tolist() == depths
    assert y == pytest.approx([m[0] for m in measured], rel=1e-9)
    low, high = band_ends(figure, f"decades interval/{name}")
    assert low == pytest.approx([m[1] for m in measured], rel=1e-9)
    assert high == pytest.approx([m[2] for m in measured], rel=1e-9)
    assert line(figure, f"theory/{name}")[1] == pytest.approx(predicted, rel=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_theory_of_the_factor_per_layer(frame: pd.DataFrame, drawn: Drawn, activation: str) -> None:
    rows = condition(frame, at_start(activation=ACTIVATIONS[activation], initialization="he"))
    predicted = line(drawn["decay_against_depth"].figure, f"theory/{activation}, He")[0]
    assert predicted == pytest.approx([10 ** rows["predicted_decades_per_layer"].mean()], rel=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_activation_functions_above_the_networks_own_histogram(
    frame: pd.DataFrame, drawn: Drawn, activation: str
) -> None:
    figure = drawn["activation_functions"].figure
    a, value = line(figure, f"function/{activation}")
    point = torch.tensor(a, requires_grad=True)
    truth = getattr(torch, activation)(point)
    (slope,) = torch.autograd.grad(truth.sum(), point)
    assert value == pytest.approx(truth.detach().numpy(), abs=1e-12)
    # At 0, where ReLU has no derivative, any value between 0 and 1 may be drawn.
    shown = line(figure, f"derivative/{activation}")[1]
    assert shown[a != 0] == pytest.approx(slope.numpy()[a != 0], abs=1e-12)
    names = [f"initial/activation/histogram/bin_{index:02d}" for index in range(32)]
    usual = condition(frame, at_start(activation=activation))[names].mean().tolist()
    bars = [artist(figure, f"share/{activation}/{index:02d}") for index in range(32)]
    assert all(isinstance(bar, Rectangle) for bar in bars)
    assert [bar.get_height() for bar in bars] == pytest.approx(usual, rel=1e-12)
    assert [bar.get_x() for bar in bars] == pytest.approx(np.arange(-8, 8, 0.5))
    step = artist(figure, f"share/{activation}/×10")
    assert isinstance(step, StepPatch)
    large = condition(frame, at_start(activation=activation, depth=1, gain=10))[names].mean().tolist()
    assert step.get_data().values == pytest.approx(large, rel=1e-12)


def test_a_failed_run_is_in_no_curve(results: Results, drawn: Drawn) -> None:
    axes = drawn["learning_curves"].figure.axes[1]
    (shown,) = [a for a in axes.lines if a.get_label() == "sigmoid"]
    finished = accuracy_by_epoch(results.plan.directory / "depth=4")
    assert [len(values) for values in finished] == [4, 4, 4]
    assert shown.get_ydata() == pytest.approx([np.mean(values[1:]) for values in finished], rel=1e-12)


def test_beside_each_share_are_its_counts(drawn: Drawn, frame: pd.DataFrame) -> None:
    texts = [text.get_text() for text in drawn["left_plateau_share"].figure.axes[0].texts]
    assert len(texts) == 15
    rows = condition(frame, "depth=1")
    left = int(((rows["train/accuracy"] > 0.5) & (rows["status"] == "ok")).sum())
    assert texts[0] == f"{left} of {len(rows)}"


def test_a_diverged_run_has_not_left_the_plateau(drawn: Drawn, frame: pd.DataFrame) -> None:
    rows = condition(frame, "normalization=layer")
    assert (rows["status"] == "diverged").sum() == 1
    (share,) = (a for a in drawn["left_plateau_share"].figure.axes[0].lines if "LayerNorm" in a.get_label())
    assert share.get_xdata()[0] == rows.loc[rows["status"] == "ok", "left_plateau"].sum() / len(rows)


def one_seed(runs: Path) -> Results:
    return build(runs, seeds=1)


def at_smoke_scale(runs: Path) -> Results:
    return build(runs, scale="smoke")


def on_fashion_mnist(runs: Path) -> Results:
    return build(runs, seeds=2, data="fashion_mnist")


def only_two_runs(runs: Path) -> Results:
    return build(runs, seeds=2, wanted=lambda name, _: name == "activation=relu")


@pytest.mark.parametrize(
    "make",
    [
        only_two_runs,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (one_seed, at_smoke_scale, on_fashion_mnist)),
    ],
)
def test_all_figures_of_any_results_without_a_warning(make: Callable[[Path], Results], tmp_path: Path) -> None:
    some = make(tmp_path)
    drawn = []
    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        warnings.simplefilter("error")
        for name in (*some.plan.grid.experiment.figures, "forest"):
            drawn.append(core.find_figure("vanishing", name)(some).figure)
            drawn[-1].draw_without_rendering()
    bands = [a for figure in drawn for a in figure.findobj(lambda a: (a.get_gid() or "").startswith("band"))]
    assert bool(bands) == (make is not one_seed)
