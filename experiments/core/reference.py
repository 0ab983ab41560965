"""The official results that the repository keeps: `reference.json`, a picture, and the table in the README."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.core import catalogue, records
from experiments.core.definitions import NONE
from experiments.core.errors import UserError
from experiments.core.report import wording
from experiments.core.results import Results
from experiments.core.verdicts import Verdict, from_rows

FILE = "reference.json"
README = catalogue.ROOT.parent / "README.md"


@dataclass(frozen=True)
class Reference:
    """The official results of one experiment, as its folder keeps them."""

    command: str
    environment: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    # By the claim's id, one number a seed.
    values: dict[str, list[float]]


def keep(results: Results) -> list[Path]:
    """Make these results the reference of their experiment.

    Returns:
        The files written.

    Raises:
        UserError: the results are not the official ones.
    """
    plan = results.plan
    exploratory = [verdict.id for verdict in results.verdicts if not verdict.official]
    if exploratory or plan.grid.data != plan.grid.experiment.data[0]:
        raise UserError(f"only official results are kept as the reference; exploratory: {', '.join(exploratory)}")
    folder = catalogue.ROOT / plan.grid.name
    values = {name: sample.values.tolist() for name, sample in results.samples.items()}
    kept = Reference(plan.command, results.runs[0].result["environment"], results.verdicts, values)
    records.write_json(folder / FILE, asdict(kept))
    picture = f"{plan.grid.experiment.figures[0]}.png"
    shutil.copyfile(plan.directory / "figures" / picture, folder / picture)
    text = README.read_text(encoding="utf-8")
    records.write_atomically(README, with_table(text, plan.grid.name, read(plan.grid.name).verdicts))
    return [folder / FILE, folder / picture, README]


def read(name: str) -> Reference:
    """The reference of an experiment."""
    content = json.loads((catalogue.ROOT / name / FILE).read_text(encoding="utf-8"))
    return Reference(**{**content, "verdicts": tuple(from_rows(content["verdicts"]))})


def with_table(text: str, name: str, verdicts: Sequence[Verdict]) -> str:
    """Put the verdict table of an experiment between its two marks in a Markdown text."""
    begin, end = f"<!-- verdicts: {name} -->", "<!-- end of verdicts -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{markdown(verdicts)}\n{end}{after}"


def markdown(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a Markdown table: one row a claim."""
    rows = ["| claim | verdict | measured | threshold | n |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        marks = [word for word, on in (("control", verdict.control), ("beyond", verdict.source == "beyond")) if on]
        statement = verdict.statement + (f" *({', '.join(marks)})*" if marks else "")
        word = verdict.verdict + (f" ({verdict.reading})" if verdict.reading else "")
        shown = "shown, no verdict" if verdict.verdict == NONE else f"**{word}**"
        measured = f"{wording.effect_words(verdict)} {wording.interval_words(verdict.ci_low, verdict.ci_high)}".strip()
        rows.append(f"| {statement} | {shown} | {measured} | {wording.threshold_words(verdict)} | {verdict.n} |")
    return "\n".join(rows)
