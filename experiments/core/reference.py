"""The official results that the repository keeps: `reference.json`, a picture, and the table in the README."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.core import catalogue, records
from experiments.core.bands import band, values_of
from experiments.core.definitions import NONE
from experiments.core.errors import UserError
from experiments.core.grid import Grid
from experiments.core.report import wording
from experiments.core.results import Results
from experiments.core.verdicts import Verdict, from_rows

FILE = "reference.json"
PAGES = (catalogue.ROOT.parent / "README.md", catalogue.ROOT.parent / "MODULES.md")


@dataclass(frozen=True)
class Reference:
    """The official results of one experiment, as its folder keeps them."""

    command: str
    environment: dict[str, Any]
    verdicts: tuple[Verdict, ...]
    # By the claim's id, one number a seed.
    values: dict[str, list[float]]
    # Of each condition, every measure that the experiment declares: mean, half of its 95 % interval, seeds.
    measures: dict[str, dict[str, tuple[float, float, int]]]


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
    kept = Reference(plan.command, results.runs[0].result["environment"], results.verdicts, values, declared(results))
    records.write_json(folder / FILE, asdict(kept))
    picture = f"{plan.grid.experiment.figures[0]}.png"
    shutil.copyfile(plan.directory / "figures" / picture, folder / picture)
    stored = read(plan.grid.name)
    for page in PAGES:
        text = with_table(page.read_text(encoding="utf-8"), plan.grid.name, stored.verdicts)
        records.write_atomically(page, with_scores(text, plan.grid.name, stored))
    return [folder / FILE, folder / picture, *PAGES]


def declared(results: Results) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Mean, half of the 95 % Student interval and number of seeds of every declared measure, by condition."""
    found: dict[str, dict[str, tuple[float, float, int]]] = {}
    for condition in results.plan.grid.conditions:
        rows = results.frame[results.frame["condition"] == condition.name]
        for measure in results.plan.grid.experiment.measures:
            values = values_of(rows, measure)
            values = values[np.isfinite(values)]
            shown = band([0.0], values[None])
            mean, half = float(shown.mean[0]), float(shown.high[0] - shown.mean[0])
            found.setdefault(condition.name, {})[measure] = (mean, half, len(values))
    return found


def read(name: str) -> Reference:
    """The reference of an experiment."""
    content = json.loads((catalogue.ROOT / name / FILE).read_text(encoding="utf-8"))
    return Reference(**{**content, "verdicts": tuple(from_rows(content["verdicts"]))})


def with_table(text: str, name: str, verdicts: Sequence[Verdict]) -> str:
    """Put the verdict table of an experiment between its two marks in a Markdown text."""
    return between(text, f"<!-- verdicts: {name} -->", "<!-- end of verdicts -->", markdown(verdicts))


def between(text: str, begin: str, end: str, content: str) -> str:
    """Replace what stands between two marks of a text; a text without them stays as it is."""
    before, mark, rest = text.partition(begin)
    if not mark:
        return text
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def with_scores(text: str, name: str, kept: Reference) -> str:
    """Put the table of an experiment's declared measures between its two marks in a Markdown text."""
    return between(text, f"<!-- scores: {name} -->", "<!-- end of scores -->", scores(name, kept))


def scores(name: str, kept: Reference) -> str:
    """A row a condition: model, data, loss and every measure that the experiment declares, mean ± 95 % (n)."""
    experiment = catalogue.load(name)
    grid = Grid.build(name, experiment, "quick", experiment.data[0])
    headings = [measure.replace("_", " ") for measure in experiment.measures]
    rows = [f"| config | model | data | loss | {' | '.join(headings)} |", "|---" * (4 + len(headings)) + "|"]
    for condition in grid.conditions:
        merged = grid.merged(condition)
        loss = _loss(merged["model"])
        words = [condition.name, merged["model"]["class_path"], merged["data"]["class_path"], loss]
        words += [wording.mean_words(kept.measures[condition.name][measure]) for measure in experiment.measures]
        rows.append(f"| {' | '.join(words)} |")
    return "\n".join(rows)


def _loss(model: Mapping[str, Any]) -> str:
    """The loss a config gives, or the default of the model's constructor."""
    from experiments.core.classes import default_of, find_class

    given = (model.get("init_args") or {}).get("loss")
    return str(given or default_of(find_class("model", model["class_path"]), "loss"))


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
