"""What figures show, read back from their artists, against results.csv, metrics.csv and verdicts.json."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from read_back import accuracy_by_epoch, artist, band_ends, interval, line, student

from experiments.core.definitions import INFERENTIAL, Claim
from experiments.core.files.errors import UserError
from experiments.core.grid import catalogue
from experiments.core.report import drawing, figures, intervals, wording
from experiments.core.verdicts.inference import SeedValues
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.verdict import read_verdicts
from experiments.core.verdicts.verdicts import judge

pytest_plugins = ["results_fixtures"]


@pytest.fixture(scope="module")
def forest(results: Results) -> Figure:
    return figures.forest(results).figure


def test_forest_shows_each_verdict_where_its_threshold_puts_it(results: Results, forest: Figure) -> None:
    verdicts = [v for v in read_verdicts(results.plan.directory / "verdicts.json") if v.kind in INFERENTIAL]
    assert len(verdicts) > 20
    for verdict in verdicts:
        if isinstance(verdict.threshold, tuple):
            place = lambda x, t=verdict.threshold[1]: x / t  # noqa: E731
        elif verdict.direction == "above":
            place = lambda x, t=verdict.threshold: 1 + (x - t) / abs(t)  # noqa: E731
        else:
            place = lambda x, t=verdict.threshold: 1 + (t - x) / abs(t)  # noqa: E731
        assert line(forest, f"effect/{verdict.id}")[0] == pytest.approx([place(verdict.effect)], rel=1e-12)
        if verdict.ci_low is None:
            assert not forest.findobj(lambda a, gid=f"interval/{verdict.id}": a.get_gid() == gid)
            continue
        ends = sorted([place(verdict.ci_low), place(verdict.ci_high)])
        assert interval(forest, f"interval/{verdict.id}") == pytest.approx(ends, rel=1e-12)
        target = artist(forest, f"confirmed/{verdict.id}").get_datalim(forest.axes[0].transData)
        inside = target.x0 <= ends[0] and ends[1] <= target.x1
        assert inside == (verdict.verdict == "CONFIRMED"), verdict.id


def test_forest_names_every_claim_and_its_verdict(results: Results, forest: Figure) -> None:
    words = {text.get_text() for text in forest.findobj(Text)}
    names = {word.partition(" ")[0] for word in words}
    rows = [v for v in results.verdicts if v.kind in INFERENTIAL and v.effect is not None]
    assert {v.id for v in rows} <= names
    assert {v.verdict for v in rows} <= words
    assert "L44-control (control)" in words


def test_forest_of_thresholds_at_zero_and_of_nothing(results: Results) -> None:
    verdict = next(v for v in results.verdicts if v.kind == "proportion")
    zero = replace(verdict, threshold=0.0, direction="above", effect=0.25, ci_low=0.1, ci_high=0.4)
    figure = figures.forest(replace(results, verdicts=(zero,))).figure
    assert line(figure, f"effect/{zero.id}")[0] == pytest.approx([1.25])
    assert interval(figure, f"interval/{zero.id}") == pytest.approx([1.1, 1.4])
    figures.forest(replace(results, verdicts=())).figure.savefig("/dev/null", format="svg")


def test_learning_curves_of_all_conditions_show_metrics_csv(results: Results) -> None:
    figure = figures.learning_curves(results).figure
    shown = {a.get_label() for a in figure.findobj(lambda a: (a.get_gid() or "").startswith("mean"))}
    trained = {c.name for c in results.plan.grid.conditions if "config" not in c.overrides}
    assert shown == trained
    for name in ("base", "activation=relu,depth=4", "normalization=layer"):
        epochs = accuracy_by_epoch(results.plan.directory / name)
        x, y = line(figure, f"mean/val/accuracy@epoch/{name}")
        assert x.tolist() == [1, 2, 3]
        assert y == pytest.approx([np.mean(values) for values in epochs], rel=1e-12)
        low, high = band_ends(figure, f"band/val/accuracy@epoch/{name}")
        assert low == pytest.approx([student(values)[1] for values in epochs], rel=1e-9)
        assert high == pytest.approx([student(values)[2] for values in epochs], rel=1e-9)


def test_draw_saves_every_figure_as_svg_and_png(results: Results, drawn: dict[str, drawing.Drawing]) -> None:
    assert list(drawn) == [*results.plan.grid.experiment.figures, "forest"]
    (results.plan.directory / "figures" / "of_an_earlier_version.svg").touch()
    calls = []
    figures.draw(results, lambda _, some: calls.extend(some) or list(drawn.values()))
    assert [name for _, name in calls] == list(drawn)
    saved = {path.name for path in (results.plan.directory / "figures").iterdir()}
    assert saved == {f"{name}.{ending}" for name in drawn for ending in ("svg", "png")}
    for name, one in drawn.items():
        check_readable(name, one)


def test_the_same_results_give_the_same_bytes(results: Results) -> None:
    def content() -> bytes:
        file = io.BytesIO()
        with mpl.rc_context(drawing.STYLE):
            figures.forest(results).figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()

    assert content() == content()


def check_readable(name: str, one: drawing.Drawing) -> None:
    """Large type on a slide's width; title and caption in both languages, with n."""
    assert one.figure.get_figwidth() <= 13.34
    texts = [text for text in one.figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 14, name
    assert all(one.title), name
    assert all("n = " in caption for caption in one.caption), name


@pytest.mark.parametrize("name", catalogue.names())
def test_every_figure_an_experiment_names_exists(name: str) -> None:
    for figure in catalogue.load(name).figures:
        assert callable(figures.find_figure(name, figure))


@pytest.mark.parametrize(("direction", "sign"), [("above", 1.0), ("below", -1.0)])
def test_a_non_inferiority_is_confirmed_from_its_margin_on(direction: str, sign: float) -> None:
    margin: dict[str, Any] = {direction: -sign * 0.02}
    words = {"statement": "So it is.", "statement_fr": "C'est ainsi.", "slide": "A slide"}
    one = Claim("L25-a", kind="non-inferiority", measure="m", where={}, **words, **margin)
    sample = SeedValues(sign * np.array([0.01, 0.02, 0.03]))
    (verdict,) = judge("tables", [one], {one.id: sample}, official=True, scope="iris")
    assert [figures.in_thresholds(verdict, sign * x) for x in (-0.02, 0.0, 0.04)] == pytest.approx([-1.0, 0.0, 2.0])
    drawn = figures.forest_of([verdict]).figure
    (shaded,) = drawn.findobj(lambda a: a.get_gid() == "confirmed/L25-a")
    x = shaded.get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == pytest.approx((-1.0, drawn.axes[0].get_xlim()[1]))


def test_an_unknown_figure_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown figure 'forrest'; did you mean 'forest'\?"):
        figures.find_figure("vanishing", "forrest")


def test_band_is_students_interval_of_what_is_finite() -> None:
    values = np.array([[1.0, 2.0, 4.0], [1.0, math.nan, 3.0], [math.nan, 5.0, math.inf], [math.nan] * 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = intervals.mean_and_interval([0, 1, 2, 3], values)
    expected = [student([1, 2, 4]), student([1, 3]), (5.0, math.nan, math.nan), (math.nan,) * 3]
    assert pytest.approx(np.array(expected), rel=1e-12, nan_ok=True) == np.array(shown[1:]).T


def test_names_of_lines_keep_their_order_and_distance() -> None:
    moved = drawing.spread([0.1, 0.5, 0.51, 0.52, 0.99, 1.0], gap=0.1)
    assert moved == sorted(moved)
    assert np.diff(moved).min() >= 0.1 - 1e-12
    assert moved[0] == 0.1
    assert moved[-1] <= 1.0
    assert moved[1:4] == pytest.approx([0.41, 0.51, 0.61])


def test_count_words_say_where_conditions_differ() -> None:
    assert drawing.count_words([10, 10]) == "n = 10"
    assert drawing.count_words([30, 0, 10]) == "n = 10–30"
    assert drawing.count_words([]) == "n = 0"


def test_numbers_have_a_true_minus_sign_and_no_negative_zero() -> None:
    assert [wording.number(x) for x in (-0.85231, -0.0001, 12.0)] == ["−0.852", "0.000", "12.000"]
    assert [wording.p_words(p) for p in (0.0004, 0.0312, None)] == ["< 0.001", "0.031", ""]
