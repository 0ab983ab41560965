"""The figures of `backprop` at smoke scale: what they draw against results.csv, read back from its file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from read_back import line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.backprop import figures, memory
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

Drawn = dict[str, Drawing]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("backprop", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> Drawn:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def rows(frame: pd.DataFrame, check: str) -> pd.DataFrame:
    found = frame[frame["condition"] == f"check={check}"]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("check", figures.FORMULAS)
def test_formula_errors(drawn: Drawn, frame: pd.DataFrame, check: str) -> None:
    figure, found = drawn["formula_errors"].figure, rows(frame, check)
    (x,), (y,) = line(figure, f"error/{check}")
    assert x == pytest.approx(max(np.log10(found["error"].max() + 1e-300), -17))
    assert figure.axes[0].get_yticklabels()[int(y)].get_text() == figures.FORMULAS[check]
    transcribed = [a for a in figure.axes[0].lines if a.get_gid() == f"transcribed/{check}"]
    if found["transcribed"].notna().all():
        (artist,) = transcribed
        assert artist.get_xdata()[0] == pytest.approx(np.log10(found["transcribed"]).median())
    else:
        assert transcribed == []


def test_finite_differences(drawn: Drawn, frame: pd.DataFrame) -> None:
    figure, found = drawn["finite_differences"].figure, rows(frame, "finite_differences")
    for name in ("measured", "theory"):
        columns = [found[f"{name}/h={10.0**-k:.0e}"] for k in range(12, 0, -1)]
        x, y = line(figure, f"mean/{name}")
        assert x == pytest.approx([10.0**-k for k in range(12, 0, -1)])
        assert y == pytest.approx([10 ** student(np.log10(column))[0] for column in columns], rel=1e-9)
    measured, theory = line(figure, "mean/measured")[1], line(figure, "mean/theory")[1]
    # Where the Taylor series decides, the theory is the measurement; where rounding does, it is a bound.
    assert measured[-3:] == pytest.approx(theory[-3:], rel=0.05)
    assert (measured < 1.05 * theory).all()


def test_stored_activations(drawn: Drawn, frame: pd.DataFrame) -> None:
    figure, found = drawn["stored_activations"].figure, rows(frame, "stored_activations")
    for name in ("by_hand", "autograd"):
        x, y = line(figure, f"mean/{name}")
        assert x.tolist() == list(memory.SHOWN_DEPTHS)
        assert y == pytest.approx([found[f"{name}/depth={depth:02d}"].mean() for depth in memory.SHOWN_DEPTHS])
    assert line(figure, "theory")[1] == pytest.approx(line(figure, "mean/by_hand")[1], rel=1e-12)


def test_nothing_is_concluded_at_smoke_scale_and_every_claim_has_its_sample(results: Results) -> None:
    assert {verdict.verdict for verdict in results.verdicts} == {"NONE"}
    assert all(len(results.samples[claim.id].values) == 2 for claim in results.plan.grid.experiment.claims)


def test_every_figure_that_a_claim_names_is_drawn(results: Results, drawn: Drawn) -> None:
    experiment = results.plan.grid.experiment
    assert (
        {claim.figure for claim in experiment.claims if claim.figure}
        <= set(experiment.figures)
        == set(drawn) - {"forest"}
    )
    assert [claim.id for claim in experiment.claims if claim.control] == ["L19-control"]
