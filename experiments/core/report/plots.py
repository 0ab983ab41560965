"""The plots that figures share: rows of means, lines across conditions, curves over training.

An artist that shows results says in its `gid` which: `mean/<measure>/<condition>`, its interval `interval/…` or
`band/…`, a share of seeds `share/…` with its `share interval/…`. The measure is a column of results.csv, or with
`@step` or `@epoch` a metric of metrics.csv; before it stands how values are scaled. `check=<function>` is a condition
as well, `<condition> − <condition>` is a difference paired by seed, and a line that passes through several measures
or conditions names them all, separated by `; `. The artist's label is the name that the figure gives to them. Tests
read all of this back and compute the numbers again from the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report.drawing import End
from experiments.core.report.intervals import MeanInterval, history, mean_and_interval, rows_of, values_of
from experiments.core.verdicts import statistics as st
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats

# Condition (as overrides) and colour, by the name in the figure.
Styled = Mapping[str, tuple[Overrides, str]]


class Scale(NamedTuple):
    """How values are averaged, and how their mean and interval are drawn."""

    name: str
    averaged: Callable[[Floats], Floats]
    drawn: Callable[[Floats], Floats]


def _same(values: Floats) -> Floats:
    return values


def _log10(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(values))


PLAIN = Scale("", _same, _same)
# Geometric mean; mean of values that are logarithms; per cent.
LOG = Scale("log ", _log10, lambda x: np.asarray(10.0**x))
POWER_OF_10 = Scale("10^", _same, lambda x: np.asarray(10.0**x))
POWER_OF_2 = Scale("2^", _same, lambda x: np.asarray(2.0**x))
PERCENT = Scale("100·", lambda x: 100 * x, _same)


class Column(NamedTuple):
    """One measure of one condition, and its value for each seed: nan where a run has none."""

    measure: str
    condition: str
    values: Floats


class Measure(NamedTuple):
    """A measure in a panel of its own: its column of results.csv, its scale, and the axis' label."""

    name: str
    scale: Scale
    label: str
    # The smallest effect of interest, as it is drawn.
    threshold: float


class Series(NamedTuple):
    """One of several markers in each row: a name, the overrides of the condition, a colour and a marker."""

    name: str
    overrides: Overrides
    color: str
    marker: str


def column(results: Results, overrides: Overrides, measure: str, if_diverged: float | None = None) -> Column:
    """Return a measure of a condition.

    Args:
        results: of the experiment.
        overrides: of the condition.
        measure: its column of results.csv.
        if_diverged: the value of a run that diverged, as the claims count it.
    """
    rows = rows_of(results, overrides)
    values, condition = values_of(rows, measure), results.plan.grid.condition(overrides).name
    if if_diverged is None:
        return Column(measure, condition, values)
    counted = np.where(rows["status"] == "ok", values, if_diverged)
    return Column(f"{measure} (diverged: {if_diverged:g})", condition, counted)


def check_column(results: Results, check: str, measure: str) -> Column:
    """Return a number of a check."""
    found = results.checks.get(check, ())
    return Column(measure, f"check={check}", np.array([run[measure] for run in found], dtype=float))


def difference(results: Results, where: Overrides, minus: Overrides, measure: str) -> Column:
    """Return the paired differences of a measure between two conditions, for the seeds where both have a value."""
    first, second = (rows_of(results, overrides).set_index("seed", drop=False) for overrides in (where, minus))
    seeds = [seed for seed in first.index if seed in second.index]
    found = values_of(first.loc[seeds], measure) - values_of(second.loc[seeds], measure)
    names = [results.plan.grid.condition(overrides).name for overrides in (where, minus)]
    return Column(measure, " − ".join(names), found[np.isfinite(found)])


def count_seeds(results: Results, conditions: Iterable[Overrides]) -> str:
    """Say how many runs the conditions have."""
    return d.count_words(len(rows_of(results, overrides)) for overrides in conditions)


def count_checks(results: Results, *checks: str) -> str:
    """Say how many seeds the checks have."""
    return d.count_words([len(results.checks.get(check, ())) for check in checks])


def summary(x: Sequence[float] | Floats, columns: Sequence[Column], scale: Scale = PLAIN) -> MeanInterval:
    """Return the mean of each column and its interval, as they are drawn."""
    table = np.full((len(columns), max((len(one.values) for one in columns), default=0)), np.nan)
    for line, one in zip(table, columns, strict=True):
        line[: len(one.values)] = one.values
    return rescaled(mean_and_interval(x, scale.averaged(table)), scale)


def rescaled(shown: MeanInterval, scale: Scale) -> MeanInterval:
    """Return a band of averaged values as it is drawn."""
    return MeanInterval(shown.x, *(scale.drawn(side) for side in shown[1:]))


def source(columns: Sequence[Column], scale: Scale = PLAIN) -> str:
    """Name the data of an artist: `<measure>/<condition>`, each once."""
    measures = dict.fromkeys(scale.name + one.measure for one in columns)
    return f"{'; '.join(measures)}/{'; '.join(dict.fromkeys(one.condition for one in columns))}"


def name_artist(artist: Artist, gid: str, label: str) -> None:
    """Say which data an artist shows, and what the figure calls them."""
    artist.set_gid(gid)
    artist.set_label(label)


def draw_row(
    axes: Axes,
    y: float,
    shown: Column,
    label: str,
    color: str,
    *,
    marker: str = "o",
    fill: str = "",
    scale: Scale = PLAIN,
    linewidth: float = 3.5,
) -> MeanInterval:
    """Draw the mean of a column at the height of its row, and its 95 % Student interval; nothing if it has no values.

    Args:
        axes: where.
        y: height.
        shown: the values.
        label: what the figure calls them.
        color: of both.
        marker: of the mean.
        fill: `full` or `none` where a figure has both, with a thicker edge.
        scale: of the values.
        linewidth: of the interval.
    """
    at, name = summary([y], [shown], scale), source([shown], scale)
    if np.isfinite(at.low).all():
        bar = axes.hlines(y, at.low, at.high, color=color, linewidth=linewidth)
        name_artist(bar, f"interval/{name}", label)
    if np.isfinite(at.mean).all():
        (dot,) = axes.plot(at.mean, [y], marker, color=color)
        name_artist(dot, f"mean/{name}", label)
        if fill:
            dot.set(fillstyle=fill, markeredgewidth=2)
    return at


def draw_rows(
    axes: Axes, results: Results, rows: Styled, measure: str, scale: Scale = PLAIN, linewidth: float = 3.5
) -> None:
    """Draw a measure of several conditions below each other."""
    for y, (label, (overrides, color)) in enumerate(rows.items()):
        draw_row(axes, y, column(results, overrides, measure), label, color, scale=scale, linewidth=linewidth)


def draw_share(axes: Axes, y: float, shown: Column, label: str, color: str) -> None:
    """Draw the share of seeds whose value is 1, its 95 % Wilson interval, and write both counts beside it."""
    if not len(shown.values):
        return
    successes, n, name = int(shown.values.sum()), len(shown.values), source([shown])
    bar = axes.hlines(y, *st.wilson_interval(successes, n, 1 - st.ALPHA), color=color, linewidth=3.5)
    (dot,) = axes.plot(successes / n, y, "o", color=color)
    name_artist(bar, f"share interval/{name}", label)
    name_artist(dot, f"share/{name}", label)
    d.write_beside(axes, y, f"{successes} of {n}")


def draw_shares(axes: Axes, x: Sequence[float], columns: Sequence[Column], label: str, color: str) -> None:
    """Draw a line through the shares of seeds whose value is 1, with their 95 % Wilson intervals."""
    shown = [(at, one) for at, one in zip(x, columns, strict=True) if len(one.values)]
    counts = [(int(one.values.sum()), len(one.values)) for _, one in shown]
    ends = [st.wilson_interval(successes, n, 1 - st.ALPHA) for successes, n in counts]
    places, name = [at for at, _ in shown], source([one for _, one in shown])
    (line,) = axes.plot(places, [successes / n for successes, n in counts], "o-", color=color)
    bars = axes.vlines(places, *np.array(ends).reshape(-1, 2).T, color=color, linewidth=3)
    name_artist(line, f"share/{name}", label)
    name_artist(bars, f"share interval/{name}", label)


def name_rows(axes: Axes, names: Iterable[str], top: float = -0.6, bottom: float = 0.4) -> None:
    """Write the names of the rows on the left, the first at the top; margins are in rows."""
    labels = list(names)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(max(len(labels), 1) - bottom, top)


def name_ticks(axes: Axes, ticks: Iterable[float], axis: str = "x", form: str = "{:g}") -> None:
    """Write these numbers, and no others, along an axis."""
    places = list(ticks)
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    set_ticks(places, [form.format(place) for place in places])
    axes.minorticks_off()


def write_names(axes: Axes, colors: Mapping[str, str], x: float, y: float, step: float) -> None:
    """Write names in their colours below each other: from a place on, in shares of the axes, and `step` lower each."""
    for place, (name, color) in enumerate(colors.items()):
        axes.text(x, y - step * place, name, color=color, transform=axes.transAxes)


def draw_line(
    axes: Axes,
    x: Sequence[float] | Floats,
    columns: Sequence[Column],
    label: str,
    color: str,
    *,
    scale: Scale = PLAIN,
    marker: str = "o",
    dashed: bool = False,
) -> MeanInterval:
    """Draw a line through the means of columns, and the band of their intervals."""
    shown = summary(x, columns, scale)
    label_band(axes, shown, source(columns, scale), label, color, dashed=dashed, marker=marker)
    return shown


def draw_points(
    axes: Axes,
    x: Sequence[float] | Floats,
    columns: Sequence[Column],
    label: str,
    color: str,
    *,
    scale: Scale = PLAIN,
    style: str = "o",
    linewidth: float = 3.0,
    edge: float = 1.0,
    bar: str = "",
    bars: bool = True,
) -> MeanInterval:
    """Draw the means of columns as dots, and with `bars` their intervals, in a colour `bar` of their own."""
    shown, name = summary(x, columns, scale), source(columns, scale)
    (dots,) = axes.plot(shown.x, shown.mean, style, color=color, markeredgewidth=edge)
    name_artist(dots, f"mean/{name}", label)
    if bars and np.isfinite(shown.low).any():
        drawn = axes.vlines(shown.x, shown.low, shown.high, color=bar or color, linewidth=linewidth)
        name_artist(drawn, f"interval/{name}", label)
    return shown


def draw_curve(
    axes: Axes,
    runs: Sequence[Run],
    metric: str,
    label: str,
    color: str,
    *,
    by: str = "step",
    scale: Scale = PLAIN,
    dashed: bool = False,
) -> list[End]:
    """Draw a metric over the training of a condition's runs, by `step` or by `epoch`; epochs are counted from 1.

    Returns:
        The end of the line, to write its name beside; none if there are no values.
    """
    shown = rescaled(history(runs, metric, by, scale.averaged), scale)
    shown = shown._replace(x=shown.x + (by == "epoch"))
    name = f"{scale.name}{metric}@{by}/{runs[0].condition.name if runs else 'no run'}"
    label_band(axes, shown, name, label, color, dashed=dashed)
    return d.last_end(shown, label, color)


def label_band(
    axes: Axes, shown: MeanInterval, name: str, label: str, color: str, *, dashed: bool = False, marker: str = ""
) -> None:
    """Draw a band whose artists are `mean/<name>` and `band/<name>`, called `label` in the figure."""
    d.draw_band(axes, shown, name, color, dashed, marker)
    for artist in (*axes.lines, *axes.collections):
        if artist.get_gid() in (f"mean/{name}", f"band/{name}"):
            artist.set_label(label)


def draw_differences(
    results: Results,
    rows: Mapping[str, Overrides],
    series: Sequence[Series],
    measures: Sequence[Measure],
) -> tuple[Figure, str]:
    """Draw the mean difference of each row to the condition without it, and its 95 % Student interval.

    Args:
        results: of the experiment.
        rows: what is compared, by name: overrides laid over those of each series.
        series: under which circumstances; each one's own overrides are the condition that is subtracted.
        measures: a panel each.

    Returns:
        The figure, and how many seeds its differences have.
    """
    figure = d.new_figure(2.2 + 0.85 * len(rows))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    counts = []
    for axes, measure in zip(panels, measures, strict=True):
        axes.axvline(0.0, color=d.GREY, linewidth=1.2)
        axes.axvline(measure.threshold, color=d.GREY, linewidth=1.6, linestyle=":")
        for y, (row, overrides) in enumerate(rows.items()):
            for place, one in enumerate(series):
                found = difference(results, {**one.overrides, **overrides}, one.overrides, measure.name)
                counts.append(len(found.values))
                height = y + 0.3 * (place - (len(series) - 1) / 2)
                label = f"{row}, {one.name}"
                draw_row(axes, height, found, label, one.color, marker=one.marker, scale=measure.scale)
        axes.set_xlabel(measure.label)
        axes.grid(visible=False, axis="y")
    name_rows(panels[0], rows)
    for place, one in enumerate(series):
        panels[0].text(0.5 * place, 1.03, one.name, color=one.color, transform=panels[0].transAxes)
    return figure, d.count_words(counts)
