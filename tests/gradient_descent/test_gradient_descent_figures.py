"""Measures and figures of the experiment `gradient_descent` against the runs' files, at smoke scale."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from read_back import artist, line
from smoke_results import Shared

from datamodules import LeastSquares
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.gradient_descent import figures, measures
from experiments.gradient_descent.checks import MULTIPLES

OPTIMIZERS = {o.name: o for family in figures.FAMILIES.values() for o in family}


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("gradient_descent")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("gradient_descent")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("gradient_descent")


def path_in(directory):
    """Slope and intercept at every recorded step, straight from the file."""
    found = {}
    with (directory / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"].startswith("parameter/"):
                found.setdefault(int(row["step"]), {})[row["metric"]] = float(row["value"])
    names = ("parameter/output.weight/00", "parameter/output.bias/00")
    return sorted(found), np.array([[found[step][name] for name in names] for step in sorted(found)])


def points(directory):
    stored = yaml.safe_load((directory / "config.yaml").read_text())
    data = LeastSquares(**{**stored["data"]["init_args"], "seed": stored["seed_everything"]})
    data.setup()
    return data.train


def test_the_recorded_path_is_torchs_on_the_runs_own_points(results):
    directory = results.plan.directory / "base" / "seed=1000"
    x, y = points(directory)
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.35)
    truth = []
    for _ in range(6):
        truth.append([layer.weight.item(), layer.bias.item()])
        optimizer.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimizer.step()
    steps, path = path_in(directory)
    assert steps == list(range(6))
    assert path == pytest.approx(np.array(truth), abs=1e-5)


def test_a_run_follows_the_closed_form_and_another_step_does_not(results):
    for run in results.of({}):
        assert 0 <= measures.closed_form_error(run) < 1e-5
        other = replace(run, settings={**run.settings, "lr": 0.3})
        assert measures.closed_form_error(other) > 1e-2
    (run, *_) = results.of(OPTIMIZERS["momentum"].overrides)
    assert np.isnan(measures.closed_form_error(run))
    assert np.isnan(measures.closed_form_error(replace(run, settings={**run.settings, "optimizer": "adam"})))


def test_excess_loss_is_what_training_logs_above_the_best_line(results):
    for run in results.of(OPTIMIZERS["Adam"].overrides):
        x, y = (part.double() for part in points(run.directory))
        rows = torch.cat([x, torch.ones_like(x)], dim=1)
        best = (rows @ torch.linalg.lstsq(rows, y).solution - y).square().mean().item()
        _, path = path_in(run.directory)
        last = (rows @ torch.from_numpy(path[-1])[:, None] - y).square().mean().item()
        assert measures.excess_loss(run) == pytest.approx(last - best, abs=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_takes_its_recorded_path_from_the_same_start(results, drawn, frame, name):
    condition = results.plan.grid.find(OPTIMIZERS[name].overrides, name)
    _, path = path_in(results.plan.directory / condition.name / "seed=1000")
    shown = np.stack(line(drawn["optimizers"].figure, f"path/{name}"), axis=1)
    assert shown == pytest.approx(path)
    assert shown[0].tolist() == [0.0, 0.0]
    head = np.stack(line(drawn["optimizers"].figure, f"head/{name}"), axis=1)
    assert head == pytest.approx(path[-1:])
    assert artist(drawn["optimizers"].figure, f"path/{name}").axes.get_title(loc="left") in figures.FAMILIES


def test_paths_of_different_optimisers_differ(drawn):
    ends = [np.stack(line(drawn["optimizers"].figure, f"path/{name}"))[:, -1] for name in OPTIMIZERS]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in itertools.combinations(ends, 2))


def test_one_descent_in_two_spaces(results, drawn):
    figure, directory = drawn["descent"].figure, results.plan.directory / "base" / "seed=1000"
    (x, y), (steps, path) = points(directory), path_in(directory)
    assert np.stack(line(figure, "points")) == pytest.approx(torch.cat([x, y], dim=1).T.numpy())
    assert np.stack(line(figure, "path"), axis=1) == pytest.approx(path)
    assert np.stack(line(figure, "closed form"), axis=1) == pytest.approx(path, abs=1e-5)
    rows = torch.cat([x, torch.ones_like(x)], dim=1).double()
    best = torch.linalg.lstsq(rows, y.double()).solution[:, 0].tolist()
    assert [float(v[0]) for v in line(figure, "minimum")] == pytest.approx(best)
    for step in (0, 1, 2, 4):
        ends, heights = line(figure, f"line/{step}")
        slope, intercept = path[steps.index(step)]
        assert heights == pytest.approx(slope * ends + intercept)


def test_loss_against_step_and_its_theory(drawn, frame):
    figure = drawn["loss_against_step"].figure
    rows = frame[frame["condition"] == "check=step_threshold"]
    assert line(figure, "theory")[1] == pytest.approx([rows[f"predicted_decades/{m:.2f}"].mean() for m in MULTIPLES])
    assert line(figure, "threshold")[0].tolist() == [1.0, 1.0]
    assert sorted(line(figure, "measured")[0]) == pytest.approx(sorted(rows["measured"] / rows["predicted"]))


@pytest.mark.slow
def test_the_film_is_short_and_ends_with_the_last_step(shared):
    steps = figures.film_steps(40)
    assert steps[:3] == [0, 1, 2]
    assert steps == sorted(steps)
    assert steps[-1] == 40
    assert len(steps) <= 60
    assert figures.film_steps(5) == [0, 1, 2, 3, 4, *[5] * 8]
    assert figures.film_steps(-1) == []
    path = shared.save("gradient_descent", "optimizers") / "optimizers.gif"
    with Image.open(path) as film:
        assert film.n_frames >= 2
    assert path.stat().st_size < 1_500_000
