"""Reading back what a figure drew, and the truth to compare it with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats


def artist(figure: Figure, gid: str) -> Artist:
    """The one artist of this name."""
    (found,) = figure.findobj(lambda a: a.get_gid() == gid)
    return found


def line(figure: Figure, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a line."""
    found = artist(figure, gid)
    assert isinstance(found, Line2D)
    return np.atleast_1d(found.get_xdata()).astype(float), np.atleast_1d(found.get_ydata()).astype(float)


def band_ends(figure: Figure, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of a band at each of its points, in the order of x."""
    return ends_of(artist(figure, gid))


def ends_of(found: Artist) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of vertical bars, or of a band at each of its points, in the order of x."""
    if isinstance(found, LineCollection):
        ends = np.array([segment[:, 1] for segment in found.get_segments()])
        return ends.min(axis=1), ends.max(axis=1)
    assert isinstance(found, PolyCollection)
    vertices = np.concatenate([path.vertices for path in found.get_paths()])
    x = np.unique(vertices[:, 0])
    inside = [vertices[vertices[:, 0] == point, 1] for point in x]
    return np.array([y.min() for y in inside]), np.array([y.max() for y in inside])


def interval(figure: Figure, gid: str) -> np.ndarray:
    """Ends of a horizontal bar."""
    found = artist(figure, gid)
    assert isinstance(found, LineCollection)
    (segment,) = found.get_segments()
    return np.sort(segment[:, 0])


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval, by scipy."""
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    return float(np.mean(values)), float(low), float(high)


def accuracy_by_epoch(condition: Path) -> list[list[float]]:
    """Validation accuracy of every seed that has one, by epoch, straight from the files."""
    found: dict[int, list[float]] = {}
    for path in sorted(condition.glob("seed=*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["metric"] == "val/accuracy":
                    found.setdefault(int(row["epoch"]), []).append(float(row["value"]))
    return [found[epoch] for epoch in sorted(found)]
