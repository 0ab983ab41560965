"""What a teacher shows about regularisation: gains, weights, damage; a thinned network, and what dropout adds."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.core.callbacks.weight_statistics import HISTOGRAM_EDGES, NEGLIGIBLE
from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import rows_of, values_of
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats
from experiments.regularization import checks
from lightning_modules.fully_connected import FullyConnectedNetwork

TECHNIQUES: dict[str, tuple[Overrides, str]] = {
    "L1": ({"l1": 1e-3}, d.VERMILLION),
    "L2": ({"l2": 1e-2}, d.BLUE),
    "dropout": ({"dropout": 0.5}, d.GREEN),
    "shift and flip": ({"config": "shift_flip"}, d.PURPLE),
}
ONE_MASK: Overrides = {"dropout": 0.5, "dropout_mask": "batch"}
LABELS = (
    plots.Series("● clean labels", {"label_noise": 0.0}, d.BLUE, "o"),
    plots.Series("◆ 20 % label noise", {"label_noise": 0.2}, d.VERMILLION, "D"),
)
GAINS = (
    plots.Measure("test/loss", plots.PLAIN, "change of test cross-entropy (nats)", -0.05),
    plots.Measure("test/accuracy", plots.PERCENT, "change of test accuracy (points)", 1.0),
)
NOISE, REMOVED = (0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 0.75)
# The picture of a thinned network: layers, share of removed hidden units, iterations of the film and seed of its first,
# which removes about half of each layer.
LAYERS, P, FRAMES, FIRST_FRAME = (4, 6, 6, 3), 0.5, 8, 3


def gains(results: Results) -> Drawing:
    """Draw what each technique changes, with clean and with noisy training labels."""
    rows = {name: overrides for name, (overrides, _) in TECHNIQUES.items()}
    figure, n = plots.draw_differences(results, rows, LABELS, GAINS)
    return Drawing(
        figure,
        Words("What each technique gains", "Ce que gagne chaque technique"),
        Words(
            f"Difference to the same network without it: mean over seeds ({n}) and 95 % Student interval. Dotted: "
            "smallest effect of interest. Test labels are always clean.",
            f"Différence avec le même réseau sans elle : moyenne sur les graines ({n}) et intervalle de Student "
            "à 95 %. Pointillés : plus petit effet d'intérêt. Les étiquettes de test sont toujours justes.",
        ),
    )


def training_and_test_loss(results: Results) -> Drawing:
    """Draw the loss on training and on new images of each technique: the gap is the distance between them."""
    rows: dict[str, Overrides] = {"none": {}, **{name: overrides for name, (overrides, _) in TECHNIQUES.items()}}
    figure = d.new_figure(6.0)
    panels = figure.subplots(1, len(LABELS), sharex=True, sharey=True)
    for axes, labels in zip(panels, LABELS, strict=True):
        for y, (name, overrides) in enumerate(rows.items()):
            ends = []
            for measure, color, marker in (("training_test/loss", d.ORANGE, "s"), ("test/loss", d.BLUE, "o")):
                shown = plots.column(results, {**labels.overrides, **overrides}, measure)
                ends += plots.draw_row(axes, y, shown, name, color, marker=marker).mean.tolist()
            axes.plot(ends, [y] * len(ends), color=d.GREY, linewidth=1.2, zorder=0)
        axes.set(title=labels.name[2:], xlabel="cross-entropy (nats)")
        axes.grid(visible=False, axis="y")
    panels[0].set_xlim(0, None)
    plots.name_rows(panels[0], rows)
    panels[0].text(1.0, 1.1, "■ training images", color=d.ORANGE, ha="right", transform=panels[0].transAxes)
    panels[1].text(0.0, 1.1, "● new images", color=d.BLUE, transform=panels[1].transAxes)
    n = plots.count_seeds(results, ({**labels.overrides, **its} for labels in LABELS for its in rows.values()))
    return Drawing(
        figure,
        Words("The gap, and what it is made of", "L'écart, et de quoi il est fait"),
        Words(
            f"Loss after training, without dropout and on unchanged images: mean over seeds ({n}) and 95 % Student "
            "interval. Training labels are those that were learnt. A small gap is no merit by itself: it also "
            "comes from learning less.",
            f"Coût après l'apprentissage, sans dropout et sur des images inchangées : moyenne sur les graines ({n}) et "
            "intervalle de Student à 95 %. Les étiquettes d'apprentissage sont celles qui ont été apprises. Un petit "
            "écart seul ne prouve rien : il vient aussi d'apprendre moins.",
        ),
    )


def weights(results: Results) -> Drawing:
    """Draw how large the weights are after training without a penalty, with L1 and with L2."""
    figure = d.new_figure()
    axes = figure.subplots()
    edges, counts = HISTOGRAM_EDGES.numpy(), []
    names = [f"weight/histogram/bin_{index:02d}" for index in range(len(edges) - 1)]
    shown: dict[str, tuple[Overrides, str]] = {"no penalty": ({}, d.BLACK)}
    shown |= {name: TECHNIQUES[name] for name in ("L1", "L2")}
    for place, (name, (overrides, color)) in enumerate(shown.items()):
        rows = rows_of(results, overrides)
        counts.append(len(rows))
        shares = 100 * _finite_means([values_of(rows, column) for column in names])
        axes.stairs(shares, edges, color=color, linewidth=2.6, gid=f"share/{name}")
        gone = values_of(rows, "weight/negligible")
        gone = gone[np.isfinite(gone)]
        words = f"{name}: {100 * gone.mean():.0f} % negligible" if len(gone) else name
        axes.text(0.02, 0.93 - 0.08 * place, words, color=color, transform=axes.transAxes)
    axes.axvline(np.log10(NEGLIGIBLE), color=d.GREY, linewidth=1.6, linestyle=":")
    axes.text(np.log10(NEGLIGIBLE) - 0.06, 0.6, "|w| = 0.001", color=d.GREY, rotation=90, ha="right",
              transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set(xlabel=r"$\log_{10} |w|$", ylabel="share of the weights (%)", xlim=(edges[0], edges[-1]), ylim=(0, None))
    n = d.count_words(counts)
    return Drawing(
        figure,
        Words("The weights under L1 and under L2", "Les poids sous L1 et sous L2"),
        Words(
            f"Magnitude of all weights after training, in bins a quarter of a decade wide: mean over seeds ({n}); the "
            "first bin holds everything smaller.",
            f"Grandeur de tous les poids après l'apprentissage, par quart de décade : moyenne sur les graines ({n}) ; "
            "la première classe contient tout ce qui est plus petit.",
        ),
    )


def _finite_means(columns: list[Floats]) -> Floats:
    finite = [column[np.isfinite(column)] for column in columns]
    return np.array([column.mean() if len(column) else np.nan for column in finite])


def robustness(results: Results) -> Drawing:
    """Draw the accuracy on noisy images, and with hidden units removed."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    networks: plots.Styled = {
        "no remedy": ({}, d.BLACK),
        **{name: TECHNIQUES[name] for name in ("L1", "L2", "dropout")},
        "dropout, one mask": (ONE_MASK, d.ORANGE),
    }
    for axes, kind, levels in ((left, "noise", NOISE), (right, "removed", REMOVED)):
        measures = ["test/accuracy", *(f"test/accuracy/{kind}={level:g}" for level in levels)]
        ends = []
        for name, (overrides, color) in networks.items():
            columns = [plots.column(results, overrides, measure) for measure in measures]
            dashed = overrides == ONE_MASK
            shown = plots.draw_line(axes, [0.0, *levels], columns, name, color, dashed=dashed)
            ends += d.last_end(shown, name, color)
        axes.set(xlim=(-0.03, None), ylim=(0, 0.9))
        d.label_ends(axes, ends, gap=0.06)
    left.set(xlabel="noise on the pixels (standard deviations)", ylabel="test accuracy", title="Noisy images")
    right.set(xlabel="share of hidden units removed", title="A damaged network")
    n = plots.count_seeds(results, (overrides for overrides, _ in networks.values()))
    return Drawing(
        figure,
        Words("What a network still knows", "Ce qu'un réseau sait encore"),
        Words(
            f"Accuracy of trained networks, with Gaussian noise on the test images or with hidden units removed from "
            f"every layer: mean over seeds ({n}); band: 95 % Student interval. Dashed: in training, all images of an "
            "iteration shared the removed units.",
            f"Exactitude de réseaux appris, avec du bruit gaussien sur les images de test ou des unités retirées dans "
            f"chaque couche : moyenne sur les graines ({n}) ; bande : intervalle de Student à 95 %. Tirets : à "
            "l'apprentissage, toutes les images d'une itération partageaient les unités retirées.",
        ),
    )


def thinned_network(results: Results) -> Drawing:
    """Draw a whole network beside one that an iteration of dropout leaves; as a film, iteration after iteration."""
    del results  # the picture is of the method
    figure = d.new_figure()
    whole, thinned = figure.subplots(1, 2)
    _draw_network(whole, [np.ones(units, dtype=bool) for units in LAYERS])
    whole.set_title("in evaluation: every unit", loc="center")
    frames = [kept_units(FIRST_FRAME + frame) for frame in range(FRAMES)]

    def draw(frame: int) -> list[Line2D]:
        thinned.clear()
        _draw_network(thinned, frames[frame])
        thinned.set_title(f"iteration {frame + 1}: p = {P:g}", loc="center")
        return []

    draw(0)
    return Drawing(
        figure,
        Words("A thinned network", "Un réseau aminci"),
        Words(
            "Right: what a training iteration uses, drawn by the network's own dropout; grey units output 0, and so no "
            "gradient passes them. The next iteration draws others.",
            "À droite : ce qu'utilise une itération d'apprentissage, tiré par le dropout du réseau lui-même ; les "
            "unités grises sortent 0, aucun gradient ne les traverse. L'itération suivante en tire d'autres.",
        ),
        FuncAnimation(figure, draw, frames=FRAMES, interval=700),
    )


def kept_units(seed: int) -> list[np.ndarray]:
    """Which units of each layer an iteration of a small network keeps; never input or output units."""
    network = FullyConnectedNetwork(
        LAYERS[0], LAYERS[-1], LAYERS[1:-1], seed=0, activation="tanh", dropout=P, dropout_mask="batch"
    )
    _, kept = checks.iteration(network, torch.ones(1, LAYERS[0]), seed)
    ends = [np.ones(units, dtype=bool) for units in (LAYERS[0], LAYERS[-1])]
    return [ends[0], *(layer[0].numpy() for layer in kept), ends[1]]


def _draw_network(axes: Axes, kept: list[np.ndarray]) -> None:
    places = [[(x, y - (len(layer) - 1) / 2) for y in range(len(layer))] for x, layer in enumerate(kept)]
    for k in range(len(kept) - 1):
        for (x, y), stays in zip(places[k], kept[k], strict=True):
            for (to_x, to_y), remains in zip(places[k + 1], kept[k + 1], strict=True):
                if stays and remains:
                    axes.plot([x, to_x], [y, to_y], color=d.GREY, linewidth=1.0, zorder=1)
    for k, (layer, stays) in enumerate(zip(places, kept, strict=True)):
        for (x, y), here in zip(layer, stays, strict=True):
            color = d.BLUE if here else "#dddddd"
            axes.plot(
                [x], [y], "o", markersize=26, color=color, zorder=2, gid=f"unit/{k}/{'kept' if here else 'removed'}"
            )
            if not here:
                axes.plot([x], [y], "x", markersize=16, color=d.GREY, markeredgewidth=2.5, zorder=3)
    axes.set(xlim=(-0.4, len(kept) - 0.6), ylim=(-3.3, 3.3))
    axes.set_xticks(range(len(kept)), ["input", *["hidden"] * (len(kept) - 2), "output"])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def dropout_moments(results: Results) -> Drawing:
    """Draw mean and variance of what a unit receives under dropout, against theory."""
    figure = d.new_figure(6.5)
    left, right = figure.subplots(1, 2)
    for axes, name, color in ((left, "mean", d.BLUE), (right, "variance", d.VERMILLION)):
        measured = [plots.check_column(results, "drawn_moments", f"{name}/p={one}") for one in checks.PROBABILITIES]
        plots.draw_points(axes, checks.PROBABILITIES, measured, name, color, linewidth=3.5)
    grid = np.linspace(0, 0.92, 93)
    left.plot(grid, np.ones_like(grid), ":", color=d.BLACK, gid="theory/mean")
    left.plot(grid, 1 - grid, "--", color=d.GREY, gid="theory/unscaled")
    left.text(0.3, 0.52, "without dividing\nby 1 − p", color=d.GREY, ha="right")
    right.plot(grid, grid / (1 - grid), ":", color=d.BLACK, gid="theory/variance")
    right.text(0.8, 6.0, "p / (1 − p)", ha="right")
    left.set(
        xlabel="p, probability to be removed",
        ylabel=r"mean of $w^\top z$ over $w^\top z$ without dropout",
        ylim=(0, 1.2),
    )
    right.set(
        xlabel="p, probability to be removed", ylabel=r"variance of $w^\top z$ over $\Sigma (w z)^2$", ylim=(0, None)
    )
    n = plots.count_checks(results, "drawn_moments")
    return Drawing(
        figure,
        Words("What dropout does to mean and variance", "Ce que fait le dropout à la moyenne et à la variance"),
        Words(
            f"A unit with {checks.WIDE} inputs, {checks.MASKS:,} masks drawn by the layer: mean over seeds ({n}); "
            "bars: 95 % Student interval, narrower than the dot. Dotted: theory.",
            f"Une unité à {checks.WIDE} entrées, {checks.MASKS} masques tirés par la couche : moyenne sur les graines "
            f"({n}) ; barres : intervalle de Student à 95 %, plus étroit que le point. Pointillés : théorie.",
        ),
    )
