"""The figures of the experiment `overfitting`, from a small real run: what they draw against the files on disk."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("overfitting")


@pytest.fixture(scope="module")
def figures(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("overfitting")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("overfitting")


@pytest.mark.parametrize("name", ["curves_by_depth", "random_labels"])
def test_training_is_dashed_and_validation_is_not(figures: Mapping[str, Drawing], name: str) -> None:
    lines = figures[name].figure.findobj(lambda a: (a.get_gid() or "").startswith("mean/"))
    assert len(lines) > 3
    for curve in lines:
        assert (curve.get_linestyle() == "--") == curve.get_gid().startswith("mean/train/")


def test_the_last_weights_are_tested_beside_the_best(frame: pd.DataFrame) -> None:
    """Where validation is best at the last look, both are the same weights and the same numbers."""
    rows = frame[frame["best_epoch"] == 2]
    assert len(rows) > 4
    assert rows["final_test/accuracy"].tolist() == pytest.approx(rows["test/accuracy"].tolist(), abs=1e-12)
    assert rows["final_test/loss"].tolist() == pytest.approx(rows["test/loss"].tolist(), rel=1e-5)
    assert (frame["test_loss_excess"] - (frame["final_test/loss"] - frame["test/loss"])).abs().max() < 1e-12
