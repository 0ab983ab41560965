"""The benchmark measures what it says: every form of a training trains, figures become rows; no time is judged."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import torch

from experiments.core.bench import run as bench
from experiments.core.bench import workloads
from experiments.core.bench.rows import GPU_ROWS, ROWS, Row
from experiments.core.bench.sweeps import Sweep
from experiments.core.bench.workloads import Workload

TINY = Workload("Digits", None, (8, 8), "batch", 32, 64, 32, 1)


@pytest.mark.parametrize(
    "training",
    [
        lambda: workloads.by_hand(TINY),
        lambda: workloads.ours(TINY),
        lambda: workloads.stacked(TINY, 3),
        lambda: workloads.stacked_by_hand(TINY, 3),
        lambda: workloads.bare(TINY),
        lambda: workloads.bare_stacked(TINY, 3),
        lambda: workloads.conditions(TINY, 1),
        lambda: workloads.grid(TINY, runs=2, jobs=1),
    ],
    ids=[
        "by hand",
        "one run",
        "a stack",
        "a stack by hand",
        "a bare trainer",
        "a bare trainer of a stack",
        "conditions",
        "a grid",
    ],
)
def test_each_form_of_a_training_can_be_measured(here, training):
    assert training() > 0
    assert not list(here.iterdir())


def test_the_networks_by_hand_have_the_same_parameters(here):
    ours = workloads._parsed(TINY, here)
    ours.build_for(0, here / "run")
    plain = workloads.plain_network(64, TINY)
    assert [p.shape for p in plain.parameters()] == [p.shape for p in ours.model.network.parameters()]


@pytest.fixture
def rows(monkeypatch):
    """Two rows with known figures: a warm-up, and three pairs."""
    pairs = iter([(9.0, 1.0), (1.0, 2.0), (3.0, 2.0), (2.0, 2.0)])
    chosen = [
        Row("a / b", "w", lambda: next(pairs), 1.2, repeats=3),
        Row("c / d", "v", lambda: (3.0, 1.0), 4.0, "above", 1),
    ]
    monkeypatch.setattr(bench, "ROWS", chosen)
    # Time as the square of one size, and the same at every other.
    grown = [
        Sweep("width", "w", (1, 2, 4), lambda size: float(size * size)),
        Sweep("depth", "w", (1, 2, 4), lambda _: 3.0),
    ]
    monkeypatch.setattr(bench, "SWEEPS", grown)
    return chosen


def test_a_row_is_the_median_of_ratios_after_a_warm_up(rows, here):
    assert bench.run(here / "out") == 0
    first, second = json.loads((here / "out" / "bench.json").read_text())["rows"]
    assert (first["ratio"], first["lowest"], first["highest"], first["reached"]) == (1.0, 0.5, 1.5, True)
    assert first["values"] == [2.0, 2.0]
    assert (second["ratio"], second["reached"]) == (3.0, False)


def test_a_sweep_is_the_slope_of_its_logarithms(rows, here):
    bench.run(here / "out")
    square, flat = json.loads((here / "out" / "bench.json").read_text())["sweeps"]
    assert (square["slope"], square["steepest"]) == (pytest.approx(2), pytest.approx(2))
    assert (flat["slope"], flat["steepest"]) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert (square["reached"], flat["reached"]) == (False, True)
    assert (here / "out" / "growth.png").stat().st_size > 1000


def test_a_gpu_is_asked_for_the_same_trainings():
    names = {row.name for row in GPU_ROWS}
    assert all(name.startswith("gpu: ") for name in names)
    workload = replace(TINY, precision="bf16-mixed")
    assert workloads.stacked(workload, 2) > 0
    assert workload.config()["trainer"]["precision"] == "bf16-mixed"
    assert "bf16-mixed" in workload.description


def test_kept_figures_are_the_table_of_the_readme(rows, here, monkeypatch):
    monkeypatch.setattr(bench, "README", here / "README.md")
    monkeypatch.setattr(bench, "KEPT", here / "kept.json")
    (here / "README.md").write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    bench.run(here / "out", keep=True)
    assert (here / "growth.png").is_file()
    assert (here / "kept.json").read_bytes() == (here / "out" / "bench.json").read_bytes()
    text = (here / "README.md").read_text()
    assert "| a / b | 1.00 | 0.50 to 1.50 | ≤ 1.2 | w |\n| c / d | 3.00 | 3.00 to 3.00 | ≥ 4, not reached | v |" in text
    assert "old" not in text
    assert text.endswith("after\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--only=xyz"], "no row's name"),
        (["--only=a /", "--keep"], "all rows"),
        pytest.param(["--gpu"], "no GPU", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")),
    ],
)
def test_what_cannot_be_measured_is_one_line(rows, command, args, message):
    answer = command("bench", *args)
    assert answer.code == 2
    assert message in answer.err


def test_rows_with_one_name_differ_in_their_workload():
    for one, other in itertools.combinations(ROWS, 2):
        assert (one.name, one.workload) != (other.name, other.workload)


def test_the_readme_shows_the_kept_figures():
    kept = json.loads(bench.KEPT.read_text(encoding="utf-8"))
    text = bench.README.read_text(encoding="utf-8")
    assert bench.with_table(text, kept) == text
    assert all(row["workload"] in text for row in kept["rows"])
