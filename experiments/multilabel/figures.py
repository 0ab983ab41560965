"""What each loss gets right: all labels of a sample, each of them, and samples that have none."""

from __future__ import annotations

from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results

LOSSES: plots.Styled = {
    "binary cross-entropy": ({}, d.BLUE),
    "sigmoid, squared error": ({"loss": "label_mse"}, d.GREEN),
    "softmax, cross-entropy": ({"loss": "label_softmax"}, d.VERMILLION),
}
# For each score, its column with the loss's own rule, and with the threshold chosen on validation samples.
SCORES = {
    "exact match": ("test/exact_match", "test/exact_match/tuned"),
    "micro-F1": ("test/micro_f1", "test/micro_f1/tuned"),
}


def scores(results: Results) -> Drawing:
    """Exact match and micro-F1 of every loss, by its own rule and by the threshold chosen for it."""
    figure = d.new_figure(5.2)
    panels = figure.subplots(1, len(SCORES), sharey=True)
    for axes, (title, measures) in zip(panels, SCORES.items(), strict=True):
        for y, (name, (overrides, color)) in enumerate(LOSSES.items()):
            for measure, shift, fill in zip(measures, (-0.14, 0.14), ("none", "full"), strict=True):
                plots.draw_row(axes, y + shift, plots.column(results, overrides, measure), name, color, fill=fill)
        axes.set(title=title, xlabel="score on the test sample")
        axes.locator_params(axis="x", nbins=5)
    plots.name_rows(panels[0], LOSSES)
    n = plots.count_seeds(results, (overrides for overrides, _ in LOSSES.values()))
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
    numbers = range(int(results.runs[0].settings["labels"]) + 1)
    for name, (overrides, color) in LOSSES.items():
        shares = [plots.column(results, overrides, f"test/exact_match/labels={number}") for number in numbers]
        plots.draw_line(axes, numbers, shares, name, color)
    # At the right end all lines are at 0, so names are placed where there is room.
    plots.write_names(axes, {name: color for name, (_, color) in LOSSES.items()}, 0.55, 0.92, 0.09)
    axes.set(xlabel="labels that the sample has", ylabel="share with all labels right", ylim=(-0.02, 1))
    axes.set_xticks(list(numbers))
    n = plots.count_seeds(results, (overrides for overrides, _ in LOSSES.values()))
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
