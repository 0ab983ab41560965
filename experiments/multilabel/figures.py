"""What each loss gets right: all labels of a sample, each of them, and samples that have none."""

from __future__ import annotations

import numpy as np

from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import band, rows_of, values_of
from experiments.core.verdicts.results import Results

LOSSES: dict[str, tuple[Overrides, str]] = {
    "binary cross-entropy": ({}, d.BLUE),
    "sigmoid, squared error": ({"loss": "label_mse"}, d.GREEN),
    "softmax, cross-entropy": ({"loss": "label_softmax"}, d.VERMILLION),
}
# Of each score: the column of the loss's own rule, and that of the threshold chosen on validation samples.
SCORES = {
    "exact match": ("test/exact_match", "test/exact_match/tuned"),
    "micro-F1": ("test/micro_f1", "test/micro_f1/tuned"),
}


def scores(results: Results) -> Drawing:
    """Exact match and micro-F1 of every loss, by its own rule and by the threshold chosen for it."""
    figure = d.new_figure(5.2)
    panels = figure.subplots(1, len(SCORES), sharey=True)
    counts = []
    for axes, (title, columns) in zip(panels, SCORES.items(), strict=True):
        for y, (name, (overrides, color)) in enumerate(LOSSES.items()):
            rows = rows_of(results, overrides)
            counts.append(len(rows))
            for column, shift, fill in zip(columns, (-0.14, 0.14), ("none", "full"), strict=True):
                values = values_of(rows, column)
                at = band([y], values[np.isfinite(values)][None])
                if np.isfinite(at.mean).any():
                    axes.hlines(y + shift, at.low, at.high, color=color, linewidth=3.5, gid=f"interval/{column}/{name}")
                    axes.plot(
                        at.mean,
                        [y + shift],
                        "o",
                        color=color,
                        fillstyle=fill,
                        markeredgewidth=2,
                        gid=f"mean/{column}/{name}",
                    )
        axes.set(title=title, xlabel="score on the test sample")
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_yticks(range(len(LOSSES)), list(LOSSES))
    panels[0].set_ylim(len(LOSSES) - 0.4, -0.6)
    n = d.count_words(counts)
    return Drawing(
        figure,
        Words("Several labels a sample: three losses", "Plusieurs étiquettes par exemple : trois coûts"),
        Words(
            f"○ rule of the loss itself (sigmoid above ½; softmax of at least an equal share), ● threshold chosen on "
            f"validation samples: mean over seeds ({n}) and 95 % Student interval. Seeds have different texts: the "
            "verdicts compare the losses seed by seed, which is sharper.",
            f"○ règle du coût lui-même (sigmoïde au-dessus de ½ ; softmax d'au moins une part égale), ● seuil choisi "
            f"en validation : moyenne sur les graines ({n}) et intervalle de Student à 95 %. Les verdicts comparent "
            "graine par graine, ce qui est plus précis.",
        ),
    )


def by_number_of_labels(results: Results) -> Drawing:
    """Share of samples whose labels are all right, by how many they have."""
    figure = d.new_figure()
    axes = figure.subplots()
    counts: list[int] = []
    numbers = range(int(results.runs[0].settings["labels"]) + 1)
    for name, (overrides, color) in LOSSES.items():
        rows = rows_of(results, overrides)
        values = np.array([values_of(rows, f"test/exact_match/labels={number}") for number in numbers])
        shown = band(list(numbers), values)
        d.draw_band(axes, shown, name, color, marker="o")
        # At the right end all lines are at 0: names stand where there is room.
        axes.text(0.55, 0.92 - 0.09 * len(counts), name, color=color, transform=axes.transAxes)
        counts.append(len(rows))
    axes.set(xlabel="labels that the sample has", ylabel="share with all labels right", ylim=(-0.02, 1))
    axes.set_xticks(list(numbers))
    n = d.count_words(counts)
    return Drawing(
        figure,
        Words("Softmax has no word for nothing", "Softmax ne sait pas dire : rien"),
        Words(
            f"Exact match on test samples by the number of their labels, each loss with the threshold chosen on "
            f"validation samples: mean over seeds ({n}); band: 95 % Student interval. Few samples have five labels or "
            "six.",
            f"Exactitude complète selon le nombre d'étiquettes, chaque coût avec le seuil choisi en validation : "
            f"moyenne sur les graines ({n}) ; bande : intervalle de Student à 95 %. Peu d'exemples ont cinq ou six "
            "étiquettes.",
        ),
    )
