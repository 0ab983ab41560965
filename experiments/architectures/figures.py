"""Scores beside their references."""

from __future__ import annotations

import numpy as np

from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results

# The condition without overrides is called after its file.
NAMES = {"base": "fully connected"}


def scores(results: Results) -> Drawing:
    """Draw the test score of every architecture, and that of scikit-learn on the same split."""
    found = {c.name: c.overrides for c in results.plan.grid.conditions}
    ours = {name: plots.column(results, overrides, "test_score") for name, overrides in found.items()}
    scored = [name for name, one in ours.items() if np.isfinite(one.values).any()]
    shown = {name: NAMES.get(name, name.replace("_", " ")) for name in scored}
    figure = d.new_figure(1.6 + 0.55 * max(len(shown), 1))
    axes = figure.subplots()
    for y, (name, label) in enumerate(shown.items()):
        reference = plots.column(results, found[name], "reference_score")
        plots.draw_row(axes, y - 0.12, ours[name], label, d.BLUE)
        plots.draw_row(axes, y + 0.12, reference, label, d.BLACK, marker="D")
    plots.name_rows(axes, shown.values())
    axes.set(xlim=(0, 1), xlabel="score on the test sample")
    n = d.count_words(len(ours[name].values) for name in shown)
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
