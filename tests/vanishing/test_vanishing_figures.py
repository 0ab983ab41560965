"""The figures of the experiment `vanishing`: what they draw against results.csv, read back from its file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle, StepPatch
from read_back import accuracy_by_epoch, artist, band_ends, interval, line, student
from scipy import stats
from synthetic_results import build, table

from experiments.core.report import figures as core
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results

pytest_plugins = ["results_fixtures"]

Drawn = dict[str, Drawing]
ACTIVATIONS = {"sigmoid": "sigmoid", "ReLU": "relu", "tanh": "tanh", "identity": "identity"}
INITIALIZATIONS = {"default": "default", "Xavier": "xavier", "He": "he"}


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return table(results)


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


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("sigmoid", at_start()),
        ("ReLU", at_start(activation="relu")),
        ("sigmoid + BatchNorm", at_start(normalization="batch")),
        ("ReLU, He", at_start(activation="relu", initialization="he")),
    ],
)
def test_delta_by_layer(drawn: Drawn, frame: pd.DataFrame, name: str, where: str) -> None:
    figure = drawn["delta_by_layer"].figure
    rows = condition(frame, where)
    columns = [np.log10(rows[f"initial/gradient/delta_a/layer_{index:02d}"]) for index in range(1, 11)]
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == list(range(1, 11))
    assert np.log10(y) == pytest.approx([c.mean() for c in columns], rel=1e-12)
    low, high = band_ends(figure, f"band/{name}")
    assert np.log10(low) == pytest.approx([student(c)[1] for c in columns], rel=1e-9)
    assert np.log10(high) == pytest.approx([student(c)[2] for c in columns], rel=1e-9)
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("name", ["sigmoid", "ReLU"])
def test_theory_in_delta_by_layer_starts_at_the_last_layer(drawn: Drawn, frame: pd.DataFrame, name: str) -> None:
    figure = drawn["delta_by_layer"].figure
    rate = condition(frame, at_start(activation=ACTIVATIONS[name]))["predicted_decades_per_layer"].mean()
    _, measured = line(figure, f"mean/{name}")
    _, predicted = line(figure, f"theory/{name}")
    distance = np.arange(9, -1, -1)
    assert np.log10(predicted) == pytest.approx(np.log10(measured[-1]) + rate * distance, rel=1e-12)


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
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == depths
    assert y == pytest.approx([m[0] for m in measured], rel=1e-9)
    low, high = band_ends(figure, f"interval/{name}")
    assert low == pytest.approx([m[1] for m in measured], rel=1e-9)
    assert high == pytest.approx([m[2] for m in measured], rel=1e-9)
    assert line(figure, f"theory/{name}")[1] == pytest.approx(predicted, rel=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_factor_per_layer(frame: pd.DataFrame, drawn: Drawn, activation: str, initialization: str) -> None:
    name = f"{activation}, {initialization}"
    where = at_start(activation=ACTIVATIONS[activation], initialization=INITIALIZATIONS[initialization])
    rows = condition(frame, where)
    mean, low, high = (10**x for x in student(rows["delta_decades_per_layer"]))
    figure = drawn["decay_against_depth"].figure
    (x,), (y,) = line(figure, f"mean/{name}")
    assert x == pytest.approx(mean, rel=1e-9)
    assert interval(figure, f"interval/{name}") == pytest.approx([low, high], rel=1e-9)
    predicted = line(figure, f"theory/{name}")[0]
    assert predicted == pytest.approx([10 ** rows["predicted_decades_per_layer"].mean()], rel=1e-12)
    assert figure.axes[1].get_yticklabels()[int(y)].get_text() == name


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


CURVES = {
    0: {
        "sigmoid": "depth=1",
        "ReLU": "activation=relu,depth=1",
        "sigmoid, Xavier × 4": "depth=1,gain=4,initialization=xavier,lr=tuned",
        "ReLU, He": "activation=relu,depth=1,initialization=he,lr=tuned",
    },
    1: {
        "sigmoid": "depth=4",
        "ReLU": "activation=relu,depth=4",
        "sigmoid, Xavier × 4": "depth=4,gain=4,initialization=xavier,lr=tuned",
        "ReLU, He": "activation=relu,depth=4,initialization=he,lr=tuned",
    },
    2: {
        "sigmoid": "base",
        "ReLU": "activation=relu",
        "sigmoid, Xavier × 4": "gain=4,initialization=xavier,lr=tuned",
        "ReLU, He": "activation=relu,initialization=he,lr=tuned",
    },
    3: {
        "sigmoid": "base",
        "+ BatchNorm": "normalization=batch",
        "+ LayerNorm": "normalization=layer",
        "+ residual": "residual=True",
    },
}


@pytest.mark.parametrize("panel", CURVES)
def test_learning_curves(results: Results, drawn: Drawn, panel: int) -> None:
    axes = drawn["learning_curves"].figure.axes[panel]
    lines = {a.get_gid(): a for a in axes.get_children() if (a.get_gid() or "").startswith("mean/")}
    assert set(lines) == {f"mean/{name}" for name in CURVES[panel]}
    for name, where in CURVES[panel].items():
        if where == "depth=4":
            continue  # one of its runs failed: it left metrics.csv, and no row of results.csv
        epochs = accuracy_by_epoch(results.plan.directory / where)
        assert lines[f"mean/{name}"].get_ydata() == pytest.approx([np.mean(v) for v in epochs], rel=1e-12)
        (band,) = [a for a in axes.get_children() if a.get_gid() == f"band/{name}"]
        ends = band.get_paths()[0].vertices[:, 1]
        assert ends.max() == pytest.approx(max(student(v)[2] for v in epochs), rel=1e-9)
        assert ends.min() == pytest.approx(min(student(v)[1] for v in epochs), rel=1e-9)


def test_a_failed_run_is_in_no_curve(results: Results, drawn: Drawn) -> None:
    axes = drawn["learning_curves"].figure.axes[1]
    (shown,) = [a for a in axes.get_children() if a.get_gid() == "mean/sigmoid"]
    finished = accuracy_by_epoch(results.plan.directory / "depth=4")
    assert [len(values) for values in finished] == [4, 4, 4]
    assert shown.get_ydata() == pytest.approx([np.mean(values[1:]) for values in finished], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("sigmoid, depth 1", "depth=1"),
        ("sigmoid, depth 4", "depth=4"),
        ("sigmoid, depth 8", "base"),
        ("ReLU, depth 8", "activation=relu"),
        ("ReLU, He, depth 8", "activation=relu,initialization=he,lr=tuned"),
        ("sigmoid, Xavier × 4, depth 4", "depth=4,gain=4,initialization=xavier,lr=tuned"),
        ("sigmoid + BatchNorm, depth 8", "normalization=batch"),
        ("sigmoid + LayerNorm, depth 8", "normalization=layer"),
        ("sigmoid + residual, depth 8", "residual=True"),
    ],
)
def test_left_plateau_share(drawn: Drawn, frame: pd.DataFrame, name: str, where: str) -> None:
    figure = drawn["left_plateau_share"].figure
    rows = condition(frame, where)
    left = int(((rows["train/accuracy"] > 0.5) & (rows["status"] == "ok")).sum())
    (share,), (y,) = line(figure, f"share/{name}")
    assert share == left / len(rows)
    wilson = stats.binomtest(left, len(rows)).proportion_ci(0.95, method="wilson")
    assert interval(figure, f"interval/{name}") == pytest.approx([wilson.low, wilson.high], rel=1e-9)
    assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name
    assert f"{left} of {len(rows)}" in [text.get_text() for text in figure.axes[0].texts]


def test_a_diverged_run_has_not_left_the_plateau(drawn: Drawn, frame: pd.DataFrame) -> None:
    rows = condition(frame, "normalization=layer")
    assert (rows["status"] == "diverged").sum() == 1
    (share,), _ = line(drawn["left_plateau_share"].figure, "share/sigmoid + LayerNorm, depth 8")
    assert share == rows.loc[rows["status"] == "ok", "left_plateau"].sum() / len(rows)


def one_seed(runs: Path) -> Results:
    return build(runs, seeds=1)


def at_smoke_scale(runs: Path) -> Results:
    return build(runs, scale="smoke")


def on_fashion_mnist(runs: Path) -> Results:
    return build(runs, seeds=2, data="fashion_mnist")


def only_two_runs(runs: Path) -> Results:
    return build(runs, seeds=2, wanted=lambda name, _: name == "activation=relu")


@pytest.mark.parametrize("make", [one_seed, at_smoke_scale, on_fashion_mnist, only_two_runs])
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
