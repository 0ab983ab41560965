"""Scores beside their references."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from experiments.core.report import drawing as d
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import Band, band, values_of
from experiments.core.verdicts.results import Results

# The condition without overrides is called after its file.
NAMES = {"base": "fully connected"}


def scores(results: Results) -> Drawing:
    """Draw the test score of every architecture, and that of scikit-learn on the same split."""
    found = {c.name: results.frame[results.frame["condition"] == c.name] for c in results.plan.grid.conditions}
    shown = {name: rows for name, rows in found.items() if np.isfinite(values_of(rows, "test_score")).any()}
    figure = d.new_figure(1.6 + 0.55 * max(len(shown), 1))
    axes = figure.subplots()
    for y, (name, rows) in enumerate(shown.items()):
        for column, color, marker, shift in (
            ("test_score", d.BLUE, "o", -0.12),
            ("reference_score", d.BLACK, "D", 0.12),
        ):
            _draw(axes, _summary(values_of(rows, column)), y + shift, f"{column}/{name}", color, marker)
    axes.set_yticks(range(len(shown)), [NAMES.get(name, name.replace("_", " ")) for name in shown])
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("score on the test sample")
    n = d.count_words(len(rows) for rows in shown.values())
    return Drawing(
        figure,
        Words("Every architecture and its reference", "Chaque architecture et sa référence"),
        Words(
            f"● ours, ◆ scikit-learn on the same split, where it has a counterpart: mean over seeds ({n}) and 95 % "
            "Student interval. Accuracy, or R² of the two regressions.",
            f"● la nôtre, ◆ scikit-learn sur le même découpage (s'il existe) : moyenne sur les graines ({n}) et "
            "intervalle de Student à 95 %. Exactitude, ou R² des deux régressions.",
        ),
    )


def _summary(values: np.ndarray) -> Band:
    return band([0.0], values[np.isfinite(values)][None])


def _draw(axes: Axes, shown: Band, y: float, name: str, color: str, marker: str) -> None:
    if not np.isfinite(shown.mean).any():
        return
    axes.hlines(y, shown.low, shown.high, color=color, linewidth=3.5, gid=f"interval/{name}")
    axes.plot(shown.mean, [y], marker, color=color, gid=f"mean/{name}")
