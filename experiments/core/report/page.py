"""The report of an experiment: one self-contained HTML page."""

from __future__ import annotations

import base64
import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import jinja2

from experiments.core.definitions import CHECKED, INFERENTIAL, NONE
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, read_bytes, read_text
from experiments.core.files.run_directory import TUNING
from experiments.core.grid.runs import Run
from experiments.core.report import wording
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results, functions_of
from experiments.core.verdicts.verdict import Verdict

REPORT = "report.html"


def write_report(results: Results, figures: Mapping[str, Drawing]) -> Path:
    """Write `report.html` of an experiment, after `figures.draw` has saved its figures.

    Returns:
        The path of the page.
    """
    plan, experiment = results.plan, results.plan.grid.experiment
    holds = {claim.id: claim.holds for claim in experiment.claims}
    cards = [{**_card(verdict, results), "holds": holds[verdict.id]} for verdict in results.verdicts]
    path = plan.directory / REPORT
    page = (
        templates()
        .get_template("template.html")
        .render(
            title=experiment.title,
            title_fr=experiment.title_fr,
            what=plan.title,
            summary=wording.summary(results.verdicts),
            exploratory=_exploratory(results),
            figures=[_picture(plan.directory, name, drawing) for name, drawing in figures.items()],
            claims=[c for c in cards if c["kind"] in INFERENTIAL and not c["control"]],
            controls=[c for c in cards if c["kind"] in INFERENTIAL and c["control"]],
            checks=[c for c in cards if c["kind"] in CHECKED],
            shown=[c for c in cards if c["kind"] not in (*INFERENTIAL, *CHECKED)],
            family=sum(bool(verdict.family) for verdict in results.verdicts),
            tuned=_tuned(plan.directory / TUNING),
            progress=_progress(results),
            environment=_environment([*results.runs, *(c for found in results.checks.values() for c in found)]),
            command=plan.command,
            single=_single(results),
        )
    )
    run_directory.write_atomically(path, page)
    return path


def templates() -> jinja2.Environment:
    """Return the jinja2 environment of the pages; it escapes every value."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _exploratory(results: Results) -> str:
    """Return which part of the page is exploratory; empty if all of it is official."""
    some = [verdict.id for verdict in results.verdicts if not verdict.official]
    if not some:
        return ""
    return "everything on this page" if len(some) == len(results.verdicts) else ", ".join(some)


def _card(verdict: Verdict, results: Results) -> dict[str, Any]:
    """Return the content of a claim's card, without empty facts."""
    adjusted = wording.interval_words(verdict.ci_low, verdict.ci_high)
    plain = wording.interval_words(verdict.ci95_low, verdict.ci95_high)
    holm = verdict.confidence is not None and bool(verdict.family) and verdict.verdict != NONE
    facts = {
        "n": f"{verdict.n}, {verdict.n_diverged or 'none'} diverged" + _also(verdict.n_censored, "censored"),
        "95 % interval": plain if holm else "",
        "p (Holm)": wording.p_words(verdict.p_holm),
        "slide": f"{verdict.lecture_line}, {verdict.slide}" if verdict.source == "lecture" else "beyond the lecture",
        "kind": verdict.kind if verdict.primary else f"{verdict.kind}, secondary",
        "status": "official" if verdict.official else "exploratory",
    }
    more = {
        "measure": _measure(verdict, results.plan.grid.name),
        "conditions": "; ".join(results.plan.grid.condition(c).name for c in verdict.conditions),
        "scope": verdict.scope,
        "new seeds to decide": "" if verdict.seeds_needed is None else str(verdict.seeds_needed),
        "bootstrap, 95 %": wording.interval_words(verdict.bootstrap_low, verdict.bootstrap_high),
        "correlation of the two conditions over seeds": wording.number(verdict.correlation),
        "p (exact McNemar)": wording.p_words(verdict.p_mcnemar),
        "judged on": "the share that arrived in time" if verdict.judged_on == "share" else "",
        "draws": str(verdict.draws or ""),
    }
    return {
        "id": verdict.id,
        "kind": verdict.kind,
        "control": verdict.control,
        "statement": verdict.statement,
        "statement_fr": verdict.statement_fr,
        "verdict": "no verdict" if verdict.verdict == NONE else verdict.verdict,
        "class": verdict.verdict.lower(),
        "symbol": wording.SYMBOLS[verdict.verdict],
        "effect": wording.effect_words(verdict),
        "interval": adjusted or plain,
        "level": f"{100 * (verdict.confidence or 0):.2f} %, Holm's level" if holm else "95 %",
        "threshold": wording.threshold_words(verdict),
        "remains": wording.what_remains(verdict),
        "note": verdict.note,
        "facts": {heading: text for heading, text in facts.items() if text},
        "more": {heading: text for heading, text in more.items() if text},
    }


def _also(count: int, word: str) -> str:
    return f", {count} {word}" if count else ""


def _measure(verdict: Verdict, experiment: str) -> str:
    """Return the name of a measure and the first line of its docstring."""
    function = functions_of(experiment).get(verdict.measure) if verdict.conditions else None
    said = (function.__doc__ or "").strip().splitlines() if function else []
    return f"{verdict.measure}: {said[0]}" if said else verdict.measure


def _picture(directory: Path, name: str, drawing: Drawing) -> dict[str, str]:
    folder = directory / "figures"
    moving = folder / f"{name}.gif"
    return {
        "name": name,
        "source": _inline(folder / f"{name}.svg", "svg+xml"),
        "animation": _inline(moving, "gif") if moving.is_file() else "",
        "title": drawing.title.en,
        "title_fr": drawing.title.fr,
        "caption": drawing.caption.en,
        "caption_fr": drawing.caption.fr,
    }


def _inline(path: Path, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(read_bytes(path)).decode()}"


def _tuned(path: Path) -> dict[str, Any]:
    """Return the table of `tuning.csv`: a row a condition, a column a value, the chosen value marked.

    Raises:
        UserError: the file is not such a table.
    """
    if not path.exists():
        return {}
    try:
        return _tuned_table(list(csv.DictReader(io.StringIO(read_text(path), newline=""))))
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        raise UserError(f"'{path}' does not hold what tuning tried: delete it, and run its experiment again") from None


def _tuned_table(lines: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    axis, metric = list(lines[0])[1:3] if lines else ("", "")
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        score = wording.number(float(line[metric]))
        cell = {"value": line[axis], "score": score, "chosen": line["chosen"] == "1", "edge": line["at_edge"] == "1"}
        rows.setdefault(line["condition"], []).append(cell)
    return {"axis": axis, "metric": metric, "rows": rows} if rows else {}


def _progress(results: Results) -> str:
    """Return how many runs and checks are finished, and of how many."""
    wanted = sum(len(seeds) for seeds in results.plan.run_seeds.values())
    checks = sum(len(seeds) for seeds in results.plan.check_seeds.values())
    parts = [f"{len(results.runs)} of {wanted} runs finished"] if wanted else []
    done = sum(len(found) for found in results.checks.values())
    parts += [f"{done} of {checks} checks done"] if checks else []
    return ", ".join([*parts, f"{sum(run.status == 'diverged' for run in results.runs)} diverged"])


def _environment(runs: Sequence[Run]) -> dict[str, str]:
    """Return the flattened environment of the runs, with all values where runs differ."""
    flat = [_flatten({**run.result.get("environment", {}), "data": run.result.get("data", {})}) for run in runs]
    names = reduce(lambda seen, one: seen | dict.fromkeys(one), flat, dict[str, None]())
    return {name: " / ".join(dict.fromkeys(str(one.get(name, "–")) for one in flat)) for name in names}


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flatten(value, f"{prefix}{key} ") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _single(results: Results) -> str:
    """Return the command that repeats one run alone; empty if nothing was trained."""
    if not results.runs:
        return ""
    config = results.runs[-1].directory / run_directory.CONFIG
    return f"python -m experiments fit --config {shlex.quote(str(config))}"
