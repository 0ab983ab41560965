"""The figures of `backprop` at smoke scale: what they draw against results.csv, read back from its file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import line, student
from smoke_results import Shared

from experiments.backprop import figures
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

Drawn = Mapping[str, Drawing]


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("backprop")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("backprop")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("backprop")


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
    columns = [found[f"theory/h={10.0**-k:.0e}"] for k in range(12, 0, -1)]
    theory = line(figure, "theory")[1]
    assert theory == pytest.approx([10 ** student(np.log10(column))[0] for column in columns], rel=1e-9)
    measured = [10 ** np.log10(found[f"measured/h={10.0**-k:.0e}"]).mean() for k in range(12, 0, -1)]
    # Where the Taylor series decides, the theory is the measurement; where rounding does, it is a bound.
    assert measured[-3:] == pytest.approx(theory[-3:], rel=0.05)
    assert (measured < 1.05 * theory).all()


def test_stored_activations(drawn: Drawn, frame: pd.DataFrame) -> None:
    found = rows(frame, "stored_activations")
    depths, theory = line(drawn["stored_activations"].figure, "theory")
    assert theory == pytest.approx([found[f"by_hand/depth={depth:02.0f}"].mean() for depth in depths], rel=1e-12)


def test_nothing_is_concluded_at_smoke_scale_and_every_claim_has_its_sample(results: Results) -> None:
    assert {verdict.verdict for verdict in results.verdicts} == {"NONE"}
    assert all(len(results.samples[claim.id].values) == 2 for claim in results.plan.grid.experiment.claims)


def test_one_claim_is_a_control(results: Results) -> None:
    assert [claim.id for claim in results.plan.grid.experiment.claims if claim.control] == ["L19-control"]
