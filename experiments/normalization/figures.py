"""The landscape with and without normalisation, the price of small batches, and the steps that training takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import figures as core
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, End, Words
from experiments.core.report.figures import Curve, Panel
from experiments.core.report.intervals import MeanInterval, mean_and_interval
from experiments.core.verdicts.results import Results
from experiments.normalization import measures as m
from experiments.normalization.experiment import AFTER, BATCH, LAYER, NEVER

NONE = "none"
COLORS = {NONE: d.VERMILLION, "BatchNorm": d.BLUE, "BatchNorm after": d.SKY, "LayerNorm": d.GREEN}
ARMS: dict[str, Overrides] = {NONE: {}, "BatchNorm": BATCH, "BatchNorm after": AFTER, "LayerNorm": LAYER}
SIZES = (2, 4, 8, 32, 128)


def landscape(results: Results) -> Drawing:
    """Range of the loss and change of the gradient over the training, and at equal training loss, which is fair."""
    figure = d.new_figure(9.0)
    (range_axes, change_axes), (relu_axes, sigmoid_axes) = figure.subplots(2, 2)
    runs = {
        network: {arm: results.of({"config": config, **overrides}) for arm, overrides in ARMS.items()}
        for network, config in {"ReLU": "relu", "sigmoid": "landscape"}.items()
    }
    for axes, metric in ((range_axes, m.RANGE), (change_axes, m.CHANGE)):
        axes.set(xlabel="step", yscale="log")
        ends: list[End] = []
        for arm, found in runs["ReLU"].items():
            ends += plots.draw_curve(axes, found, metric, arm, COLORS[arm], scale=plots.LOG)
        d.label_ends(axes, ends, gap=0.11)
    for axes, network in ((relu_axes, "ReLU"), (sigmoid_axes, "sigmoid")):
        axes.set(xlabel="training loss (training goes to the right)", xscale="log", yscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        _draw_by_loss(axes, {arm: _by_loss(found) for arm, found in runs[network].items()}, network)
    for axes in (change_axes, relu_axes, sigmoid_axes):
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    range_axes.set(title="ReLU: range of the loss", ylabel="nats, over ≤ 4 steps")
    change_axes.set(title="ReLU: change of the gradient", ylabel="relative, over one step")
    relu_axes.set(title="ReLU, at equal loss", ylabel="change of the gradient")
    sigmoid_axes.set(title="Sigmoid, at equal loss", ylabel="change of the gradient")
    n = d.count_words(len(found) for arms in runs.values() for found in arms.values())
    return Drawing(
        figure,
        Words("The landscape along the gradient", "Le paysage le long du gradient"),
        Words(
            "From the weights of each step along the batch's own gradient by 1, 2 and 4 learning rates: range of the "
            f"loss; |g′ − g| / |g| after one. Geometric mean over seeds ({n}); band: 95 % Student interval of the log. "
            "Below: by octaves of the training loss that the plain network goes through, as the claims compare.",
            "Depuis les poids de chaque pas, le long du gradient du lot, de 1, 2 et 4 pas d'apprentissage : étendue de "
            f"la perte ; |g′ − g| / |g| après un. Moyenne géométrique sur les graines ({n}) ; bande : intervalle de "
            "Student à 95 % du logarithme. En bas : par octave de la perte, ce que comparent les affirmations.",
        ),
    )


def _draw_by_loss(axes: Axes, bands: dict[str, MeanInterval], network: str) -> None:
    """Draw bands of log2 where the plain network has losses too, and write their names where the training ends."""
    ends: list[End] = []
    for arm, in_log in bands.items():
        kept = np.isin(in_log.x, bands[NONE].x)
        shown = plots.rescaled(MeanInterval(*(side[kept] for side in in_log)), plots.POWER_OF_2)
        d.draw_band(axes, shown, f"{network}/{arm}", COLORS[arm])
        ends += d.last_end(shown, arm, COLORS[arm], index=0)
    d.label_ends(axes, ends, gap=0.11)


def _by_loss(runs: Sequence[Run]) -> MeanInterval:
    """log2 of the gradient's change by the middle of the octave of the loss; octaves that most seeds went through."""
    seeds = [m.by_octave(run, m.CHANGE) for run in runs]
    octaves = sorted({octave for seed in seeds for octave in seed})
    octaves = [octave for octave in octaves if sum(octave in seed for seed in seeds) > len(runs) / 2]
    values = np.array([[seed.get(octave, math.nan) for seed in seeds] for octave in octaves], dtype=float)
    return mean_and_interval([2.0 ** (octave + 0.5) for octave in octaves], values.reshape(len(octaves), len(seeds)))


def batch_sizes(results: Results) -> Drawing:
    """Test accuracy and the predictions that depend on the mode, against the size of the batch."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2)
    arms = {"BatchNorm": "batch", "LayerNorm": "layer"}
    conditions: dict[str, list[Overrides]] = {
        arm: [{"config": "batch_size", "normalization": name, "batch_size": size} for size in SIZES]
        for arm, name in arms.items()
    }
    for axes, measure in ((left, "test/accuracy"), (right, "changed_predictions")):
        ends: list[End] = []
        for arm, some in conditions.items():
            columns = [plots.column(results, overrides, measure) for overrides in some]
            ends += d.last_end(plots.draw_line(axes, SIZES, columns, arm, COLORS[arm]), arm, COLORS[arm])
        axes.set_xscale("log", base=2)
        plots.name_ticks(axes, SIZES)
        axes.set(xlabel="samples in a batch", ylim=(-0.06, 1.04))
        d.label_ends(axes, ends)
    left.set_title("Test accuracy")
    right.set_title("Predictions that depend on the mode")
    n = plots.count_seeds(results, (overrides for some in conditions.values() for overrides in some))
    return Drawing(
        figure,
        Words("The price of small batches", "Le prix des petits lots"),
        Words(
            f"ReLU network after 200 steps at every batch size; mean over seeds ({n}); band: 95 % Student interval. "
            "Right: share of training samples whose predicted class differs between training and evaluation mode.",
            f"Réseau ReLU après 200 pas quelle que soit la taille du lot ; moyenne sur les graines ({n}) ; bande : "
            "intervalle de Student à 95 %. À droite : part des exemples dont la classe prédite change entre le mode "
            "d'entraînement et le mode d'évaluation.",
        ),
    )


def steps_to_target(results: Results) -> Drawing:
    """Steps until 90 % validation accuracy, and how many seeds arrive, of everything whose speed is compared."""
    figure = d.new_figure()
    axes = figure.subplots()
    for y, (name, (overrides, color)) in enumerate(SPEEDS.items()):
        shown = plots.column(results, overrides, "log2_steps_to_target", if_diverged=NEVER)
        arrived = plots.column(results, overrides, "reached_target", if_diverged=0.0).values
        if np.isfinite(shown.values).any():
            plots.draw_row(axes, y, shown, name, color, scale=plots.POWER_OF_2)
            d.write_beside(axes, y, f"{int(arrived.sum())} of {len(arrived)} arrive")
    axes.set_xscale("log", base=2)
    axes.set_xlim(10, 800)
    plots.name_ticks(axes, (20, 40, 80, 160, 320))
    plots.name_rows(axes, SPEEDS)
    axes.set_xlabel("steps until 90 % validation accuracy")
    n = plots.count_seeds(results, (overrides for overrides, _ in SPEEDS.values()))
    return Drawing(
        figure,
        Words("How fast sigmoids learn", "À quelle vitesse des sigmoïdes apprennent"),
        Words(
            f"In whole epochs of 20 steps; who does not arrive counts as the budget of 400. Geometric mean over seeds "
            f"({n}); bars: 95 % Student interval of the log. 'Own rate': chosen on validation loss.",
            "En époques entières de 20 pas ; qui n'arrive pas compte pour le budget de 400. Moyenne géométrique sur "
            f"les graines ({n}) ; barres : intervalle de Student à 95 % du logarithme. « Own rate » : pas choisi sur "
            "la perte de validation.",
        ),
    )


SPEEDS: plots.Styled = {
    "1 layer": ({"depth": 1}, COLORS[NONE]),
    "1 layer, BatchNorm": ({**BATCH, "depth": 1}, COLORS["BatchNorm"]),
    "3 layers": ({"config": "landscape"}, COLORS[NONE]),
    "3 layers, BatchNorm": ({"config": "landscape", **BATCH}, COLORS["BatchNorm"]),
    "3 layers, BatchNorm after": ({"config": "landscape", **AFTER}, COLORS["BatchNorm after"]),
    "3 layers, LayerNorm": ({"config": "landscape", **LAYER}, COLORS["LayerNorm"]),
    "own rate": ({"lr": "tuned"}, COLORS[NONE]),
    "own rate, BatchNorm": ({**BATCH, "lr": "tuned"}, COLORS["BatchNorm"]),
    "own rate, LayerNorm": ({**LAYER, "lr": "tuned"}, COLORS["LayerNorm"]),
    "own rate, Adam": ({"optimizer": "adam", "lr": "tuned"}, COLORS[NONE]),
    "own rate, Adam, LayerNorm": ({**LAYER, "optimizer": "adam", "lr": "tuned"}, COLORS["LayerNorm"]),
}


def learning_curves(results: Results) -> Drawing:
    """Validation accuracy of the sigmoids: all at one learning rate, and each at its own."""
    equal = [Curve(arm, results.of({"config": "landscape", **its}), COLORS[arm]) for arm, its in ARMS.items()]
    own = [
        Curve(arm, results.of({**ARMS[arm], "lr": "tuned"}), COLORS[arm]) for arm in (NONE, "BatchNorm", "LayerNorm")
    ]
    own += [
        Curve(f"{arm}, Adam", results.of({**ARMS[arm], "optimizer": "adam", "lr": "tuned"}), COLORS[arm], dashed=True)
        for arm in (NONE, "LayerNorm")
    ]
    drawing = core.learning_curves(results, [Panel("Learning rate 1", equal), Panel("Each at its own rate", own)])
    caption = Words(
        f"{drawing.caption.en} Three layers of 100 sigmoids. Right: learning rates chosen on validation loss.",
        f"{drawing.caption.fr} Trois couches de 100 sigmoïdes. À droite : pas choisis sur la perte de validation.",
    )
    return replace(drawing, caption=caption)
