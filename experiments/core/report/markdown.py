"""The kept results as Markdown: the summary in the README, and VERDICTS.md, the whole lecture line by line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.core import catalogue
from experiments.core.definitions import CONFIRMED, INCONCLUSIVE, INFERENTIAL, NONE, PASS, REFUTED, Claim
from experiments.core.lecture import LINES
from experiments.core.report import wording
from experiments.core.verdicts import Verdict

Kept = Mapping[str, Sequence[Verdict]]

HEADER = """# The lecture, line by line

What the official runs say about every line of the lecture: the kept references of the experiments, written by
`make reference EXP=all` after `make exp-all`. The interval decides; *beyond* marks what the lecture does not say,
*control* what is expected to be false. A reading in brackets says what a refutation or an open verdict leaves."""


def summary_table(kept: Kept, other_seeds: Mapping[str, Mapping[str, Any]]) -> str:
    """A row an experiment: how many claims came out how, and how a second seed set answered.

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
    """VERDICTS.md: a section a line of the lecture, a row a claim."""
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
    """A text as a cell of a table shows it word for word: it opens no HTML, no link and no other cell."""
    one_line = " ".join(text.split()).replace("|", "&#124;")
    return re.sub(r"\](?=[(\[])", "&#93;", re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", one_line))


def marked(control: bool, source: str) -> str:
    """What a statement is marked with: a control, or beyond the lecture."""
    marks = [word for word, on in (("control", control), ("beyond", source == "beyond")) if on]
    return f" *({', '.join(marks)})*" if marks else ""


def verdict_cells(verdict: Verdict) -> list[str]:
    """Verdict with its reading, effect with its interval, threshold, and seeds, as cells of a table."""
    word = plain(verdict.verdict + (f" ({verdict.reading})" if verdict.reading else ""))
    shown = f"shown, no verdict ({plain(verdict.kind)})" if verdict.verdict == NONE else f"**{word}**"
    measured = f"{wording.effect_words(verdict)} {wording.interval_words(*wording.interval_of(verdict))}".strip()
    return [shown, measured, wording.threshold_words(verdict), str(verdict.n or "")]
