"""What a teacher shows of the perceptron: the lines it finds, the corrections it needs, and where it must fail."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from datamodules.points import FUNCTIONS
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.perceptron.checks import BEST_LINE, SEPARABLE, truth_tables

NAMES = {
    "and": "AND: 4 points",
    "setosa": "iris: setosa or not",
    "points": "points, margin 0.1",
    "wine": "wines: first grower or not",
    "zero": "digits: 0 or not",
    "tumours": "tumours: benign or not",
    "versicolor": "iris: versicolor or not",
    "xor": "XOR: 4 points",
}
LIMITED = {"xor": "noisy XOR", "circles": "two circles"}


def boolean_functions(results: Results) -> Drawing:
    """The line that the algorithm found for each boolean function of two inputs, with and without w0."""
    figure = d.new_figure(8.6)
    grid = figure.subplots(4, 4, sharex=True, sharey=True)
    with_bias, without = results.checks["functions_of_two"], results.checks["functions_of_two_without_bias"]
    for number, (axes, (points, values)) in enumerate(zip(grid.flat, truth_tables(2), strict=True)):
        name = FUNCTIONS[number].replace("_", " ")
        learned = bool(with_bias) and min(run[f"learned/{number:02d}"] for run in with_bias) == 1
        if learned:
            _draw_line(axes, _weights(with_bias[0], number, 3), f"line/{number}", d.BLUE, "-")
        if without and min(run[f"learned/{number:02d}"] for run in without) == 1:
            _draw_line(axes, [*_weights(without[0], number, 2), 0.0], f"through origin/{number}", d.GREEN, "--")
        for value, fill in ((1, "full"), (-1, "none")):
            x, y = points[values == value].T
            axes.plot(x, y, "o", color=d.BLACK, fillstyle=fill, markersize=13, gid=f"points/{number}/{value}")
        # Marked by a cross as well as by colour.
        axes.set_title(name if learned else f"✖ {name}", color=d.BLACK if learned else d.VERMILLION, fontsize=15)
        axes.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), xticks=(-1, 1), yticks=(-1, 1), aspect="equal")
        axes.grid(visible=False)
    n = d.count_words([len(with_bias)])
    return Drawing(
        figure,
        Words("What one line can separate", "Ce qu'une droite peut séparer"),
        Words(
            "All boolean functions of two inputs; ● true, ○ false. Blue: the line that the perceptron found with the "
            "first seed. Dashed green: one through the origin, without w0. ✖: the algorithm did not end within 100 "
            f"epochs for at least one seed; {n}. A constant function needs no line among the points.",
            "Toutes les fonctions booléennes de deux entrées ; ● vrai, ○ faux. Bleu : la droite trouvée par le "
            "perceptron avec la première graine. Tirets verts : par l'origine, sans w0. ✖ : l'algorithme ne s'est pas "
            f"arrêté en 100 époques pour au moins une graine ; {n}. Une fonction constante ne demande aucune "
            "droite entre les points.",
        ),
    )


def _weights(run: Run, number: int, size: int) -> list[float]:
    return [run[f"weight/{number:02d}/{k}"] for k in range(size)]


def _draw_line(axes: Axes, weights: list[float], gid: str, color: str, style: str) -> None:
    """Draw where w1 x1 + w2 x2 + w0 = 0; nothing if the line is at infinity."""
    w1, w2, w0 = weights
    length = float(np.hypot(w1, w2))
    if length == 0:
        return
    foot = -w0 * np.array([w1, w2]) / length**2
    along = np.array([-w2, w1]) / length
    ends = np.stack([foot - 5 * along, foot + 5 * along])
    axes.plot(ends[:, 0], ends[:, 1], style, color=color, gid=gid)


def updates_and_bound(results: Results) -> Drawing:
    """Corrections until the algorithm ends beside Novikoff's bound; and how often it ends, by data set."""
    figure = d.new_figure(6.6)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.6, 1])
    for y, (name, label) in enumerate(NAMES.items()):
        check = "separable_data" if name in SEPARABLE else "inseparable_data"
        ended = plots.check_column(results, check, f"ended/{name}")
        if not len(ended.values):
            continue
        if name in SEPARABLE:
            plots.draw_row(left, y, plots.check_column(results, check, f"updates/{name}"), label, d.BLUE)
            bound = plots.summary([y], [plots.check_column(results, check, f"bound/{name}")], plots.LOG).mean
            left.plot(bound, y, "|", color=d.BLACK, markersize=22, markeredgewidth=3.5, gid=f"bound/{name}")
        else:
            left.text(1.4, y, "no plane separates them: no bound", va="center", fontsize=d.SMALL, color=d.GREY)
        plots.draw_share(right, y, ended, label, d.GREEN)
    plots.name_rows(left, NAMES.values(), top=-0.8)
    left.set(xscale="log", xlim=(1, 4e5), xlabel="corrections until an epoch has none")
    left.text(0.98, 0.98, "● needed   | Novikoff's bound", ha="right", va="top", transform=left.transAxes)
    right.set(xlim=(-0.03, 1.03), xlabel="share of seeds that ended")
    n = plots.count_checks(results, "separable_data", "inseparable_data")
    return Drawing(
        figure,
        Words("How many corrections, and how many at most", "Combien de corrections, et combien au plus"),
        Words(
            f"Left: ● mean number of corrections over seeds ({n}; four orders of the samples each) with 95 % Student "
            "interval; | geometric mean of the bound (R/γ)². Right: share of the seeds for which the algorithm ended, "
            "within 1,000 epochs (100 for the last two); bars: 95 % Wilson interval.",
            f"À gauche : ● nombre moyen de corrections sur les graines ({n} ; quatre ordres chacune), intervalle de "
            "Student à 95 % ; | moyenne géométrique de la borne (R/γ)². À droite : part des graines pour lesquelles "
            "l'algorithme s'arrête en 1 000 époques (100 pour les deux dernières) ; barres : intervalle de "
            "Wilson à 95 %.",
        ),
    )


def limits(results: Results) -> Drawing:
    """Test accuracy where no line separates, seed by seed, below what the best line would get."""
    figure = d.new_figure(3.6)
    axes = figure.subplots()
    for y, (name, label) in enumerate(LIMITED.items()):
        shown = plots.check_column(results, "limited_data", f"accuracy/{name}")
        heights = np.full(len(shown.values), y + 0.22)
        axes.plot(shown.values, heights, "o", color=d.GREY, markersize=6, gid=f"seeds/{name}")
        plots.draw_row(axes, y, shown, label, d.BLUE)
        axes.vlines(BEST_LINE[name], y - 0.35, y + 0.35, color=d.BLACK, linewidth=3, gid=f"best line/{name}")
        axes.text(BEST_LINE[name] + 0.01, y, "the best line", va="center", fontsize=d.SMALL)
    plots.name_rows(axes, LIMITED.values())
    axes.axvline(0.5, color=d.GREY, linewidth=1.2, linestyle=":")
    axes.set(xlim=(0.2, 1), xlabel="test accuracy of the perceptron (0.5: chance)")
    n = plots.count_checks(results, "limited_data")
    return Drawing(
        figure,
        Words("Where a line is not enough", "Là où une droite ne suffit pas"),
        Words(
            f"● mean test accuracy after 20 passes, over seeds ({n}), and 95 % Student interval; small dots: the "
            "seeds. Black: what the best line gets without noise, 3/4 of XOR and 2/3 of the circles.",
            f"● exactitude de test moyenne après 20 passages, sur les graines ({n}), intervalle de Student à 95 % ; "
            "petits points : les graines. Noir : la meilleure droite sans bruit, 3/4 de XOR et 2/3 des cercles.",
        ),
    )
