"""The official results that the repository keeps: `reference.json`, a picture, and the table in the README."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import FiniteFloat
from typing_extensions import TypedDict

from experiments.core import catalogue, records
from experiments.core.bands import band, values_of
from experiments.core.definitions import INFERENTIAL
from experiments.core.errors import UserError
from experiments.core.grid import Grid
from experiments.core.json_files import read_json
from experiments.core.plan import Plan
from experiments.core.report import markdown, wording
from experiments.core.results import Results
from experiments.core.verdicts import Rows, Verdict
from experiments.core.verification import Answer, summarize

T = TypeVar("T")

FILE = "reference.json"
OTHER_SEEDS = "other_seeds.json"


# Mean, half of its 95 % interval, seeds.
Shown = tuple[FiniteFloat | None, FiniteFloat | None, int]


class OtherSeeds(TypedDict):
    """What is read of `other_seeds.json`."""

    first_seed: int
    counts: dict[str, int]
    claims: list[dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """The official results of one experiment, as its folder keeps them."""

    command: str
    environment: dict[str, Any]
    verdicts: Rows
    # By the claim's id, one number a seed; none where it was not finite.
    values: dict[str, list[FiniteFloat | None]]
    # Of each condition, every measure that the experiment declares.
    measures: dict[str, dict[str, Shown]]

    def __post_init__(self) -> None:
        sections = [self.environment.get(name, {}) for name in ("versions", "flags")]
        if not all(isinstance(section, dict) for section in sections):
            raise ValueError("the environment has no versions, or no flags")
        if not all(verdict.id in self.values for verdict in self.verdicts if verdict.kind in INFERENTIAL):
            raise ValueError("a claim has no values")


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
    kept = Reference(plan.command, results.environment, results.verdicts, values, declared(results))
    records.write_json(folder / FILE, asdict(kept))
    picture = f"{plan.grid.experiment.figures[0]}.png"
    shutil.copyfile(plan.directory / "figures" / picture, folder / picture)
    return [folder / FILE, folder / picture, *write_pages()]


def write_pages() -> list[Path]:
    """Write what the repository's pages say of the references: the README's summary, VERDICTS.md, MODULES.md."""
    found = pages(all_kept(), all_other_seeds())
    for path, text in found.items():
        records.write_atomically(path, text)
    return list(found)


def pages(kept: Mapping[str, Reference], other_seeds: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """What the pages should hold, by their path."""
    verdicts = {name: reference.verdicts for name, reference in kept.items()}
    summary = markdown.summary_table(verdicts, other_seeds)
    places = [catalogue.ROOT.parent / name for name in ("README.md", "MODULES.md", "VERDICTS.md")]
    readme, modules = (place.read_text(encoding="utf-8") for place in places[:2])
    for name, reference in kept.items():
        modules = with_scores(with_table(modules, name, reference.verdicts), name, reference)
    readme = between(readme, "<!-- summary -->", "<!-- end of summary -->", summary)
    return dict(zip(places, (readme, modules, markdown.lecture_page(verdicts)), strict=True))


def all_kept() -> dict[str, Reference]:
    """The references there are, by the experiment's name."""
    return {name: read(name) for name in catalogue.names() if exists(name)}


def all_other_seeds() -> dict[str, OtherSeeds]:
    """What was kept about another seed set, by the experiment's name.

    Raises:
        UserError: a file does not hold that.
    """
    paths = {name: catalogue.ROOT / name / OTHER_SEEDS for name in catalogue.names()}
    return {
        name: _read(path, OtherSeeds, "answer", f"make verify EXP={name} ARGS='--first-seed=2000 --keep'")
        for name, path in paths.items()
        if path.exists()
    }


def _read(path: Path, schema: type[T], kind: str, again: str) -> T:
    try:
        return read_json(path, schema)
    except (OSError, ValueError):
        raise UserError(f"'{path}' is no {kind} as this version writes it; again: {again}") from None


def keep_other_seeds(plan: Plan, answers: Sequence[Answer]) -> None:
    """Keep how the claims of an experiment came out with another seed set, beside its reference."""
    content = {"first_seed": plan.first_seed, **summarize(answers), "claims": [asdict(answer) for answer in answers]}
    records.write_json(catalogue.ROOT / plan.grid.name / OTHER_SEEDS, content)
    write_pages()


def declared(results: Results) -> dict[str, dict[str, Shown]]:
    """Mean, half of the 95 % Student interval and number of seeds of every declared measure, by condition."""
    found: dict[str, dict[str, Shown]] = {}
    for condition in results.plan.grid.conditions:
        rows = results.frame[results.frame["condition"] == condition.name]
        for measure in results.plan.grid.experiment.measures:
            values = values_of(rows, measure)
            values = values[np.isfinite(values)]
            shown = band([0.0], values[None])
            mean, half = float(shown.mean[0]), float(shown.high[0] - shown.mean[0])
            found.setdefault(condition.name, {})[measure] = (mean, half, len(values))
    return found


def exists(name: str) -> bool:
    """Whether an experiment has a reference."""
    return (catalogue.ROOT / name / FILE).is_file()


def read(name: str) -> Reference:
    """The reference of an experiment.

    Raises:
        UserError: it has none that can be read.
    """
    path = catalogue.ROOT / name / FILE
    if not exists(name):
        raise UserError(f"'{name}' has no reference yet; first: make reference EXP={name}")
    return _read(path, Reference, "reference", f"make reference EXP={name}")


def with_table(text: str, name: str, verdicts: Sequence[Verdict]) -> str:
    """Put the verdict table of an experiment between its two marks in a Markdown text."""
    return between(text, f"<!-- verdicts: {name} -->", "<!-- end of verdicts -->", table(verdicts))


def between(text: str, begin: str, end: str, content: str) -> str:
    """Replace what stands between two marks of a text; a text without them stays as it is."""
    before, mark, rest = text.partition(begin)
    if not mark:
        return text
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def with_scores(text: str, name: str, kept: Reference) -> str:
    """Put the table of an experiment's declared measures between its two marks in a Markdown text."""
    mark = f"<!-- scores: {name} -->"
    return between(text, mark, "<!-- end of scores -->", scores(name, kept)) if mark in text else text


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


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts of an experiment as a Markdown table: one row a claim."""
    rows = ["| claim | verdict | measured | threshold | n |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        statement = markdown.plain(verdict.statement) + markdown.marked(verdict.control, verdict.source)
        cells = [statement, *markdown.verdict_cells(verdict)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
