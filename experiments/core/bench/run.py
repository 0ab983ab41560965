"""`bench`: measure every row in turn, and write `bench.json` and a table."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.core import catalogue, ledger, records
from experiments.core.bench import sweeps
from experiments.core.bench.rows import GPU_ROWS, ROWS, Row
from experiments.core.bench.sweeps import SWEEPS
from experiments.core.errors import UserError, nearest
from experiments.core.parsing import quieten
from experiments.core.reference import between

FILE, PICTURE = "bench.json", "growth.png"
KEPT = catalogue.folder("core") / "bench" / FILE
README = catalogue.ROOT.parent / "README.md"


@dataclass(frozen=True)
class Measured:
    """A row with its figures."""

    name: str
    workload: str
    ratio: float  # the median
    lowest: float
    highest: float
    repeats: int
    target: float | None
    better: str
    reached: bool | None  # None without a target
    values: tuple[float, float]  # the medians of the two: seconds, or megabytes


def measure(row: Row) -> Measured:
    """Measure both sides in turn; where that is done several times, the first is a warm-up."""
    pairs = [row.pair() for _ in range(row.repeats + (row.repeats > 1))]
    pairs = pairs[1:] or pairs
    ratios = [first / second for first, second in pairs]
    ratio = statistics.median(ratios)
    reached = None
    if row.target is not None:
        reached = ratio <= row.target if row.better == "below" else ratio >= row.target
    values = (statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs))
    return Measured(
        row.name, row.workload, ratio, min(ratios), max(ratios), row.repeats, row.target, row.better, reached, values
    )


def run(directory: Path, only: str = "", keep: bool = False, gpu: bool = False) -> int:
    """Measure rows, and write `bench.json`.

    Args:
        directory: where.
        only: part of the names of the rows; all rows if it is empty.
        keep: keep the figures beside this module and in the README, too.
        gpu: measure the rows of a GPU instead.

    Returns:
        0, whatever was reached: figures are no test.

    Raises:
        UserError: no row has such a name, or only some are to be kept.
    """
    if gpu and not torch.cuda.is_available():
        raise UserError("there is no GPU here that PyTorch can use")
    chosen = [row for row in (GPU_ROWS if gpu else ROWS) if only in row.name]
    swept = [] if gpu else [sweep for sweep in SWEEPS if only in sweep.name]
    if not (chosen or swept):
        names = [*(row.name for row in ROWS), *(sweep.name for sweep in SWEEPS)]
        raise UserError(f"no row's name contains '{only}'; {nearest(only, names)}")
    if keep and (only or gpu):
        raise UserError("--keep is about all rows of the CPU: leave --only and --gpu out")
    torch.set_num_threads(1)
    quieten()
    found = []
    for row in chosen:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            found.append(measure(row))
        print(line(found[-1]), flush=True)
    grown = []
    for sweep in swept:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            grown.append(sweeps.measure(sweep))
        print(sweeps.line(grown[-1]), flush=True)
    content: dict[str, Any] = {
        "environment": ledger.environment("cuda:0" if gpu else "cpu"),
        "rows": [asdict(one) for one in found],
        "sweeps": [{**asdict(one), "reached": one.reached} for one in grown],
    }
    records.write_json(directory / FILE, content)
    if grown:
        sweeps.draw(content["sweeps"], directory / PICTURE)
    print(directory / FILE)
    if keep:
        records.write_json(KEPT, content)
        shutil.copyfile(directory / PICTURE, KEPT.with_name(PICTURE))
        text = README.read_text(encoding="utf-8")
        records.write_atomically(README, with_table(text, content))
    return 0


def line(one: Measured) -> str:
    """One row in words."""
    figures = f"{one.name}: {one.ratio:.2f} ({one.lowest:.2f} to {one.highest:.2f})"
    if one.target is None:
        return f"{figures}, the floor | {one.workload}"
    sign = "<=" if one.better == "below" else ">="
    reached = "reached" if one.reached else "not reached"
    return f"{figures}, target {sign} {one.target:g}, {reached} | {one.workload}"


def with_table(text: str, content: Mapping[str, Any]) -> str:
    """Put the kept figures between their marks in a Markdown text."""
    rows = ["| ratio | median | of | target | workload |", "|---|---|---|---|---|"]
    for row in content["rows"]:
        sign = "≤" if row["better"] == "below" else "≥"
        target = "the floor"
        if row["target"] is not None:
            target = f"{sign} {row['target']:g}" + ("" if row["reached"] else ", not reached")
        spread = f"{row['lowest']:.2f} to {row['highest']:.2f}"
        rows.append(f"| {row['name']} | {row['ratio']:.2f} | {spread} | {target} | {row['workload']} |")
    for growth in content["sweeps"]:
        target = f"slope ≤ {sweeps.LINEAR:g}" + ("" if growth["reached"] else ", not reached")
        figures = f"{growth['slope']:z.2f} | steepest {growth['steepest']:.2f}"
        rows.append(f"| cost against {growth['name']} | {figures} | {target} | {growth['workload']} |")
    return between(text, "<!-- bench -->", "<!-- end of bench -->", "\n".join(rows))
