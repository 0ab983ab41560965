"""The figures of `one_cycle`: what they draw against results.csv and metrics.csv read back, and against torch."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import AxesImage
from PIL import Image
from read_back import artist, band_ends, interval, line, student
from smoke_results import drawn as draw
from smoke_results import smoke

from experiments.core.report import figures as core
from experiments.core.report.drawing import STYLE, Drawing
from experiments.core.verdicts.results import Results

SCHEDULES = {"constant": "constant", "cosine": "cosine", "one cycle": "one_cycle", "linear": "linear"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return smoke("one_cycle", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def drawn(results: Results) -> dict[str, Drawing]:
    return draw(results)


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return pd.read_csv(results.plan.directory / "results.csv")


def rows(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    found = frame[frame["condition"] == name]
    assert len(found) == 2, name
    return found


def recorded(run: Path, metric: str) -> dict[int, float]:
    with (run / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["metric"] == metric}


def picture(drawn: dict[str, Drawing], gid: str) -> np.ndarray:
    found = artist(drawn["noise_to_image"].figure, gid)
    assert isinstance(found, AxesImage)
    return np.asarray(found.get_array())


def test_the_pictures_are_the_recorded_pixels(results: Results, drawn: dict[str, Drawing]) -> None:
    run = results.plan.directory / "pictures" / "seed=1000"
    pixels = [recorded(run, f"parameter/noise/{k:02d}") for k in range(64)]
    target = [recorded(run, f"parameter/target/{k:02d}")[25] for k in range(64)]
    assert picture(drawn, "picture/0000").shape == (8, 8)
    assert picture(drawn, "picture/0000").flatten() == pytest.approx([p[0] for p in pixels])
    assert picture(drawn, "picture/moving").flatten() == pytest.approx([p[25] for p in pixels])
    assert picture(drawn, "picture/target").flatten() == pytest.approx(target)
    shown = artist(drawn["noise_to_image"].figure, "picture/0000")
    assert shown.get_clim() == (pytest.approx(min(target)), pytest.approx(max(target)))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "condition"), [("one cycle", "pictures"), ("constant", "pictures,schedule=constant")])
def test_the_loss_beside_the_pictures(results: Results, drawn: dict[str, Drawing], name: str, condition: str) -> None:
    seeds = [recorded(results.plan.directory / condition / f"seed={s}", "input/loss") for s in (1000, 1001)]
    steps = [0, 5, 10, 15, 20]
    assert sorted(seeds[0]) == steps
    truth = [student(np.log10([seed[step] for seed in seeds])) for step in steps]
    figure = drawn["noise_to_image"].figure
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == steps
    assert np.log10(y) == pytest.approx([mean for mean, *_ in truth], abs=1e-9)
    low, high = band_ends(figure, f"band/{name}")
    assert np.log10(low) == pytest.approx([low for _, low, _ in truth], abs=1e-6)
    assert np.log10(high) == pytest.approx([high for *_, high in truth], abs=1e-6)


def test_the_film_has_a_frame_for_every_picture(results: Results, drawn: dict[str, Drawing]) -> None:
    assert drawn
    with Image.open(results.plan.directory / "figures" / "noise_to_image.gif") as film:
        assert film.n_frames == 2  # before the first step, and after the last of 25


def one_cycle_of_torch() -> tuple[list[float], list[float]]:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, epochs=1000, steps_per_epoch=1)
    rates, betas = [], []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"][0])
        optimizer.step()
        if len(rates) < 1000:
            schedule.step()
    return rates, betas


def test_schedules_are_those_of_torch(drawn: dict[str, Drawing]) -> None:
    figure = drawn["schedules"].figure
    rates, betas = one_cycle_of_torch()
    assert line(figure, "schedule/one_cycle")[1] == pytest.approx(rates, abs=1e-9)
    assert line(figure, "beta1/torch")[1] == pytest.approx(betas, abs=1e-9)
    assert set(line(figure, "beta1/here")[1]) == {0.9}
    steps = np.arange(1000)
    assert line(figure, "schedule/cosine")[1] == pytest.approx(0.5 + 0.5 * np.cos(np.pi * steps / 1000))
    assert line(figure, "schedule/linear")[1] == pytest.approx(1 - steps / 1000)
    assert set(line(figure, "schedule/constant")[1]) == {1.0}


def test_beside_the_cycle_is_what_a_run_logged(results: Results, drawn: dict[str, Drawing]) -> None:
    logged = recorded(results.plan.directory / "pictures" / "seed=1000", "lr")
    x, y = line(drawn["schedules"].figure, "logged/one_cycle")
    # A row is written after the epoch's last step, and is about that step.
    assert x.tolist() == [step - 1 for step in logged] == [24]
    assert y == pytest.approx([rate / 0.5 for rate in logged.values()])


@pytest.mark.parametrize(("name", "schedule"), [("constant", "constant"), ("cosine", "cosine"), ("one cycle", "")])
def test_budget_to_target(drawn: dict[str, Drawing], frame: pd.DataFrame, name: str, schedule: str) -> None:
    # At smoke scale all budgets are of 25 steps; the last of them stands for all.
    decades = rows(frame, "steps_200,lr=tuned" + (f",schedule={schedule}" if schedule else ""))["final_decades"]
    mean, low, high = student(decades)
    figure = drawn["budget_to_target"].figure
    x, y = line(figure, f"mean/{name}")
    assert x.tolist() == [25]
    assert np.log10(y) == pytest.approx([mean], abs=1e-9)
    ends = band_ends(figure, f"band/{name}")
    assert np.log10(ends).flatten() == pytest.approx([low, high], abs=1e-6)
    assert line(figure, f"share/{name}")[1].tolist() == [(decades <= -2).mean()]
    # The rate that was used, which is the fourth of six where nothing is tuned.
    assert [t.get_text() for t in figure.axes[0].texts].count("7") == 3


@pytest.mark.parametrize("measure", ["test/loss", "test/accuracy"])
def test_weights_by_schedule(drawn: dict[str, Drawing], frame: pd.DataFrame, measure: str) -> None:
    figure = drawn["weights_by_schedule"].figure
    conditions = {n: "weights,lr=tuned" + (f",schedule={s}" if s != "one_cycle" else "") for n, s in SCHEDULES.items()}
    if measure == "test/accuracy":
        conditions["one cycle, max .5"] = "weights,lr=0.5"
    for name, condition in conditions.items():
        mean, low, high = student(rows(frame, condition)[measure])
        (x,), (y,) = line(figure, f"mean/{measure}/{name}")
        assert x == pytest.approx(mean, rel=1e-9)
        assert interval(figure, f"interval/{measure}/{name}") == pytest.approx([low, high], rel=1e-9)
        assert figure.axes[0].get_yticklabels()[int(y)].get_text() == name


def test_every_figure_without_a_warning(results: Results) -> None:
    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        warnings.simplefilter("error")
        # A film that is never saved says so when it is thrown away.
        warnings.filterwarnings("ignore", message="Animation was deleted")
        for name in (*results.plan.grid.experiment.figures, "forest"):
            core.find_figure("one_cycle", name)(results).figure.draw_without_rendering()
