"""Conditions against the one that lacks what they have: differences paired by seed, drawn beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report.intervals import band, rows_of, values_of
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats


class Shown(NamedTuple):
    """A measure in a panel of its own: its column of results.csv, the factor it is shown with, and the axis' label."""

    name: str
    factor: float
    label: str
    # The smallest effect of interest, in the unit of the measure.
    threshold: float


class Series(NamedTuple):
    """What every row is drawn under: a name, overrides, a colour and a marker."""

    name: str
    overrides: Overrides
    color: str
    marker: str


def differences(results: Results, where: Overrides, minus: Overrides, name: str) -> Floats:
    """Return what one condition has more than another of a measure, (n,): of every seed where both have a value."""
    first, second = (rows_of(results, overrides).set_index("seed", drop=False) for overrides in (where, minus))
    seeds = [seed for seed in first.index if seed in second.index]
    found = values_of(first.loc[seeds], name) - values_of(second.loc[seeds], name)
    return found[np.isfinite(found)]


def draw_differences(
    results: Results,
    rows: Mapping[str, Overrides],
    series: Sequence[Series],
    measures: Sequence[Shown],
) -> tuple[Figure, list[int]]:
    """Draw the mean difference of each row to the condition without it, and its 95 % Student interval.

    Args:
        results: of the experiment.
        rows: what is compared, by name: overrides laid over those of each series.
        series: under which circumstances; each one's own overrides are the condition that is subtracted.
        measures: a panel each.

    Returns:
        The figure, whose artists are `mean/<measure>/<row>/<series>` and `interval/…`, and n of each.
    """
    figure = d.new_figure(2.2 + 0.85 * len(rows))
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    counts = []
    for axes, shown in zip(panels, measures, strict=True):
        axes.axvline(0.0, color=d.GREY, linewidth=1.2)
        axes.axvline(shown.factor * shown.threshold, color=d.GREY, linewidth=1.6, linestyle=":")
        for y, (row, overrides) in enumerate(rows.items()):
            for place, one in enumerate(series):
                found = differences(results, {**one.overrides, **overrides}, one.overrides, shown.name)
                counts.append(len(found))
                if not len(found):
                    continue
                height = y + 0.3 * (place - (len(series) - 1) / 2)
                summary, name = band([height], shown.factor * found[None]), f"{shown.name}/{row}/{one.name}"
                if np.isfinite(summary.low).all():
                    axes.hlines(height, summary.low, summary.high, color=one.color, linewidth=3.5)
                    axes.collections[-1].set_gid(f"interval/{name}")
                axes.plot(summary.mean, [height], one.marker, color=one.color, gid=f"mean/{name}")
        axes.set_xlabel(shown.label)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(rows)), list(rows))
    for place, one in enumerate(series):
        panels[0].text(0.5 * place, 1.03, one.name, color=one.color, transform=panels[0].transAxes)
    return figure, counts
