"""The experiment `regularization` at smoke scale: its figures against results.csv, read back from its file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch
from read_back import artist, line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.regularization import figures

# Keys of a name are in the order of the alphabet.


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("regularization")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("regularization")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("regularization")


def column(frame: pd.DataFrame, condition: str, name: str) -> pd.Series:
    rows = frame[frame["condition"] == condition].set_index("seed")
    assert len(rows) == 2, condition
    return rows[name]


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


@pytest.mark.parametrize("name", ["mean", "variance"])
def test_theory_of_dropouts_moments(drawn, name):
    p, theory = line(drawn["dropout_moments"].figure, f"theory/{name}")
    assert theory == pytest.approx(p / (1 - p) if name == "variance" else 1 + 0 * p)


def test_thinned_network_shows_one_iteration_and_is_animated(shared, results):
    figure = figures.thinned_network(results).figure  # that of `drawn` has been animated
    kept = figures.kept_units(figures.FIRST_FRAME)
    for k, layer in enumerate(kept):
        units = [a for a in figure.axes[1].lines if (a.get_gid() or "").startswith(f"unit/{k}/")]
        assert [a.get_gid().endswith("kept") for a in units] == layer.tolist()
        assert len(units) == figures.LAYERS[k]
    assert not [a for a in figure.axes[0].lines if (a.get_gid() or "").endswith("removed")]
    lines = [a for a in figure.axes[1].lines if len(a.get_xdata()) == 2]
    assert len(lines) == sum(int(a.sum() * b.sum()) for a, b in itertools.pairwise(kept))
    film = shared.save("regularization", "thinned_network") / "thinned_network.gif"
    assert 0 < film.stat().st_size < 1.5e6


def test_noise_and_damage_are_recorded_for_the_last_weights(frame):
    # What is drawn as undamaged is the test of the same weights.
    rows = frame[frame["condition"] == "base"]
    assert (rows["test/accuracy"] > 0.2).all()
    assert (rows["test/loss/noise=0.25"] < rows["test/loss/noise=1"]).all()


def test_the_verdicts_of_checks_pass(results):
    found = {verdict.id: verdict for verdict in results.verdicts}
    assert [found[name].effect < 1e-12 for name in ("L67-thinned", "L39-moments")] == [True, True]
