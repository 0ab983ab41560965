"""Print verdicts: complete in 80 columns, without control characters where the output is not a terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence

from rich.console import Console

from experiments.core.definitions import CHECKED, CONFIRMED, FAIL, INCONCLUSIVE, INFERENTIAL, NONE, PASS, REFUTED
from experiments.core.files.errors import printable
from experiments.core.report import wording
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import Verdict
from experiments.core.verdicts.verification import IDENTICAL, SAME, SHOWN, STABLE, Answer, summarize

COLORS = {CONFIRMED: "green", PASS: "green", REFUTED: "red", FAIL: "red", INCONCLUSIVE: "yellow"}
# Some encodings of pipes and old terminals lack these characters.
PLAIN = str.maketrans({"−": "-", "±": "+-", "≤": "<="})


def print_verdicts(results: Results) -> None:
    """Print each claim as a sentence with its verdict and numbers, then a summary."""
    console = Console(file=sys.stdout, highlight=False)
    width = max(40, min(console.width, 100))
    column = max(len(_word(verdict)) for verdict in results.verdicts)
    for verdict in results.verdicts:
        lines = _block(verdict, column + 2 if column else 0, width)
        console.print(lines, style=COLORS.get(verdict.verdict, ""), markup=False, soft_wrap=True)
    for line in _below(results):
        console.print(_wrap(line, "", "", width), markup=False, soft_wrap=True)


def print_answers(title: str, answers: Sequence[Answer], statements: Mapping[str, str]) -> None:
    """Print how many claims agree with the reference, and one line for each claim that does not.

    Args:
        title: of the experiment.
        answers: one a claim.
        statements: of the claims, by id.
    """
    console = Console(file=sys.stdout, highlight=False)
    counted = summarize(answers)
    words = [f"{count} {word}" for word, count in counted["counts"].items()]
    console.print(printable(f"{title}: {', '.join(words) or 'nothing to compare'}"), markup=False, soft_wrap=True)
    for a in answers:
        if a.answer in (IDENTICAL, SAME, SHOWN, STABLE):
            continue
        effects = " -> ".join(wording.number(x).translate(PLAIN) or "none" for x in (a.reference_effect, a.effect))
        line = printable(f"  {a.answer}: {a.id}: {a.reference} -> {a.verdict}, {effects}: {statements[a.id]}")
        console.print(line, markup=False, soft_wrap=True)


def _word(verdict: Verdict) -> str:
    return "" if verdict.verdict == NONE else verdict.verdict


def _block(verdict: Verdict, indent: int, width: int) -> str:
    """Verdict and statement, with the id in brackets; below them the numbers and what remains open."""
    space, word = " " * indent, _word(verdict)
    marks = ["control"] if verdict.control else []
    marks += ["secondary"] if not verdict.primary and not verdict.control and verdict.kind in INFERENTIAL else []
    statement = f"{verdict.statement} ({', '.join([verdict.id, *marks])})"
    lines = [_wrap(statement, word.ljust(indent), space, width)]
    below = space + "  "
    lines += [_wrap(text, below, below, width) for text in (_numbers(verdict), wording.what_remains(verdict)) if text]
    return "\n".join(lines)


def _numbers(verdict: Verdict) -> str:
    """Effect with its interval, threshold and number of seeds: `-0.852 [-0.855, -0.849], threshold < -0.3, n = 10`."""
    measured = f"{wording.effect_words(verdict)} {wording.interval_words(*wording.interval_of(verdict))}".strip()
    threshold = wording.threshold_words(verdict).removeprefix("error ")
    parts = [f"error {measured}" if verdict.kind in CHECKED and measured else measured]
    parts += [f"threshold {threshold}"] if threshold else []
    parts += [f"n = {verdict.n}"] if verdict.n else []
    return ", ".join(part for part in parts if part)


def _wrap(text: str, first: str, others: str, width: int) -> str:
    words = printable(text.translate(PLAIN))
    return textwrap.fill(
        words, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )


def _below(results: Results) -> list[str]:
    verdicts = results.verdicts
    lines = ["", wording.summary(verdicts)]
    if any(verdict.control for verdict in verdicts):
        lines.append("control: expected to be refuted")
    if any(not verdict.primary and verdict.kind in INFERENTIAL for verdict in verdicts):
        lines.append("secondary: judged alone at 95 %, outside the family")
    if not all(verdict.official for verdict in verdicts):
        some = [v.id for v in verdicts if not v.official]
        which = "all of it" if len(some) == len(verdicts) else ", ".join(some)
        lines += ["", f"Exploratory, not the frozen n, seeds, data and scale: {which}."]
    return lines
