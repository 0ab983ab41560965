"""Style and elements of all figures: sizes for a lecture room, bands, names beside lines instead of legends.

Every artist that shows a number has a `gid` such as `mean/ReLU`, `band/ReLU` or `interval/L44-control`: tests read the
drawn data back from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.core.report.intervals import MeanInterval

# Okabe & Ito's palette, which suits every kind of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6b6b6b"

# A figure is as wide as a slide, so these are sizes at projection: nothing is smaller than 14 points.
SMALL = 14
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelsize": 16,
    "axes.linewidth": 1.2,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 16,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 16,
    "grid.color": "#e4e4e4",
    "lines.linewidth": 2.6,
    "lines.markersize": 9,
    # Makes the ids inside an SVG, and so its bytes, reproducible.
    "svg.hashsalt": "runnable-lecture",
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}


class Words(NamedTuple):
    """One text in both languages."""

    en: str
    fr: str


@dataclass(frozen=True)
class Drawing:
    """A figure with title and caption; the caption names n and explains bands and bars."""

    figure: Figure
    title: Words
    caption: Words
    # An animation of the figure, saved as a GIF beside the picture.
    animation: FuncAnimation | None = None


class End(NamedTuple):
    """The end of a line, and the name to write beside it."""

    x: float
    y: float
    name: str
    color: str


def new_figure(height: float = 7.5) -> Figure:
    """Return an empty figure as wide as a slide, height in inches, that needs neither a display nor pyplot."""
    figure = Figure(figsize=(13.33, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_band(axes: Axes, shown: MeanInterval, name: str, color: str, dashed: bool = False, marker: str = "") -> None:
    """Draw the line `mean/<name>`, and around it `band/<name>` where there is an interval; a single point as a dot."""
    style, single = "--" if dashed else "-", len(shown.x) == 1
    marker = "o" if single else marker
    axes.plot(shown.x, shown.mean, color=color, linestyle=style, marker=marker, gid=f"mean/{name}")
    if not np.isfinite(shown.low).any():
        return
    if single:
        axes.vlines(shown.x, shown.low, shown.high, color=color, gid=f"band/{name}")
    else:
        axes.fill_between(shown.x, shown.low, shown.high, color=color, alpha=0.25, linewidth=0, gid=f"band/{name}")


def last_end(shown: MeanInterval, name: str, color: str, index: int = -1) -> list[End]:
    """Return where to write the name of a line: at its last point, or at another; empty without points."""
    return [End(float(shown.x[index]), float(shown.mean[index]), name, color)] if len(shown.x) else []


def label_ends(axes: Axes, ends: Sequence[End], side: int = 1, gap: float = 0.075) -> None:
    """Write names beside the ends of lines instead of in a legend, moved apart where they would overlap.

    Call it when everything is drawn and the limits of the axes are final.

    Args:
        axes: where the lines are.
        ends: those that are not finite are left out.
        side: 1 to write to the right of the ends, -1 to the left.
        gap: smallest vertical distance, as a share of the height of the axes.
    """
    axes.get_ylim()  # updates the limits
    to_fraction = axes.transScale + axes.transLimits
    known = [end for end in ends if math.isfinite(end.y)]
    placed = sorted((float(to_fraction.transform((end.x, end.y))[1]), end) for end in known)
    for height, (_, end) in zip(spread([height for height, _ in placed], gap), placed, strict=True):
        axes.annotate(
            end.name,
            (end.x, height),
            (8 * side, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            color=end.color,
            fontsize=SMALL,
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move sorted heights as little as possible so that they are `gap` apart and at most 1."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        # Merge a group that overlaps the one below.
        while len(groups) > 1 and _bottom(groups[-1], gap) < _bottom(groups[-2], gap) + gap * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = [_bottom(group, gap) + gap * place for group in groups for place in range(len(group))]
    return [min(height, 1.0 - gap * (len(moved) - 1 - index)) for index, height in enumerate(moved)]


def _bottom(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def write_beside(axes: Axes, y: float, text: str, indent: float = 0.0) -> None:
    """Write a text to the right of the axes at the height of a row, `indent` points further right."""
    axes.annotate(
        text,
        (1.0, y),
        (16 + indent, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center_baseline",
        fontsize=SMALL,
        annotation_clip=False,
    )


def count_words(counts: Iterable[int]) -> str:
    """Say how many seeds there are: `n = 10`, or `n = 10 to 30` where conditions differ; language-free but for that."""
    some = sorted({count for count in counts if count})
    if not some:
        return "n = 0"
    return f"n = {some[0]}" if len(some) == 1 else f"n = {some[0]}–{some[-1]}"
