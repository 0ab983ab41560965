"""The figures of `one_cycle`: what they draw against results.csv and metrics.csv read back, and against torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import AxesImage
from PIL import Image
from read_back import artist, line
from smoke_results import Shared

from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("one_cycle")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("one_cycle")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("one_cycle")


def rows(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    found = frame[frame["condition"] == name]
    assert len(found) == 2, name
    return found


def recorded(run: Path, metric: str) -> dict[int, float]:
    with (run / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["metric"] == metric}


def picture(drawn: Mapping[str, Drawing], gid: str) -> np.ndarray:
    found = artist(drawn["noise_to_image"].figure, gid)
    assert isinstance(found, AxesImage)
    return np.asarray(found.get_array())


def test_the_pictures_are_the_recorded_pixels(results: Results, drawn: Mapping[str, Drawing]) -> None:
    run = results.plan.directory / "pictures" / "seed=1000"
    pixels = [recorded(run, f"parameter/noise/{k:02d}") for k in range(64)]
    target = [recorded(run, f"parameter/target/{k:02d}")[25] for k in range(64)]
    assert picture(drawn, "picture/0000").shape == (8, 8)
    assert picture(drawn, "picture/0000").flatten() == pytest.approx([p[0] for p in pixels])
    assert picture(drawn, "picture/moving").flatten() == pytest.approx([p[25] for p in pixels])
    assert picture(drawn, "picture/target").flatten() == pytest.approx(target)
    shown = artist(drawn["noise_to_image"].figure, "picture/0000")
    assert shown.get_clim() == (pytest.approx(min(target)), pytest.approx(max(target)))  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_film_has_a_frame_for_every_picture(shared: Shared) -> None:
    with Image.open(shared.save("one_cycle", "noise_to_image") / "noise_to_image.gif") as film:
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


def test_schedules_are_those_of_torch(drawn: Mapping[str, Drawing]) -> None:
    figure = drawn["schedules"].figure
    rates, betas = one_cycle_of_torch()
    assert line(figure, "schedule/one_cycle")[1] == pytest.approx(rates, abs=1e-9)
    assert line(figure, "beta1/torch")[1] == pytest.approx(betas, abs=1e-9)
    assert set(line(figure, "beta1/here")[1]) == {0.9}
    steps = np.arange(1000)
    assert line(figure, "schedule/cosine")[1] == pytest.approx(0.5 + 0.5 * np.cos(np.pi * steps / 1000))
    assert line(figure, "schedule/linear")[1] == pytest.approx(1 - steps / 1000)
    assert set(line(figure, "schedule/constant")[1]) == {1.0}


def test_beside_the_cycle_is_what_a_run_logged(results: Results, drawn: Mapping[str, Drawing]) -> None:
    logged = recorded(results.plan.directory / "pictures" / "seed=1000", "lr")
    x, y = line(drawn["schedules"].figure, "logged/one_cycle")
    # A row is written after the epoch's last step, and is about that step.
    assert x.tolist() == [step - 1 for step in logged] == [24]
    assert y == pytest.approx([rate / 0.5 for rate in logged.values()])


@pytest.mark.parametrize(("name", "schedule"), [("constant", "constant"), ("cosine", "cosine"), ("one cycle", "")])
def test_budget_to_target(drawn: Mapping[str, Drawing], frame: pd.DataFrame, name: str, schedule: str) -> None:
    # At smoke scale all budgets are of 25 steps; the last of them stands for all.
    decades = rows(frame, "steps_200,lr=tuned" + (f",schedule={schedule}" if schedule else ""))["final_decades"]
    figure = drawn["budget_to_target"].figure
    assert line(figure, f"at target/{name}")[1].tolist() == [(decades <= -2).mean()]
    # The rate that was used, which is the fourth of six where nothing is tuned.
    assert [t.get_text() for t in figure.axes[0].texts].count("7") == 3
