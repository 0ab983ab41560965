"""The figures of `optimizers`: what they draw against results.csv, metrics.csv and tuning.csv, read back."""

from __future__ import annotations

import csv
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from read_back import band_ends, interval, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.report import figures as core
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results
from experiments.optimizers import figures

CONDITIONS = {
    "momentum": "lr=tuned,momentum=0.9",
    "Nesterov": "lr=tuned,momentum=0.9,nesterov=True",
    "RMSprop": "lr=tuned,optimizer=rmsprop",
    "Adadelta": "lr=tuned,optimizer=adadelta",
    "Adam": "lr=tuned,optimizer=adam",
    "RAdam": "lr=tuned,optimizer=radam",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("optimizers", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> dict[str, Drawing]:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def losses(frame: pd.DataFrame, name: str) -> np.ndarray:
    found = frame[frame["condition"] == name].sort_values("seed")
    assert len(found) == 2, name
    return found["sample/loss"].to_numpy()


@pytest.mark.parametrize(
    ("budget", "name", "where", "plain"),
    [
        *(("constant", name, where, "lr=tuned") for name, where in CONDITIONS.items()),
        ("decayed", "momentum", "decayed,lr=tuned,momentum=0.9", "decayed,lr=tuned"),
        ("decayed", "Adam", "decayed,lr=tuned,optimizer=adam", "decayed,lr=tuned"),
    ],
)
def test_final_losses(
    drawn: dict[str, Drawing], frame: pd.DataFrame, budget: str, name: str, where: str, plain: str
) -> None:
    figure = drawn["final_losses"].figure
    mean, low, high = student(losses(frame, where) - losses(frame, plain))
    (x,), (y,) = line(figure, f"mean/{budget}/{name}")
    assert x == pytest.approx(mean, rel=1e-9)
    assert interval(figure, f"interval/{budget}/{name}") == pytest.approx([low, high], rel=1e-9)
    assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name


def test_all_eleven_are_drawn_and_two_of_them_on_both_budgets(drawn: dict[str, Drawing]) -> None:
    gids = [str(a.get_gid()) for a in drawn["final_losses"].figure.axes[0].get_children()]
    assert sum(gid.startswith("mean/constant/") for gid in gids) == 11
    assert sum(gid.startswith("mean/decayed/") for gid in gids) == 2


@pytest.mark.parametrize(
    ("gid", "condition"),
    [
        ("constant/plain descent", "lr=tuned"),
        ("constant/Adam", "lr=tuned,optimizer=adam"),
        ("decayed/momentum", "decayed,lr=tuned,momentum=0.9"),
    ],
)
def test_loss_curves(results: Results, drawn: dict[str, Drawing], gid: str, condition: str) -> None:
    seeds = []
    for path in sorted((results.plan.directory / condition).glob("seed=*/metrics.csv")):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["metric"] == "sample/loss"]
        seeds.append({int(row["step"]): float(row["value"]) for row in rows})
    steps = sorted(seeds[0])
    assert steps == [0, 1, 2]
    truth = [student([seed[step] for seed in seeds]) for step in steps]
    figure = drawn["loss_curves"].figure
    x, y = line(figure, f"mean/{gid}")
    assert x.tolist() == steps
    assert y == pytest.approx([mean for mean, *_ in truth])
    low, high = band_ends(figure, f"band/{gid}")
    assert low == pytest.approx([low for _, low, _ in truth])
    assert high == pytest.approx([high for *_, high in truth])


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


def test_every_figure_without_a_warning(results: Results) -> None:
    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        warnings.simplefilter("error")
        for name in (*results.plan.grid.experiment.figures, "forest"):
            core.find_figure("optimizers", name)(results).figure.draw_without_rendering()


def test_the_count_is_judged_on_the_losses_of_the_runs(results: Results, frame: pd.DataFrame) -> None:
    plain = losses(frame, "lr=tuned")
    names = [name for name in frame["condition"].unique() if not name.startswith("decayed") and name != "lr=tuned"]
    ahead = np.array([losses(frame, name) < plain - 0.02 for name in names]).sum(axis=0)
    assert len(names) == 11
    (verdict,) = [v for v in results.verdicts if v.id == "L53-most-ahead"]
    assert verdict.effect == pytest.approx(ahead.mean())
