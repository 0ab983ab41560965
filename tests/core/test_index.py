"""The index: every line of the lecture, every claim of every experiment, and what the runs say of each."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.core.grid import catalogue
from experiments.core.grid.lecture import LINES
from experiments.core.report import index
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import write_verdicts

pytest_plugins = ["results_fixtures"]


@pytest.fixture
def runs(results: Results, tmp_path: Path) -> Path:
    """One official result, and one of another kind whose name could be mistaken for markup."""
    official = tuple(replace(verdict, official=True) for verdict in results.verdicts)
    for name, verdicts in {"vanishing": official, "a<b&c#d": results.verdicts}.items():
        (tmp_path / name).mkdir()
        write_verdicts(tmp_path / name / "verdicts.json", verdicts)
        (tmp_path / name / "report.html").touch()
    (tmp_path / "cli").mkdir()
    return tmp_path


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_the_lecture_has_72_lines_in_order():
    assert [line.id for line in LINES] == [f"L{number:02d}" for number in range(1, 73)]
    assert all(line.slide and line.says and line.says_fr for line in LINES)


def test_every_line_has_a_claim_and_every_claim_a_line():
    ids = [claim.id for name in catalogue.names() for claim in catalogue.load(name).claims]
    assert len(ids) == len(set(ids))
    lines = {line.id for line in LINES}
    assert {i.partition("-")[0] for i in ids} == lines


def test_the_page_shows_every_line_and_every_claim(runs: Path) -> None:
    page = text_of(index.write(runs, draw=False))
    assert re.findall(r'<section class="line" id="(L\d\d)">', page) == [line.id for line in LINES]
    everything = [claim for name in catalogue.names() for claim in catalogue.load(name).claims]
    assert page.count('<article class="row">') == len(everything)


def test_a_claim_links_to_its_report_where_there_is_one(runs: Path) -> None:
    assert 'href="vanishing/report.html#L44-sigmoid-decay"' in text_of(index.write(runs, draw=False))
    (runs / "vanishing" / "report.html").unlink()
    assert "vanishing/report.html#L44-sigmoid-decay" not in text_of(index.write(runs, draw=False))


def test_what_was_not_run_says_so(runs: Path, tmp_path: Path) -> None:
    page = text_of(index.write(runs, draw=False))
    others = [name for name in catalogue.names() if name != "vanishing"]
    assert f"Not run yet: {', '.join(others)}." in page
    counted = sum(c.kind != "not testable" for name in others for c in catalogue.load(name).claims)
    assert page.count("○ not run yet") == counted


def test_effects_intervals_and_families_are_those_of_the_verdicts(runs: Path, results: Results) -> None:
    page = text_of(index.write(runs, draw=False))
    decay = next(v for v in results.verdicts if v.id == "L44-sigmoid-decay")
    assert f"{decay.effect:.3f}".replace("-", "−") in page
    assert "1 family of official claims: at most 0.05 × 1 = 0.05" in page


def test_other_results_are_listed_as_exploratory_and_escaped(runs: Path) -> None:
    page = text_of(index.write(runs, draw=False))
    assert '<a href="a%3Cb%26c%23d/report.html">a&lt;b&amp;c#d</a>' in page
    assert "a<b&c#d" not in page


def test_a_forest_older_than_a_verdict_is_not_shown(runs: Path) -> None:
    assert 'src="forest.svg"' not in text_of(index.write(runs, draw=False))
    assert 'src="forest.svg"' in text_of(index.write(runs, draw=True))
    assert 'src="forest.svg"' in text_of(index.write(runs, draw=False))
    later = (runs / "forest.svg").stat().st_mtime + 10
    os.utime(runs / "vanishing" / "verdicts.json", (later, later))
    assert 'src="forest.svg"' not in text_of(index.write(runs, draw=False))


def test_verdicts_are_sorted_by_line(runs: Path, results: Results) -> None:
    found = {("vanishing", verdict.id): verdict for verdict in reversed(results.verdicts)}
    lines = [verdict.lecture_line for verdict in index.in_order(found)]
    assert lines == sorted(lines)
