"""What is shown stays text: no value of a result, a verdict or a folder's name becomes markup."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments.core.definitions import Claim
from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue
from experiments.core.report import index, page, pages
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import Verdict, read_verdicts, write_verdicts

pytest_plugins = ["results_fixtures"]

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;b&gt; &amp; --> <!--",
    "\ud800 half a pair",
)
MILD = "x" * 40


class Structure(HTMLParser):
    """What a browser would make of a page: its elements with their attributes' names, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def report_with(results: Results, directory: Path, text: str) -> Structure:
    """The report of results in which every value that could come from elsewhere is this text."""
    fields = ("statement", "statement_fr", "slide", "note", "scope", "measure", "reading", "undecidable", "bound")
    words = dict.fromkeys([*fields, "lecture_line"], text)
    verdict = replace(results.verdicts[0], **words, conditions=({"activation": text},), official=False)
    environment = {text: text, "versions": {text: text}}
    run = replace(
        results.runs[0],
        result={"status": text, "environment": environment, "data": {text: [text]}, "measures": {}},
        directory=directory / text.replace("/", "-"),
    )
    plan = replace(results.plan, directory=directory, overrides=(f"--model.activation={text}",))
    (directory / "figures").mkdir(parents=True)
    (directory / "figures" / "one.svg").write_text("<svg/>")
    quoted = '"' + text.replace('"', '""') + '"'
    (directory / "tuning.csv").write_text(
        f"condition,{quoted},val/loss,seeds,chosen,at_edge\n{quoted},{quoted},1.0,3,1,1\n",
        encoding="utf-8",
        errors="replace",
    )
    altered = replace(results, plan=plan, verdicts=(verdict,), runs=(run,))
    drawing = Drawing(None, Words(text, text), Words(text, text))  # type: ignore[arg-type]
    return Structure(page.write_report(altered, {"one": drawing}))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_report_of_hostile_values_has_the_elements_of_a_mild_one(results: Results, tmp_path: Path, text):
    mild = report_with(results, tmp_path / "mild", MILD)
    hostile = report_with(results, tmp_path / "hostile", text.ljust(40))
    assert hostile.tags == mild.tags
    shown = text.encode("utf-8", "replace").decode()
    assert hostile.text.count(shown) >= mild.text.count(MILD) - 2  # in the commands it is quoted for a shell
    assert "script" not in {tag for tag, _ in hostile.tags}


def index_with(results: Results, runs: Path, text: str) -> Structure:
    """The index over official results and others whose values and folders are this text."""
    fields = ("statement", "statement_fr", "slide", "note", "scope", "measure", "reading", "undecidable", "bound")
    verdicts = [
        replace(verdict, official=True, source="lecture", **dict.fromkeys(fields, text)) for verdict in results.verdicts
    ]
    folder = os.fsdecode(os.fsencode(text.replace("/", "-").encode("utf-8", "replace")))
    for name in ("vanishing", folder, f"no verdicts {folder}"):
        (runs / name).mkdir(parents=True)
        write_verdicts(runs / name / "verdicts.json", verdicts)
        (runs / name / "report.html").touch()
    (runs / f"no verdicts {folder}" / "verdicts.json").write_text('"<script>"')
    return Structure(index.write(runs, draw=False))


def test_an_index_of_hostile_values_has_the_elements_of_a_mild_one(results: Results, tmp_path: Path):
    text = " ".join(HOSTILE)
    mild = index_with(results, tmp_path / "mild", MILD)
    hostile = index_with(results, tmp_path / "hostile", text)
    assert hostile.tags == mild.tags
    shown = text.encode("utf-8", "replace").decode()
    assert hostile.text.count(shown) > len(results.verdicts) / 2
    links = [value for value in hostile.values if "report.html" in value]
    assert len(links) > len(results.verdicts) / 2
    assert not any(re.match(r"[a-z]+:|//|.*[<>\"' ]", link) for link in links)


@pytest.mark.skipif(os.name == "nt", reason="a name is not any bytes there")
def test_a_folder_whose_name_is_no_text_is_listed(results: Results, tmp_path: Path):
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")  # noqa: PTH102
    except OSError:
        pytest.skip("this file system takes names of text only")
    (folder,) = tmp_path.iterdir()
    write_verdicts(folder / "verdicts.json", results.verdicts)
    (folder / "report.html").touch()
    assert 'href="caf%E9/report.html">caf\ufffd<' in index.write(tmp_path, draw=False).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [*HOSTILE, "a | b", "[click](javascript:alert(1))", "![x][y]", "two\n\n# lines"])
def test_markdown_shows_hostile_words_as_they_are(results: Results, text):
    verdict = replace(results.verdicts[0], reading=text, verdict="CONFIRMED", effect=None, n=1)
    claim = Claim("L1-x", statement=text, statement_fr="s", slide="s", kind="effect", above=0.1, measure="m",
                  where={"depth": 8})  # fmt: skip
    row = pages._row("vanishing", claim, verdict)
    assert row.count("|") == 7
    assert "\n" not in row
    assert not re.search(r"<[a-zA-Z/!?]|\]\(|\]\[", row)


FIELDS = [field.name for field in dataclasses.fields(Verdict)]


@pytest.mark.parametrize("name", FIELDS)
def test_a_verdict_of_absurd_types_is_refused(results: Results, tmp_path: Path, name):
    rows = [dataclasses.asdict(verdict) for verdict in results.verdicts]
    usual = type(rows[0][name])
    for value in ([["<script>"]], {"a": 1}, 10**400, math.nan, 1 if usual is bool else True, "<script>"):
        if type(value) is usual is str:  # any text is shown as it is, but for words of a list
            continue
        (tmp_path / "verdicts.json").write_text(json.dumps([{**rows[0], name: value}, *rows[1:]]))
        with pytest.raises(UserError, match=r"verdicts\.json' does not hold verdicts"):
            read_verdicts(tmp_path / "verdicts.json")


@pytest.mark.parametrize("word", [{"kind": "<b>"}, {"verdict": "<b>"}, {"direction": "<b>"}, {"threshold": None}])
def test_a_verdict_of_an_unknown_word_is_refused(results: Results, tmp_path: Path, word):
    row = next(dataclasses.asdict(verdict) for verdict in results.verdicts if verdict.kind == "effect")
    (tmp_path / "verdicts.json").write_text(json.dumps([row]))
    assert read_verdicts(tmp_path / "verdicts.json")
    (tmp_path / "verdicts.json").write_text(json.dumps([{**row, **word}]))
    with pytest.raises(UserError, match="does not hold verdicts"):
        read_verdicts(tmp_path / "verdicts.json")


@pytest.mark.parametrize("text", ["", "3", "[3]", "[{}]", '[{"id": "<script>"}]', "[" * 100_000, "\x00"])
def test_a_file_without_verdicts_is_refused(tmp_path: Path, text):
    (tmp_path / "verdicts.json").write_text(text)
    with pytest.raises(UserError, match="does not hold verdicts"):
        read_verdicts(tmp_path / "verdicts.json")


def test_the_index_names_what_it_cannot_read_and_shows_the_rest(results: Results, tmp_path: Path, capsys):
    write_verdicts(tmp_path / "good" / "verdicts.json", results.verdicts)
    for name in ("vanishing", "<b>"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdicts.json").write_text("3")
    found = Structure(index.write(tmp_path, draw=False))
    expected = [f"'{tmp_path / name / 'verdicts.json'}' does not hold verdicts" for name in ("<b>", "vanishing")]
    for line, words in zip(capsys.readouterr().err.splitlines(), expected, strict=True):
        assert line.startswith(f"error: {words}")
        assert words in found.text
    assert "good" in found.text


def test_verdicts_as_they_are_written_are_some(results: Results):
    path = results.plan.directory / "verdicts.json"
    assert read_verdicts(path) == list(results.verdicts)
    for reference in catalogue.ROOT.glob("*/reference.json"):
        rows = json.loads(reference.read_text(encoding="utf-8"))["verdicts"]
        (results.plan.directory / "kept.json").write_text(json.dumps(rows))
        assert read_verdicts(results.plan.directory / "kept.json")
