"""The page, the index of pages and the table in the terminal: complete, self-contained, and nothing unescaped."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_results import DIVERGED

from experiments.core.report import page, terminal, wording
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import Verdict

pytest_plugins = ["results_fixtures"]

EVIL = "<script>alert('x')</script>"
# Elements that HTML closes itself.
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would read: tags with their attributes, the text, and that of each card by its claim."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.css = ""
        self.cards: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "article" and attrs and attrs[-1][0] == "id":
            self.cards[attrs[-1][1] or ""] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.css += data
        else:
            self.text += data
        if "article" in self.open and self.cards:
            self.cards[list(self.cards)[-1]] += data

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def report(results: Results, drawn: dict[str, Drawing]) -> Page:
    return Page(page.write_report(results, drawn))


def test_the_page_is_self_contained(report: Page) -> None:
    names = [tag for tag, _ in report.tags]
    assert not {"script", "link", "iframe", "object", "video", "base"} & set(names)
    for tag, attributes in report.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith(("data:image/svg+xml;base64,", "data:", "#")), tag
    assert "url(" not in report.css
    assert "@import" not in report.css
    policy = [a["content"] for tag, a in report.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_figure_is_in_the_page_as_it_was_saved(
    results: Results,
    report: Page,
    drawn: dict[str, Drawing],
) -> None:
    images = [attributes for tag, attributes in report.tags if tag == "img"]
    assert len(images) == len(drawn) == 6
    for image, (name, one) in zip(images, drawn.items(), strict=True):
        content = base64.b64decode(image["src"].partition("base64,")[2])
        assert content == (results.plan.directory / "figures" / f"{name}.svg").read_bytes()
        assert image["alt"] == f"{one.title.en}. {one.caption.en}"
        for words in (*one.title, *one.caption):
            assert words in report.words


def test_every_claim_is_in_the_page_with_what_decides_it(results: Results, report: Page) -> None:
    stored = json.loads((results.plan.directory / "verdicts.json").read_text())
    assert len(stored) > 25
    for verdict in stored:
        assert verdict["id"] in report.words
        assert verdict["statement"] in report.words
        assert verdict["statement_fr"] in report.words
        assert verdict["slide"] in report.words
        assert verdict["note"] in report.words
        assert verdict["undecidable"] in report.words
    for verdict in stored:
        if verdict["kind"] != "effect":
            continue
        words = " ".join(report.cards[verdict["id"]].split())
        assert (verdict["verdict"] if verdict["verdict"] != "NONE" else "no verdict") in words
        for name in ("effect", "ci_low", "ci_high", "ci95_low", "ci95_high"):
            if verdict["ci_low"] is not None:
                assert wording.number(verdict[name]) in words, (verdict["id"], name)
        assert f"{verdict['threshold']:g}".replace("-", "−") in words
        assert f"{verdict['n']}, {verdict['n_diverged'] or 'none'} diverged" in words
        if verdict["p_holm"] is not None:
            assert wording.p_words(verdict["p_holm"]) in words
        assert ("official" if verdict["official"] else "exploratory") in words
        assert verdict["scope"] in words


def test_controls_checks_tuning_and_environment_have_their_places(report: Page) -> None:
    words = report.words
    assert words.index("Controls Expected to be refuted") < words.index("L44-control") < words.index("Shown without")
    assert words.index("Checks that need no training (2)") < words.index("L46-sigmoid") < words.index("Tuned values")
    assert "✔ PASS" in words
    assert words.count("at the edge of the grid") == 1
    assert words.count("✔ at the edge of the grid") == 1
    for fact in ("versions torch", "2.15.0", "device", "threads", "data sha256", "0f" * 32, "data disjoint_test"):
        assert fact in words[words.index("Environment") :], fact


def test_the_page_says_what_was_run_and_how_to_repeat_it(results: Results, report: Page) -> None:
    assert results.plan.command in report.words
    progress = f"{len(results.runs)} of {len(results.runs) + 2} runs finished, 8 of 8 checks done, 1 diverged"
    assert progress in report.words
    command = report.words.partition("python -m experiments fit --config ")[2].partition(" ")[0]
    assert command.strip("'").endswith("config.yaml")
    assert command.strip("'").startswith(str(results.plan.directory))
    assert (Path(command.strip("'")).parent / "result.json").is_file()
    assert DIVERGED[0] in report.words


def test_an_exploratory_page_says_so_at_its_top(results: Results, report: Page, drawn: dict[str, Drawing]) -> None:
    assert report.words.index("Exploratory.") < report.words.index("Figures")
    assert "everything on this page" in report.words
    assert "describe the frozen set-up" in report.words
    official = tuple(replace(verdict, official=True) for verdict in results.verdicts)
    words = Page(page.write_report(replace(results, verdicts=official), drawn)).words
    assert "Exploratory." not in words
    one = (replace(official[0], official=False), *official[1:])
    words = Page(page.write_report(replace(results, verdicts=one), drawn)).words
    assert f"data and scale: {official[0].id}." in words


def test_what_is_not_ours_stays_text(results: Results, tmp_path: Path) -> None:
    evil = evil_results(results, tmp_path)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.svg").write_text("<svg/>")
    (tmp_path / "tuning.csv").write_text(f'condition,lr,val/loss,seeds,chosen,at_edge\n"{EVIL}",{EVIL},1.0,3,1,1\n')
    found = Page(page.write_report(evil, {"one": Drawing(None, Words(EVIL, EVIL), Words(EVIL, EVIL))}))  # type: ignore[arg-type]
    assert "script" not in [tag for tag, _ in found.tags]
    assert found.words.count(EVIL) > 10
    assert EVIL in next(attributes["alt"] for tag, attributes in found.tags if tag == "img")


def evil_results(results: Results, directory: Path) -> Results:
    """Results in which every text that could come from elsewhere is markup."""
    texts = ("statement", "statement_fr", "slide", "note", "scope", "measure", "reading", "undecidable", "bound")
    verdict = replace(
        results.verdicts[0],
        **dict.fromkeys(texts, EVIL),
        conditions=({"activation": EVIL},),
        official=False,
        lecture_line=EVIL,
    )
    run = replace(results.runs[0], result={"status": "ok", "environment": {EVIL: EVIL}, "data": {}, "measures": {}})
    plan = replace(results.plan, directory=directory, overrides=(f"--model.activation={EVIL}",))
    return replace(results, plan=plan, verdicts=(verdict,), runs=(run,))


def test_runs_of_different_environments_show_all(results: Results, drawn: dict[str, Drawing]) -> None:
    environments = [{"versions": {"torch": version}} for version in ("2.14.0", "2.15.0", "2.15.0")]
    runs = tuple(
        replace(run, result={**run.result, "environment": environment})
        for run, environment in zip(results.runs, environments, strict=False)
    )
    assert "2.14.0 / 2.15.0" in Page(page.write_report(replace(results, runs=runs), drawn)).words


def test_the_summary_counts_controls_apart(results: Results) -> None:
    some = {verdict.id: verdict for verdict in results.verdicts}
    control = replace(some["L44-control"], verdict="REFUTED")
    lecture = replace(some["L44-sigmoid-decay"], verdict="CONFIRMED")
    beyond = replace(some["L44-residual-gradient"], verdict="INCONCLUSIVE")
    failed = replace(some["L46-sigmoid"], verdict="FAIL")
    assert wording.summary([control, lecture, replace(lecture, verdict="REFUTED"), beyond, failed]) == (
        "Of 2 claims of the lecture, 1 confirmed, 1 refuted, 0 inconclusive; "
        "of 1 claim beyond it, 0 confirmed, 0 refuted, 1 inconclusive; "
        "0 of 1 exact check passed; 1 of 1 control refuted, as a control should be."
    )
    assert wording.summary([beyond, replace(control, verdict="INCONCLUSIVE")]) == (
        "Of 1 claim beyond the lecture, 0 confirmed, 0 refuted, 1 inconclusive; "
        "0 of 1 control refuted, though a control should be."
    )
    assert wording.summary([replace(lecture, verdict="NONE")]).startswith("Nothing is concluded")


def test_the_terminal_shows_every_claim_whole_in_80_columns(
    results: Results,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal.print_verdicts(results)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert not any(character in "".join(lines) for character in "\x1b…−")
    text = "\n".join(lines)
    for verdict in results.verdicts:
        check_block(text, verdict)
    words = " ".join(" ".join(lines).split())
    assert wording.summary(results.verdicts) in words
    assert "Exploratory, not the frozen n, seeds, data and scale: all of it." in words
    own = words.partition("(L47-equal-depth-4)")[2].partition(" (")[0]
    assert "1 of 4 seeds have a run that failed or is missing" in own


def check_block(text: str, verdict: Verdict) -> None:
    """A claim is its verdict and statement, its id in brackets, then effect, interval, threshold and n."""
    words = " ".join(text.split())
    word = "" if verdict.verdict == "NONE" else f"{verdict.verdict} "
    mark = ", control" if verdict.control else ", secondary" if verdict.id == "L47-own-depth-1" else ""
    before, behind, after = words.partition(f" ({verdict.id}{mark}) ")
    assert behind
    assert before.endswith(word + verdict.statement.translate(terminal.PLAIN))
    low, high = wording.interval_of(verdict)
    numbers = after[: after.index(f"n = {verdict.n}")]
    for part in (wording.effect_words(verdict), wording.interval_words(low, high), wording.threshold_words(verdict)):
        assert part.translate(terminal.PLAIN).removeprefix("error ") in numbers
    assert "(" not in numbers


def test_escaping_is_not_lost_on_quotes(results: Results, report: Page) -> None:
    raw = (results.plan.directory / "report.html").read_text(encoding="utf-8")
    statement = next(v.statement for v in results.verdicts if "'" in v.statement)
    assert html.escape(statement).replace("&#x27;", "&#39;") in raw
