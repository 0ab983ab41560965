"""The figures of `optimizers`: what they draw against results.csv, metrics.csv and tuning.csv, read back."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from read_back import line
from smoke_results import Shared

from experiments.core.report.drawing import STYLE
from experiments.core.verdicts.results import Results
from experiments.optimizers import figures


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("optimizers")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("optimizers")


def losses(frame: pd.DataFrame, name: str) -> np.ndarray:
    found = frame[frame["condition"] == name].sort_values("seed")
    assert len(found) == 2, name
    return found["sample/loss"].to_numpy()


def test_learning_rates_are_the_trials(results: Results) -> None:
    path = results.plan.directory / "tuning.csv"
    lines = ["condition,lr,val/loss,seeds,chosen,at_edge"]
    lines += ["lr=tuned,0.03,0.9,3,0,0", "lr=tuned,0.1,0.6,3,1,0", "lr=tuned,0.3,inf,3,0,0"]
    lines += ['"lr=tuned,optimizer=adam",0.003,0.5,3,0,0', '"lr=tuned,optimizer=adam",0.01,0.45,3,1,0']
    lines += ['"decayed,lr=tuned",0.1,0.1,3,1,0']
    path.write_text("\n".join(lines) + "\n")
    try:
        with mpl.rc_context(STYLE):
            figure = figures.learning_rates(results).figure
    finally:
        path.unlink()
    # What diverged is not shown, and the other budget has other trials.
    assert [part.tolist() for part in line(figure, "trials/plain descent")] == [[0.03, 0.1], [0.9, 0.6]]
    assert [part.tolist() for part in line(figure, "best/plain descent")] == [[0.1], [0.6]]
    assert [part.tolist() for part in line(figure, "trials/Adam")] == [[0.003, 0.01], [0.5, 0.45]]
    assert [part.tolist() for part in line(figure, "best/Adam")] == [[0.01], [0.45]]
    assert line(figure, "trials/RAdam")[0].size == 0


def test_the_count_is_judged_on_the_losses_of_the_runs(results: Results, frame: pd.DataFrame) -> None:
    plain = losses(frame, "lr=tuned")
    names = [name for name in frame["condition"].unique() if not name.startswith("decayed") and name != "lr=tuned"]
    ahead = np.array([losses(frame, name) < plain - 0.02 for name in names]).sum(axis=0)
    assert len(names) == 11
    (verdict,) = [v for v in results.verdicts if v.id == "L53-most-ahead"]
    assert verdict.effect == pytest.approx(ahead.mean())
