"""The official results that the repository keeps: `reference.json`, a picture, and the table in the README."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.core import catalogue, records
from experiments.core.errors import UserError
from experiments.core.results import Results

FILE = "reference.json"
KEPT = (
    "id",
    "kind",
    "source",
    "statement",
    "direction",
    "threshold",
    "effect",
    "ci_low",
    "ci_high",
    "confidence",
    "n",
    "n_diverged",
    "verdict",
    "reading",
    "primary",
    "control",
)
README = catalogue.ROOT.parent / "README.md"


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
    claims = [
        {
            **{key: value for key, value in vars(verdict).items() if key in KEPT},
            "values": results.samples[verdict.id].values.tolist() if verdict.id in results.samples else [],
        }
        for verdict in results.verdicts
    ]
    content = {"command": plan.command, "environment": results.runs[0].result["environment"], "claims": claims}
    records.write_json(folder / FILE, content)
    picture = f"{plan.grid.experiment.figures[0]}.png"
    shutil.copyfile(plan.directory / "figures" / picture, folder / picture)
    text = README.read_text(encoding="utf-8")
    records.write_atomically(README, with_table(text, plan.grid.name, read(plan.grid.name)["claims"]))
    return [folder / FILE, folder / picture, README]


def read(name: str) -> dict[str, Any]:
    """The reference of an experiment."""
    content: dict[str, Any] = json.loads((catalogue.ROOT / name / FILE).read_text(encoding="utf-8"))
    return content


def with_table(text: str, name: str, claims: Sequence[Mapping[str, Any]]) -> str:
    """Put the verdict table of an experiment between its two marks in a Markdown text."""
    begin, end = f"<!-- verdicts: {name} -->", "<!-- end of verdicts -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{markdown(claims)}\n{end}{after}"


def markdown(claims: Sequence[Mapping[str, Any]]) -> str:
    """The verdicts as a Markdown table: one row a claim."""
    rows = ["| claim | verdict | measured | threshold | n |", "|---|---|---|---|---|"]
    for claim in claims:
        marks = [word for word, on in (("control", claim["control"]), ("beyond", claim["source"] == "beyond")) if on]
        statement = claim["statement"] + (f" *({', '.join(marks)})*" if marks else "")
        verdict = claim["verdict"] + (f" ({claim['reading']})" if claim["reading"] else "")
        shown = "shown, no verdict" if verdict == "NONE" else f"**{verdict}**"
        rows.append(f"| {statement} | {shown} | {_measured(claim)} | {_threshold(claim)} | {claim['n']} |")
    return "\n".join(rows)


def _measured(claim: Mapping[str, Any]) -> str:
    if claim["ci_low"] is None:
        return f"{claim['effect']:.3g}"
    return f"{claim['effect']:.3f} [{claim['ci_low']:.3f}, {claim['ci_high']:.3f}]"


def _threshold(claim: Mapping[str, Any]) -> str:
    threshold = claim["threshold"]
    if threshold is None:
        return ""
    if isinstance(threshold, list):
        return f"within {threshold[0]:g} … {threshold[1]:g}"
    return f"{claim['direction']} {threshold:g}"
