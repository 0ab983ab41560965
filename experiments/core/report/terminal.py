"""The verdicts in a terminal: complete in 80 columns, and plain where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.core.definitions import CONFIRMED, FAIL, INCONCLUSIVE, INFERENTIAL, NONE, PASS, REFUTED
from experiments.core.files.errors import printable
from experiments.core.report import wording
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdicts import Verdict
from experiments.core.verdicts.verification import IDENTICAL, SAME, SHOWN, STABLE, Answer, summarize

COLORS = {CONFIRMED: "green", PASS: "green", REFUTED: "red", FAIL: "red", INCONCLUSIVE: "yellow"}
# Not every encoding that a pipe or an old terminal uses has these.
PLAIN = str.maketrans({"−": "-", "±": "+-", "≤": "<="})


def print_verdicts(results: Results) -> None:
    """Print one row a claim, what is open, and how many claims came out how."""
    console = Console(file=sys.stdout, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for heading, right in (("verdict", 0), ("claim", 0), ("effect", 1), ("interval", 0), ("threshold", 0), ("n", 1)):
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for verdict in results.verdicts:
        table.add_row(*_row(verdict), style=COLORS.get(verdict.verdict, ""))
    console.print(table, markup=False)
    for line in _below(results):
        console.print(printable(line.translate(PLAIN)), markup=False)


def print_answers(title: str, answers: Sequence[Answer]) -> None:
    """Print how the claims of an experiment came out again: counts, and a row for each that is not as it was."""
    console = Console(file=sys.stdout, highlight=False)
    counted = summarize(answers)
    words = [f"{count} {word}" for word, count in counted["counts"].items()]
    console.print(printable(f"{title}: {', '.join(words) or 'nothing to compare'}"), markup=False, soft_wrap=True)
    for a in answers:
        if a.answer in (IDENTICAL, SAME, SHOWN, STABLE):
            continue
        effects = " -> ".join(wording.number(x).translate(PLAIN) or "none" for x in (a.reference_effect, a.effect))
        line = printable(f"  {a.answer}: {a.id}: {a.reference} -> {a.verdict}, {effects}")
        console.print(line, markup=False, soft_wrap=True)


def _row(verdict: Verdict) -> list[str]:
    mark = " (c)" if verdict.control else "" if verdict.primary or verdict.kind not in INFERENTIAL else " (s)"
    return [
        "" if verdict.verdict == NONE else verdict.verdict,
        verdict.id + mark,
        wording.effect_words(verdict).translate(PLAIN),
        wording.interval_words(*wording.interval_of(verdict)).translate(PLAIN),
        # Shorter than on the page: eighty columns hold just these.
        wording.threshold_words(verdict).translate(PLAIN).replace("within", "in").removeprefix("error "),
        str(verdict.n),
    ]


def _below(results: Results) -> list[str]:
    verdicts = results.verdicts
    lines = ["", wording.summary(verdicts)]
    if any(verdict.control for verdict in verdicts):
        lines.append("(c) control: expected to be refuted")
    if any(not verdict.primary and verdict.kind in INFERENTIAL for verdict in verdicts):
        lines.append("(s) secondary: judged alone at 95 %, outside the family")
    remarks = [f"{v.id}: {wording.what_remains(v)}" for v in verdicts if wording.what_remains(v)]
    lines += ["", *remarks] if remarks else []
    if not all(verdict.official for verdict in verdicts):
        some = [v.id for v in verdicts if not v.official]
        which = "all of it" if len(some) == len(verdicts) else ", ".join(some)
        lines += ["", f"Exploratory, not the frozen n, seeds, data and scale: {which}."]
    return lines
