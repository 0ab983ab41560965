"""The benchmark measures what it says: every form of a training trains, figures become rows; no time is judged."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import trainings
from benchmarks.trainings import Workload

TINY = Workload(
    "Digits", {"num_train": 64, "num_val": 32, "batch_size": 32}, hidden=(8, 8), normalization="none", epochs=1
)
BATCH_NORM = replace(TINY, normalization="batch")


@pytest.mark.parametrize(
    "training",
    [
        lambda: trainings.by_hand(BATCH_NORM),
        lambda: trainings.stacked_by_hand(TINY, 3),
        lambda: trainings.ours(BATCH_NORM.config()),
        lambda: trainings.ours(BATCH_NORM.config(), 3),
        lambda: trainings.bare(BATCH_NORM),
        lambda: trainings.usual(BATCH_NORM),
    ],
    ids=["by hand", "a stack by hand", "one run", "a stack", "a bare trainer", "the usual template"],
)
def test_each_form_of_a_training_can_be_measured(here, training):
    assert training() > 0
    assert not list(here.iterdir())


def test_the_networks_by_hand_have_the_same_parameters(command, here):
    (here / "config.yaml").write_text(json.dumps(BATCH_NORM.config()))
    directory = command("fit", "--config=config.yaml").directory
    ours = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    plain = trainings.plain_network(64, BATCH_NORM).state_dict()
    assert sorted(value.shape for value in plain.values()) == sorted(value.shape for value in ours.values())


def test_a_row_is_the_median_of_ratios_after_a_warm_up():
    pairs = iter([(9.0, 1.0), (1.0, 2.0), (3.0, 2.0), (2.0, 2.0)])
    row = bench.measure(bench.Measurement("a / b", "w", lambda: next(pairs), 1.2, repeats=3))
    assert (row["ratio"], row["lowest"], row["highest"], row["seconds"]) == (1.0, 0.5, 1.5, [2.0, 2.0])
    assert bench.line(row) == "| a / b | 1.00 | 0.50 to 1.50 | ≤ 1.2 | w |"
    assert "| ≤ 0.9, not reached |" in bench.line({**row, "target": 0.9})
    assert "|  |" in bench.line({**row, "target": None})


def test_kept_figures_are_the_table_of_the_readme(here, monkeypatch, capsys):
    monkeypatch.setattr(bench, "ROWS", [bench.Measurement("a / b", "w", lambda: (1.0, 2.0))])
    monkeypatch.setattr(bench, "README", here / "README.md")
    monkeypatch.setattr(bench, "KEPT", here / "kept.json")
    monkeypatch.setattr("sys.argv", ["benchmarks", "--keep"])
    (here / "README.md").write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    assert bench.main() == 0
    line = "| a / b | 0.50 | 0.50 to 0.50 |  | w |\n"
    assert capsys.readouterr().out == line
    assert json.loads((here / "kept.json").read_text())["rows"][0]["ratio"] == 0.5
    text = (here / "README.md").read_text()
    assert "old" not in text
    assert text.endswith(f"{line}<!-- end of bench -->\nafter\n")


@pytest.mark.parametrize("args", [["--only=xyz"], ["--only=one run", "--keep"], ["--kep"]])
def test_what_cannot_be_measured_is_said(args, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", *args])
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_there_are_few_rows_and_the_readme_shows_what_is_kept():
    assert len(bench.ROWS) <= 8
    for one, other in itertools.combinations(bench.ROWS, 2):
        assert (one.name, one.workload) != (other.name, other.workload)
    kept = json.loads(bench.KEPT.read_text(encoding="utf-8"))
    assert [(row["name"], row["workload"]) for row in kept["rows"]] == [(row.name, row.workload) for row in bench.ROWS]
    text = bench.README.read_text(encoding="utf-8")
    assert bench.insert_table(text, kept) == text
