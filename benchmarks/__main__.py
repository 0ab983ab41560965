"""`python -m benchmarks`: measure and print ratios of training times."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.trainings import Workload, bare, by_hand, ours, stacked_by_hand, usual, without_instruments
from experiments.core.files import environment
from experiments.core.grid import catalogue
from experiments.core.report.pages import between

KEPT = Path(__file__).with_name("figures.json")
README = KEPT.parents[1] / "README.md"
NUM_SEEDS = 10
DEEP = Workload(
    "FashionMNIST",
    {"size": 28, "num_train": 10_000, "num_val": 1_000, "batch_size": 64},
    hidden=(100,) * 5,
    normalization="batch",
    epochs=1,
)
SMALL = Workload(
    "Digits", {"num_train": 1_197, "num_val": 300, "batch_size": 64}, hidden=(64,) * 8, normalization="none", epochs=20
)


@dataclass(frozen=True)
class Measurement:
    """A ratio of two times; it should not exceed its target, if there is one."""

    name: str
    workload: str
    pair: Callable[[], tuple[float, float]]
    target: float | None = None
    repeats: int = 5


def _vanishing() -> tuple[float, float]:
    text = (catalogue.folder("vanishing") / "base.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    return ours(config), ours(without_instruments(config))


def _compared_with_loop(
    name: str, workload: Workload, seconds: Callable[[], float], target: float | None = None, seeds: int = 1
) -> Measurement:
    return Measurement(
        f"{name} / by hand", workload.description, lambda: (seconds() / seeds, by_hand(workload)), target
    )


ROWS = [
    _compared_with_loop("one run", DEEP, lambda: ours(DEEP.config()), 1.5),
    _compared_with_loop("bare Trainer", DEEP, lambda: bare(DEEP)),
    _compared_with_loop("usual template", DEEP, lambda: usual(DEEP)),
    _compared_with_loop("10 seeds, per run", DEEP, lambda: ours(DEEP.config(), NUM_SEEDS), 0.65, NUM_SEEDS),
    _compared_with_loop("one run", SMALL, lambda: ours(SMALL.config())),
    _compared_with_loop("10 seeds, per run", SMALL, lambda: ours(SMALL.config(), NUM_SEEDS), 0.45, NUM_SEEDS),
    _compared_with_loop("10 seeds by hand, per run", SMALL, lambda: stacked_by_hand(SMALL, NUM_SEEDS), seeds=NUM_SEEDS),
    Measurement(
        "vanishing's instruments on / off", "experiments/vanishing/base.yaml, one seed", _vanishing, 1.1, repeats=10
    ),
]


def measure(row: Measurement) -> dict[str, Any]:
    """Measure both times alternately; one additional, first repetition is a warm-up."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs = [row.pair() for _ in range(row.repeats + 1)][1:]
    ratios = [first / second for first, second in pairs]
    return {
        "name": row.name,
        "workload": row.workload,
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "repeats": row.repeats,
        "target": row.target,
        "seconds": [statistics.median(side) for side in zip(*pairs, strict=True)],
    }


def line(row: Mapping[str, Any]) -> str:
    """Format one row of the README's table."""
    target = "" if row["target"] is None else f"≤ {row['target']:g}"
    if row["target"] is not None and row["ratio"] > row["target"]:
        target += ", not reached"
    spread = f"{row['lowest']:.2f} to {row['highest']:.2f}"
    return f"| {row['name']} | {row['ratio']:.2f} | {spread} | {target} | {row['workload']} |"


def insert_table(text: str, content: Mapping[str, Any]) -> str:
    """Insert the table between its markers in a Markdown text."""
    head = ["| ratio | median | of | target | workload |", "|---|---|---|---|---|"]
    return between(text, "<!-- bench -->", "<!-- end of bench -->", "\n".join([*head, *map(line, content["rows"])]))


def main() -> int:
    """Run the chosen measurements; the exit code is 0 even if a target is not reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default="", metavar="WORDS", help="the rows whose name contains this (default: all)")
    parser.add_argument("--keep", action="store_true", help="keep the figures in benchmarks/, show them in the README")
    options = parser.parse_args()
    chosen = [row for row in ROWS if options.only in row.name]
    if not chosen or (options.keep and options.only):
        names = ", ".join(dict.fromkeys(row.name for row in ROWS))
        parser.error(f"--only is part of one of these names, and --keep is about all of them: {names}")
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = []
    for row in chosen:
        rows.append(measure(row))
        print(line(rows[-1]), flush=True)
    if options.keep:
        content = {"environment": environment.describe("cpu"), "rows": rows}
        KEPT.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        README.write_text(insert_table(README.read_text(encoding="utf-8"), content), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
