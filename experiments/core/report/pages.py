"""The kept results as Markdown pages: tables of README.md and MODULES.md, and VERDICTS.md, line by line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from experiments.core.definitions import CONFIRMED, INCONCLUSIVE, INFERENTIAL, NONE, PASS, REFUTED, Claim
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Grid
from experiments.core.grid.lecture import LINES
from experiments.core.grid.plan import Plan
from experiments.core.report import wording
from experiments.core.report.intervals import mean_and_interval, values_of
from experiments.core.training.classes import default_of, find_class
from experiments.core.verdicts.reference import FILE, OTHER_SEEDS, Reference, Shown, all_kept, all_other_seeds
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import Verdict
from experiments.core.verdicts.verification import Answer, summarize

Kept = Mapping[str, Sequence[Verdict]]

HEADER = """# The lecture, line by line

What the official runs say about every line of the lecture: the kept references of the experiments, written by
`make reference EXP=all` after `make exp-all`. The interval decides; *beyond* marks what the lecture does not say,
*control* what is expected to be false. A reading in brackets says what a refutation or an open verdict leaves."""


def summary_table(kept: Kept, other_seeds: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the summary: one row an experiment, with counts of verdicts and the result of a second seed set.

    Args:
        kept: the official verdicts, by the experiment's name.
        other_seeds: what `verify` kept about another seed set, by the experiment's name.
    """
    rows = [
        "| experiment | confirmed | refuted | inconclusive | exact checks | second seed set |",
        "|---|---|---|---|---|---|",
    ]
    for name, verdicts in kept.items():
        claims = [v for v in verdicts if v.kind in INFERENTIAL and not v.control]
        counts = [str(sum(v.verdict == word for v in claims)) for word in (CONFIRMED, REFUTED, INCONCLUSIVE)]
        exact = [v for v in verdicts if v.kind == "exact"]
        passed = f"{sum(v.verdict == PASS for v in exact)} of {len(exact)}" if exact else ""
        command = f"[`make exp-{name.replace('_', '-')}`](experiments/{name}/experiment.py)"
        rows.append(f"| {command} | {' | '.join([*counts, passed, _answered(other_seeds.get(name))])} |")
    everything = [verdict for verdicts in kept.values() for verdict in verdicts]
    return "\n".join([wording.summary(everything), "", *rows])


def _answered(answers: Mapping[str, Any] | None) -> str:
    if answers is None:
        return "not run yet"
    counts = answers["counts"]
    words = [f"{counts.get('contradiction', 0)} contradictions"]
    words += [f"{counts['shifted']} shifted"] if counts.get("shifted") else []
    flips = counts.get("flip", 0)
    return ", ".join([*words, f"{flips} flip{'' if flips == 1 else 's'}"])


def lecture_page(kept: Kept) -> str:
    """Return VERDICTS.md: one section a line of the lecture, one row a claim."""
    verdicts = {verdict.id: verdict for found in kept.values() for verdict in found}
    claims = [(name, claim) for name in catalogue.names() for claim in catalogue.load(name).claims]
    parts = [HEADER]
    for line in LINES:
        rows = ["| claim | verdict | measured | threshold | n | run by |", "|---|---|---|---|---|---|"]
        rows += [_row(name, c, verdicts.get(c.id)) for name, c in claims if c.lecture_line == line.id]
        parts.append(f"## {line.id} · {line.slide}\n\n{line.says} *{line.says_fr}*\n\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _row(name: str, claim: Claim, verdict: Verdict | None) -> str:
    statement = plain(claim.statement + (f" Where it holds: {claim.holds}" if claim.holds else ""))
    cells = verdict_cells(verdict) if verdict else ["not run yet", "", "", ""]
    marks = marked(claim.control, claim.source)
    return f"| {statement}{marks} | {' | '.join(cells)} | `make exp-{name.replace('_', '-')}` |"


def plain(text: str) -> str:
    """Escape a text for a cell of a Markdown table, so that it opens no HTML, link or cell."""
    one_line = " ".join(text.split()).replace("|", "&#124;")
    return re.sub(r"\](?=[(\[])", "&#93;", re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", one_line))


def marked(control: bool, source: str) -> str:
    """Return the marks behind a statement: control, beyond the lecture."""
    marks = [word for word, on in (("control", control), ("beyond", source == "beyond")) if on]
    return f" *({', '.join(marks)})*" if marks else ""


def verdict_cells(verdict: Verdict) -> list[str]:
    """Return verdict and reading, effect and interval, threshold, and number of seeds, as cells of a table."""
    word = plain(verdict.verdict + (f" ({verdict.reading})" if verdict.reading else ""))
    shown = f"shown, no verdict ({plain(verdict.kind)})" if verdict.verdict == NONE else f"**{word}**"
    measured = f"{wording.effect_words(verdict)} {wording.interval_words(*wording.interval_of(verdict))}".strip()
    return [shown, measured, wording.threshold_words(verdict), str(verdict.n or "")]


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
    run_directory.write_json(folder / FILE, asdict(kept))
    picture = f"{plan.grid.experiment.figures[0]}.png"
    shutil.copyfile(plan.directory / "figures" / picture, folder / picture)
    return [folder / FILE, folder / picture, *write_pages()]


def write_pages() -> list[Path]:
    """Update the pages about the references: README.md, VERDICTS.md and MODULES.md."""
    found = pages(all_kept(), all_other_seeds())
    for path, text in found.items():
        run_directory.write_atomically(path, text)
    return list(found)


def pages(kept: Mapping[str, Reference], other_seeds: Mapping[str, Mapping[str, Any]]) -> dict[Path, str]:
    """Return the content of these pages, by path."""
    verdicts = {name: reference.verdicts for name, reference in kept.items()}
    summary = summary_table(verdicts, other_seeds)
    places = [catalogue.ROOT.parent / name for name in ("README.md", "MODULES.md", "VERDICTS.md")]
    readme, modules = (place.read_text(encoding="utf-8") for place in places[:2])
    for name, reference in kept.items():
        modules = with_scores(with_table(modules, name, reference.verdicts), name, reference)
    readme = between(readme, "<!-- summary -->", "<!-- end of summary -->", summary)
    return dict(zip(places, (readme, modules, lecture_page(verdicts)), strict=True))


def keep_other_seeds(plan: Plan, answers: Sequence[Answer]) -> None:
    """Write the comparison with another seed set beside the reference of an experiment."""
    content = {"first_seed": plan.first_seed, **summarize(answers), "claims": [asdict(answer) for answer in answers]}
    run_directory.write_json(catalogue.ROOT / plan.grid.name / OTHER_SEEDS, content)
    write_pages()


def declared(results: Results) -> dict[str, dict[str, Shown]]:
    """Return mean, half of the 95 % Student interval and number of seeds of each declared measure, by condition."""
    found: dict[str, dict[str, Shown]] = {}
    for condition in results.plan.grid.conditions:
        rows = results.frame[results.frame["condition"] == condition.name]
        for measure in results.plan.grid.experiment.measures:
            values = values_of(rows, measure)
            values = values[np.isfinite(values)]
            shown = mean_and_interval([0.0], values[None])
            mean, half = float(shown.mean[0]), float(shown.high[0] - shown.mean[0])
            found.setdefault(condition.name, {})[measure] = (mean, half, len(values))
    return found


def with_table(text: str, name: str, verdicts: Sequence[Verdict]) -> str:
    """Return a Markdown text with the verdict table of an experiment between its two marks."""
    return between(text, f"<!-- verdicts: {name} -->", "<!-- end of verdicts -->", table(verdicts))


def between(text: str, begin: str, end: str, content: str) -> str:
    """Replace the content between two marks of a text; return a text without the marks unchanged."""
    before, mark, rest = text.partition(begin)
    if not mark:
        return text
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def with_scores(text: str, name: str, kept: Reference) -> str:
    """Return a Markdown text with the table of declared measures between its two marks."""
    mark = f"<!-- scores: {name} -->"
    return between(text, mark, "<!-- end of scores -->", scores(name, kept)) if mark in text else text


def scores(name: str, kept: Reference) -> str:
    """Return a table: one row a condition, with model, data, loss and each declared measure, mean ± 95 % (n)."""
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
    """Return the loss of a config, or the default of the model's constructor."""
    given = (model.get("init_args") or {}).get("loss")
    return str(given or default_of(find_class("model", model["class_path"]), "loss"))


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts of an experiment as a Markdown table, one row a claim."""
    rows = ["| claim | verdict | measured | threshold | n |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        statement = plain(verdict.statement) + marked(verdict.control, verdict.source)
        cells = [statement, *verdict_cells(verdict)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
