"""The index: the whole lecture on one page, line by line, each with its verdicts, figure and command."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib as mpl

from experiments.core.definitions import NONE, Claim
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue
from experiments.core.grid.lecture import LINES
from experiments.core.report import drawing as d
from experiments.core.report import wording
from experiments.core.report.page import REPORT, templates
from experiments.core.verdicts.verdict import Verdict, read_verdicts

INDEX = "index.html"
FOREST = "forest.svg"

Found = Mapping[tuple[str, str], Verdict]


def write(runs: Path, draw: bool) -> Path:
    """Write `index.html` about every directory of `runs` that has verdicts, and list files that cannot be read.

    Args:
        runs: where results are kept.
        draw: whether to draw the forest of all verdicts anew, which takes seconds; one that is older than a verdict is
            not shown.

    Returns:
        The path of the page.
    """
    files = {file.parent.name: file for file in sorted(runs.glob("*/verdicts.json"))}
    read, unreadable = _read(files)
    official = {name: found for name, found in read.items() if name in catalogue.names()}
    by_claim = {(name, verdict.id): verdict for name, found in official.items() for verdict in found}
    if draw and by_claim:
        _draw_forest(in_order(by_claim), runs / FOREST)
    drawn = (runs / FOREST).is_file()
    fresh = drawn and all(files[n].stat().st_mtime <= (runs / FOREST).stat().st_mtime for n in official)
    page = (
        templates()
        .get_template("index.html")
        .render(
            lines=[{**line._asdict(), "claims": _claims(line.id, by_claim, runs)} for line in LINES],
            summary=wording.summary(in_order(by_claim)) if by_claim else "",
            families=len({verdict.family for verdict in by_claim.values() if verdict.official} - {""}),
            forest=FOREST if fresh else "",
            missing=[name for name in catalogue.names() if name not in official],
            unreadable=unreadable,
            others=[_other(runs / name, found) for name, found in read.items() if name not in official],
        )
    )
    run_directory.write_atomically(runs / INDEX, page)
    return runs / INDEX


def _read(files: Mapping[str, Path]) -> tuple[dict[str, list[Verdict]], list[str]]:
    """Return the verdicts of each file, and a message for each file that has none."""
    read: dict[str, list[Verdict]] = {}
    unreadable = []
    for name, file in files.items():
        try:
            read[name] = read_verdicts(file)
        except UserError as error:
            unreadable.append(_shown(str(error)))
            print(f"error: {unreadable[-1]}", file=sys.stderr)
    return read, unreadable


def _shown(name: str) -> str:
    """Return a file name, which may consist of any bytes, as text."""
    return os.fsencode(name).decode("utf-8", errors="replace")


def in_order(found: Found) -> list[Verdict]:
    """Sort verdicts by line of the lecture."""
    return sorted(found.values(), key=lambda verdict: verdict.lecture_line)


def claims_of(line: str) -> list[tuple[str, Claim]]:
    """Return every claim about a line of the lecture, with the name of its experiment."""
    return [(name, c) for name in catalogue.names() for c in catalogue.load(name).claims if c.lecture_line == line]


def _claims(line: str, found: Found, runs: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, claim in claims_of(line):
        verdict = found.get((name, claim.id))
        report = f"{quote(name)}/{REPORT}"
        # Only the first claim of a figure shows it.
        picture = f"{name}/figures/{claim.figure}.png" if claim.figure else ""
        seen = {row["picture"] for row in rows}
        rows.append(
            {
                "id": claim.id,
                "statement": claim.statement,
                "statement_fr": claim.statement_fr,
                "note": claim.note,
                "holds": claim.holds,
                "beyond": claim.source == "beyond",
                "control": claim.control,
                "link": f"{report}#{quote(claim.id)}" if verdict and (runs / name / REPORT).is_file() else "",
                "picture": picture if picture not in seen and (runs / picture).is_file() else "",
                "figure_link": f"{report}#figure-{quote(claim.figure)}",
                "command": f"make exp-{name.replace('_', '-')}",
                **_outcome(claim, verdict),
            }
        )
    return rows


def _outcome(claim: Claim, verdict: Verdict | None) -> dict[str, str]:
    if verdict is None:
        word, symbol = ("not testable", "○") if claim.kind == "not testable" else ("not run yet", "○")
        return {"class": "none", "symbol": symbol, "word": word, "numbers": "", "remains": ""}
    numbers = [wording.effect_words(verdict), wording.interval_words(*wording.interval_of(verdict))]
    threshold = wording.threshold_words(verdict)
    numbers += [f"claimed {threshold}" if threshold else ""]
    numbers += [f"n = {verdict.n}"] if verdict.n else []
    return {
        "class": verdict.verdict.lower(),
        "symbol": wording.SYMBOLS[verdict.verdict],
        "word": verdict.kind if verdict.verdict == NONE else verdict.verdict,
        "numbers": " · ".join(part for part in numbers if part),
        "remains": wording.what_remains(verdict),
    }


def _other(directory: Path, found: Sequence[Verdict]) -> dict[str, str]:
    link = quote(os.fsencode(f"{directory.name}/{REPORT}")) if (directory / REPORT).is_file() else ""
    return {"name": _shown(directory.name), "link": link, "summary": wording.summary(found)}


def _draw_forest(verdicts: Sequence[Verdict], path: Path) -> None:
    # Imported here: matplotlib takes half a second.
    from experiments.core.report.figures import forest_of

    with mpl.rc_context(d.STYLE):
        forest_of(verdicts).figure.savefig(path, metadata={"Date": None})
