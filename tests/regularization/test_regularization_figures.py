"""The experiment `regularization` at smoke scale: its figures against results.csv, read back from its file."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch
from read_back import artist, band_ends, interval, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.grid import catalogue
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.regularization import checks, figures

CONDITIONS = {
    "none": "base",
    "L1": "l1=0.001",
    "L2": "l2=0.01",
    "dropout": "dropout=0.5",
    "shift and flip": "shift_flip",
}
NOISY = {
    name: "label_noise=0.2" if found == "base" else f"{found},label_noise=0.2" for name, found in CONDITIONS.items()
}
# Keys of a name are in the order of the alphabet.
NOISY |= {"L1": "l1=0.001,label_noise=0.2", "L2": "l2=0.01,label_noise=0.2"}
LABELS = {"● clean labels": CONDITIONS, "◆ 20 % label noise": NOISY}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("regularization", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> dict[str, Drawing]:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def column(frame: pd.DataFrame, condition: str, name: str) -> pd.Series:
    rows = frame[frame["condition"] == condition].set_index("seed")
    assert len(rows) == 2, condition
    return rows[name]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", list(CONDITIONS)[1:])
@pytest.mark.parametrize(("measure", "factor"), [("test/loss", 1), ("test/accuracy", 100)])
def test_gains(drawn, frame, labels, name, measure, factor):
    figure, names = drawn["gains"].figure, LABELS[labels]
    values = factor * (column(frame, names[name], measure) - column(frame, names["none"], measure))
    mean, low, high = student(values)
    (x,), _ = line(figure, f"mean/{measure}/{name}/{labels}")
    assert x == pytest.approx(mean, rel=1e-9)
    assert interval(figure, f"interval/{measure}/{name}/{labels}") == pytest.approx([low, high], rel=1e-9)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("measure", ["training_test/loss", "test/loss"])
def test_training_and_test_loss(drawn, frame, labels, name, measure):
    figure = drawn["training_and_test_loss"].figure
    mean, low, high = student(column(frame, LABELS[labels][name], measure))
    (x,), (y,) = line(figure, f"mean/{measure}/{name}/{labels}")
    assert x == pytest.approx(mean, rel=1e-9)
    assert interval(figure, f"interval/{measure}/{name}/{labels}") == pytest.approx([low, high], rel=1e-9)
    assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name


@pytest.mark.parametrize(("name", "condition"), [("no penalty", "base"), ("L1", "l1=0.001"), ("L2", "l2=0.01")])
def test_weights(drawn, frame, name, condition):
    figure = drawn["weights"].figure
    step = artist(figure, f"share/{name}")
    assert isinstance(step, StepPatch)
    expected = [100 * column(frame, condition, f"weight/histogram/bin_{k:02d}").mean() for k in range(32)]
    assert step.get_data().values == pytest.approx(expected, rel=1e-9)
    assert step.get_data().edges == pytest.approx(np.arange(-7, 1.1, 0.25))
    assert sum(expected) == pytest.approx(100)
    share = 100 * column(frame, condition, "weight/negligible").mean()
    assert f"{name}: {share:.0f} % negligible" in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(("kind", "levels"), [("noise", [0.25, 0.5, 0.75, 1]), ("removed", [0.25, 0.5, 0.75])])
@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("no remedy", "base"),
        ("L1", "l1=0.001"),
        ("L2", "l2=0.01"),
        ("dropout", "dropout=0.5"),
        ("dropout, one mask", "dropout=0.5,dropout_mask=batch"),
    ],
)
def test_robustness(drawn, frame, kind, levels, name, condition):
    figure = drawn["robustness"].figure
    columns = ["test/accuracy", *(f"test/accuracy/{kind}={level:g}" for level in levels)]
    expected = [student(column(frame, condition, one)) for one in columns]
    x, y = line(figure, f"mean/{kind}/{name}")
    assert x.tolist() == [0, *levels]
    assert y == pytest.approx([mean for mean, *_ in expected], rel=1e-9)
    low, high = band_ends(figure, f"band/{kind}/{name}")
    assert low == pytest.approx([one for _, one, _ in expected], rel=1e-9)
    assert high == pytest.approx([one for *_, one in expected], rel=1e-9)


@pytest.mark.parametrize("name", ["mean", "variance"])
def test_dropout_moments(drawn, frame, name):
    figure = drawn["dropout_moments"].figure
    expected = [column(frame, "check=drawn_moments", f"{name}/p={p}").mean() for p in checks.PROBABILITIES]
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == list(checks.PROBABILITIES)
    assert y == pytest.approx(expected, rel=1e-9)
    p, theory = line(figure, f"theory/{name}")
    assert theory == pytest.approx(p / (1 - p) if name == "variance" else 1 + 0 * p)


def test_thinned_network_shows_one_iteration_and_is_animated(results, drawn):
    figure = figures.thinned_network(results).figure  # that of `drawn` has been animated
    kept = figures.kept_units(figures.FIRST_FRAME)
    for k, layer in enumerate(kept):
        units = [a for a in figure.axes[1].lines if (a.get_gid() or "").startswith(f"unit/{k}/")]
        assert [a.get_gid().endswith("kept") for a in units] == layer.tolist()
        assert len(units) == figures.LAYERS[k]
    assert not [a for a in figure.axes[0].lines if (a.get_gid() or "").endswith("removed")]
    lines = [a for a in figure.axes[1].lines if len(a.get_xdata()) == 2]
    assert len(lines) == sum(int(a.sum() * b.sum()) for a, b in itertools.pairwise(kept))
    film = results.plan.directory / "figures" / "thinned_network.gif"
    assert 0 < film.stat().st_size < 1.5e6


def test_every_claim_that_has_a_figure_has_one_that_exists():
    experiment = catalogue.load("regularization")
    assert {claim.figure for claim in experiment.claims} == set(experiment.figures)


def test_noise_and_damage_are_recorded_for_the_last_weights(frame):
    # What is drawn as undamaged is the test of the same weights.
    rows = frame[frame["condition"] == "base"]
    assert (rows["test/accuracy"] > 0.2).all()
    assert (rows["test/loss/noise=0.25"] < rows["test/loss/noise=1"]).all()


def test_the_verdicts_of_checks_pass(results):
    found = {verdict.id: verdict for verdict in results.verdicts}
    assert [found[name].effect < 1e-12 for name in ("L67-thinned", "L39-moments")] == [True, True]
