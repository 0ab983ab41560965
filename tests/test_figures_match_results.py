"""Every number that a figure draws, computed again from results.csv and metrics.csv; every name it gives to one.

A figure's artist says in its `gid` which data it shows: see `plots.py`. `figures.yaml` says what each name in a figure
stands for, and which artists show something else than the files' numbers and have a test of their own.
"""

from __future__ import annotations

import csv
import functools
import itertools
import math
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from read_back import ends_of, student
from scipy import stats
from smoke_results import Shared

from experiments.core.grid import catalogue
from experiments.core.report.drawing import BLACK, STYLE
from experiments.core.verdicts.results import Results

FIGURES = [(name, figure) for name in catalogue.names() for figure in catalogue.load(name).figures]
KNOWN: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "figures.yaml").read_text(encoding="utf-8"))
SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "log ": (math.log, math.exp),
    "10^": (float, lambda x: 10**x),
    "2^": (float, lambda x: 2**x),
    "100·": (lambda x: 100 * x, float),
    "": (float, float),
}
CENTRES = ("mean", "share")
KINDS = (*CENTRES, "interval", "band", "share interval")


@dataclass(frozen=True)
class Shown:
    """An artist and the data that its gid names: one measure and condition a point, or a metric over training."""

    artist: Artist
    kind: str
    columns: list[tuple[str, str]]

    @property
    def name(self) -> str:
        return str(self.artist.get_gid()).partition("/")[2]


def named(artist: Artist) -> bool:
    """Whether a figure has a name for what an artist shows, and so for its data."""
    return bool(artist.get_label()) and not str(artist.get_label()).startswith("_")


def shown_by(figure: Figure) -> list[Shown]:
    """The artists that show results."""
    found = []
    for artist in figure.findobj(lambda a: a.get_gid()):
        kind, _, rest = str(artist.get_gid()).partition("/")
        if kind in KINDS and named(artist):
            measures, _, conditions = rest.rpartition("/")
            columns = list(itertools.product(measures.split("; "), conditions.split("; ")))
            found.append(Shown(artist, kind, columns))
    return found


@functools.cache
def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def metrics(path: Path, metric: str, by: str) -> dict[int, float]:
    """One metric of a run, by step or by epoch; the last row of a point counts."""
    return {int(row[by]): float(row["value"] or "nan") for row in lines_of(path) if row["metric"] == metric}


class Files:
    """What the runs left, read without the project's help."""

    def __init__(self, results: Results) -> None:
        self.directory = results.plan.directory
        self.table = pd.read_csv(self.directory / "results.csv")
        self.claims = results.plan.grid.experiment.claims

    def column(self, measure: str, condition: str) -> pd.Series:
        """A measure by seed; a difference where the condition is one."""
        first, _, second = condition.partition(" − ")
        rows = self.table[self.table["condition"] == first].set_index("seed")
        assert len(rows), f"no rows of {first}"
        measure, _, counted = measure.removesuffix(")").partition(" (diverged: ")
        values = rows[measure].astype(float)
        if counted:
            claimed = {c.if_diverged for c in self.claims if c.measure == measure and c.if_diverged is not None}
            assert not claimed or math.isnan(float(counted)) or claimed == {float(counted)}
            values = values.where(rows["status"] == "ok", float(counted))
        return values - self.column(measure, second) if second else values

    def series(self, metric: str, by: str, condition: str) -> dict[float, list[float]]:
        """A metric of all finished runs by step, or by epoch from 1 on."""
        found: dict[float, list[float]] = {}
        for seed in self.table.loc[self.table["condition"] == condition, "seed"]:
            rows = metrics(self.directory / condition / f"seed={seed}" / "metrics.csv", metric, by)
            for place, value in rows.items():
                found.setdefault(place + (by == "epoch"), []).append(value)
        return dict(sorted(found.items()))


def points(files: Files, shown: Shown) -> Iterator[tuple[float | None, tuple[float, float, float]]]:
    """Where each point must be, if the data say so, and its mean or share with both ends of its interval."""
    for measure, condition in shown.columns:
        prefix = next(prefix for prefix in SCALES if measure.startswith(prefix))
        into, back = SCALES[prefix]
        metric, _, by = measure.removeprefix(prefix).rpartition("@")
        if by in ("step", "epoch"):
            samples: list[tuple[float | None, list[float]]] = list(files.series(metric, by, condition).items())
        else:
            samples = [(None, files.column(measure.removeprefix(prefix), condition).tolist())]
        for x, values in samples:
            if shown.kind.startswith("share"):
                successes = int(sum(values))
                wilson = stats.binomtest(successes, len(values)).proportion_ci(0.95, method="wilson")
                yield x, (successes / len(values), wilson.low, wilson.high)
                continue
            finite = [into(v) for v in values if math.isfinite(v) and (prefix != "log " or v > 0)]
            # Seeds that agree have an interval without a width, a single one has none.
            alike = finite[0] if len(finite) > 1 else math.nan
            ends = student(finite) if len(set(finite)) > 1 else (finite[0] if finite else math.nan, alike, alike)
            yield x, (back(ends[0]), back(ends[1]), back(ends[2]))


def drawn(shown: Shown) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where points stand along their line, and the lowest and the highest value there: one value of a mean."""
    if isinstance(shown.artist, Line2D):
        x, y = (np.atleast_1d(part).astype(float) for part in shown.artist.get_data())
        return (y, x, x) if is_row(shown.artist) else (x, y, y)
    if isinstance(shown.artist, LineCollection):
        segments = np.array(shown.artist.get_segments())
        along = 1 if (np.ptp(segments[:, :, 1], axis=1) == 0).all() and is_row(shown.artist) else 0
        values = np.sort(segments[:, :, 1 - along], axis=1)
        return segments[:, 0, along], values[:, 0], values[:, 1]
    vertices = np.concatenate([path.vertices for path in shown.artist.get_paths()])
    low, high = ends_of(shown.artist)
    return np.unique(vertices[:, 0]), low, high


def is_row(artist: Artist) -> bool:
    """Whether an artist stands at the height of a named row."""
    return any(re.search(r"[A-Za-z]{2}", word.replace("mathdefault", "")) for word in row_names(artist))


def row_names(artist: Artist) -> list[str]:
    """What is written along the y axis, here or at the left of a row of panels."""
    axes = artist.axes
    assert isinstance(axes, Axes)
    panels = [axes, *(one for one in axes.figure.axes if one.get_shared_y_axes().joined(axes, one))]
    return max(
        ([label.get_text() for label in one.get_yticklabels()] for one in panels), key=lambda one: len("".join(one))
    )


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_every_number_is_that_of_the_files(shared: Shared, name: str, figure: str) -> None:
    files, found = Files(shared.of(name)), shown_by(shared.figure(name, figure).figure)
    with_interval = {(side.artist.axes, side.name) for side in found if side.kind not in CENTRES}
    without = KNOWN[f"{name}/{figure}"].get("without interval", False)
    for shown in found:
        gid, expected = shown.artist.get_gid(), list(points(files, shown))
        truth = np.array([values for _, values in expected])
        places, low, high = drawn(shown)
        if shown.kind in CENTRES:
            assert low == pytest.approx(truth[:, 0], rel=1e-6, abs=1e-9, nan_ok=True), gid
            check_places(shown, places, [x for x, _ in expected])
            several = np.isfinite(truth[:, 1]).any()
            assert (shown.artist.axes, shown.name) in with_interval or without or not several, f"no interval: {gid}"
        else:
            # Where there is no interval nothing is drawn.
            truth = truth[np.isfinite(truth[:, 1])] if len(low) < len(truth) else truth
            assert low == pytest.approx(truth[:, 1], rel=1e-6, abs=1e-9, nan_ok=True), gid
            assert high == pytest.approx(truth[:, 2], rel=1e-6, abs=1e-9, nan_ok=True), gid


def check_places(shown: Shown, places: np.ndarray, expected: list[float | None]) -> None:
    """Points stand where steps, epochs or the numbers in their names say."""
    if expected[:1] != [None]:
        assert places.tolist() == expected, shown.artist.get_gid()
    elif len(expected) > 1:
        words = {tick: text.get_text() for tick, text in ticks_of(shown.artist)}
        for place, number in zip(places, numbers(shown.columns), strict=True):
            # Dots of two series stand side by side; a class may have its number written below it.
            beside = number is None or place == pytest.approx(number, rel=0.06)
            assert beside or words.get(place, "").startswith(f"{number:g} "), shown.artist.get_gid()


def ticks_of(artist: Artist) -> Iterator[tuple[float, Text]]:
    """Places along the x axis and what is written there."""
    assert isinstance(artist.axes, Axes)
    return zip(artist.axes.get_xticks(), artist.axes.get_xticklabels(), strict=False)


def numbers(columns: list[tuple[str, str]]) -> list[float | None]:
    """The number that tells columns apart: at the end of their measures, or in their conditions."""
    if len({measure for measure, _ in columns}) > 1:
        ends = [re.search(r"(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?)$", measure) for measure, _ in columns]
        return [float(end[0]) if end else None for end in ends]
    pairs = [dict(re.findall(r"([^,=]+)=([\d.e+-]+)(?:,|$)", condition)) for _, condition in columns]
    varying = [key for key in pairs[-1] if len({pair.get(key) for pair in pairs}) > 1]
    return [float(pair[varying[0]]) if varying and varying[0] in pair else None for pair in pairs]


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_every_name_stands_for_its_data(shared: Shared, name: str, figure: str) -> None:
    assert names_in(shared.figure(name, figure).figure) == KNOWN[f"{name}/{figure}"].get("names", {})


def names_in(figure: Figure) -> dict[str, str]:
    """What each name of a panel stands for: `<measure>/<condition>`."""
    found: dict[str, str] = {}
    for shown in shown_by(figure):
        axes = shown.artist.axes
        if shown.kind in CENTRES and isinstance(axes, Axes):
            panel = (axes.get_title(loc="left"), axes.get_ylabel(), axes.get_xlabel(), shown.artist.get_label())
            key = " · ".join(part for part in panel if part)
            found[key] = " & ".join([*filter(None, [found.get(key)]), shown.name])
    return found


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_every_other_artist_is_known(shared: Shared, name: str, figure: str) -> None:
    picture = shared.figure(name, figure).figure
    others = picture.findobj(lambda a: a.get_gid() and not (named(a) and a.get_gid().partition("/")[0] in KINDS))
    assert {str(artist.get_gid()).partition("/")[0] for artist in others} == set(
        KNOWN[f"{name}/{figure}"].get("others", [])
    )


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_names_stand_at_their_rows_and_in_their_colours(shared: Shared, name: str, figure: str) -> None:
    picture = shared.figure(name, figure).figure
    texts = [text for text in picture.findobj(Text) if text.get_text()]
    for shown in shown_by(picture):
        label = str(shown.artist.get_label())
        if not isinstance(shown.artist, Line2D):
            continue
        if is_row(shown.artist):
            assert label.startswith(row_names(shown.artist)[round(float(shown.artist.get_ydata()[0]))]), label
            continue
        color = to_hex(shown.artist.get_color())
        same = [text.get_text() for text in texts if to_hex(text.get_color()) == color != BLACK]
        assert not same or any(word in label or label in word for word in same), label


FIRST = [next(pair for pair in FIGURES if pair[0] == name) for name in dict(FIGURES)]


@pytest.mark.parametrize(
    ("name", "figure"),
    [pytest.param(*pair, marks=() if pair in FIRST else pytest.mark.slow) for pair in FIGURES],
)
def test_every_figure_is_drawn_without_a_warning_and_can_travel(shared: Shared, name: str, figure: str) -> None:
    # A copy, since drawing an animation moves its artists to the first frame.
    travelled = pickle.loads(pickle.dumps(shared.figure(name, figure).figure))
    with warnings.catch_warnings(), mpl.rc_context(STYLE):
        warnings.simplefilter("error")
        travelled.draw_without_rendering()


@pytest.mark.parametrize("name", catalogue.names())
def test_every_claims_figure_is_drawn(name: str) -> None:
    experiment = catalogue.load(name)
    assert {claim.figure for claim in experiment.claims if claim.figure} <= {*experiment.figures, "forest"}
