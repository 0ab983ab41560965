"""What a teacher shows about vanishing gradients: where the gradient goes, at which rate, why, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.core.callbacks.activation_statistics import HISTOGRAM_EDGES
from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import figures as core
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.figures import Curve, Panel
from experiments.core.report.intervals import MeanInterval, mean_and_interval, rows_of, values_of
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats
from experiments.vanishing import theory

COLORS = {"sigmoid": d.VERMILLION, "relu": d.BLUE, "tanh": d.GREEN, "identity": d.GREY}
NAMES = {"sigmoid": "sigmoid", "relu": "ReLU", "tanh": "tanh", "identity": "identity"}
INITIALIZATIONS = {"default": "default", "xavier": "Xavier", "he": "He"}
# The trained pairs "each with its own": initialisation, gain and a learning rate chosen by validation.
OWN: dict[str, Overrides] = {
    "sigmoid": {"activation": "sigmoid", "initialization": "xavier", "gain": 4.0, "lr": "tuned"},
    "relu": {"activation": "relu", "initialization": "he", "lr": "tuned"},
}
OWN_NAMES = {"sigmoid": "sigmoid, Xavier × 4", "relu": "ReLU, He"}
REMEDIES: dict[str, tuple[Overrides, str]] = {
    "+ BatchNorm": ({"normalization": "batch"}, d.GREEN),
    "+ LayerNorm": ({"normalization": "layer"}, d.PURPLE),
    "+ residual": ({"residual": True}, d.BLACK),
}
DEPTHS = (1, 4, 8)


def at_start(**overrides: str | float | bool) -> Overrides:
    """Overrides of a condition that is measured at initialisation."""
    return {"config": "initialization", **overrides}


def delta_by_layer(results: Results) -> Drawing:
    """The gradient of each layer at initialisation, and the line that theory draws from the last layer on."""
    figure = d.new_figure()
    axes = figure.subplots()
    networks: dict[str, tuple[Overrides, str, bool]] = {
        "sigmoid": (at_start(), d.VERMILLION, True),
        "ReLU": (at_start(activation="relu"), d.BLUE, True),
        "sigmoid + BatchNorm": (at_start(normalization="batch"), d.GREEN, False),
        "ReLU, He": (at_start(activation="relu", initialization="he"), d.BLACK, False),
    }
    ends, deepest = [], 1
    axes.set_yscale("log")
    for name, (overrides, color, predicted) in networks.items():
        columns = _by_layer(results, overrides)
        deepest = max(deepest, len(columns))
        layers = np.arange(1.0, len(columns) + 1)
        shown = plots.draw_line(axes, layers, columns, name, color, scale=plots.LOG)
        ends += d.last_end(shown, name, color, index=0)
        if predicted and columns:
            rate = np.nanmean(plots.column(results, overrides, "predicted_decades_per_layer").values)
            line = shown.mean[-1] * 10 ** (rate * (layers[-1] - layers))
            axes.plot(layers, line, ":", color=d.BLACK, linewidth=2.2, gid=f"theory/{name}")
    axes.set(
        xlabel="hidden layer (1: nearest the input, last: nearest the supervision)",
        ylabel=r"gradient $\delta_a$ (RMS, per sample)",
    )
    # Room on the left for the names of the lines.
    axes.set_xlim(1 - 0.27 * deepest, deepest + 0.3)
    axes.set_xticks(range(1, deepest + 1))
    d.label_ends(axes, ends, side=-1)
    axes.text(0.98, 0.05, "dotted: mean-field theory", ha="right", transform=axes.transAxes)
    seeds = plots.count_seeds(results, (overrides for overrides, *_ in networks.values()))
    return Drawing(
        figure,
        Words("The gradient by layer, before training", "Le gradient par couche, avant l'apprentissage"),
        Words(
            f"δ = ∂L/∂a at step 0: geometric mean over seeds ({seeds}); band: 95 % Student interval of log₁₀ δ, often "
            "narrower than the line. Dotted: mean-field theory, from the last layer on.",
            f"δ = ∂L/∂a au pas 0 : moyenne géométrique sur les graines ({seeds}) ; bande : intervalle de Student à "
            "95 % de log₁₀ δ, souvent plus étroite que le trait. Pointillés : théorie de champ moyen.",
        ),
    )


def _by_layer(results: Results, overrides: Overrides) -> list[plots.Column]:
    """delta_a at step 0 of each layer that the runs have."""
    names = sorted(name for name in results.frame.columns if name.startswith("initial/gradient/delta_a/"))
    columns = [plots.column(results, overrides, name) for name in names]
    return [one for one in columns if np.isfinite(one.values).any()]


def decay_against_depth(results: Results) -> Drawing:
    """Decades lost between the last layer and the first by depth; the factor per layer of every initialisation."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    ends, counts = [], []
    for activation in ("sigmoid", "relu"):
        name, color = NAMES[activation], COLORS[activation]
        rows = _rows_by_depth(results, activation)
        measured, predicted = (_decades(rows, f"{kind}_decades_per_layer") for kind in ("delta", "predicted"))
        left.plot(predicted.x, predicted.mean, ":", color=d.BLACK, linewidth=2.2, gid=f"theory/{name}")
        left.plot(measured.x, measured.mean, "o", color=color, gid=f"decades/{name}")
        left.vlines(measured.x, measured.low, measured.high, color=color, linewidth=3, gid=f"decades interval/{name}")
        ends += d.last_end(measured, name, color)
        counts += [len(some) for some in rows.values()]
    left.set(xlabel="depth (hidden layers)", ylabel=r"$\log_{10}$ ($\delta$ first layer / $\delta$ last layer)")
    left.locator_params(axis="x", integer=True)
    d.label_ends(left, ends)
    left.text(0.04, 0.05, "dotted, and ticks:\nmean-field theory", transform=left.transAxes)
    counts += _draw_factors(right, results)
    seeds = d.count_words(counts)
    return Drawing(
        figure,
        Words("The rate of decay, and what theory predicts", "Le taux de décroissance, et ce que prédit la théorie"),
        Words(
            f"Left: decades of δ from the last hidden layer to the first. Right: factor by which δ changes per layer. "
            f"Mean over seeds ({seeds}); bars: 95 % Student interval, often narrower than the dot. Dotted line and "
            "vertical ticks: mean-field theory.",
            "À gauche : décades de δ de la dernière couche cachée à la première. À droite : facteur par couche. "
            f"Moyenne sur les graines ({seeds}) ; barres : intervalle de Student à 95 %. Pointillés, traits : théorie.",
        ),
    )


def _rows_by_depth(results: Results, activation: str) -> dict[int, pd.DataFrame]:
    """Rows of results.csv of the depths of the grid."""
    plain = results.plan.grid.condition(at_start(activation=activation)).overrides
    rows = {}
    for condition in results.plan.grid.conditions:
        found = {int(run.settings["depth"]) for run in results.runs if run.condition == condition}
        if {k: v for k, v in condition.overrides.items() if k != "depth"} == plain and found:
            rows[found.pop()] = rows_of(results, condition.overrides)
    return dict(sorted(rows.items()))


def _decades(rows: Mapping[int, pd.DataFrame], measure: str) -> MeanInterval:
    """Decades between the last layer and the first, by depth, from a measure per layer."""
    return plots.summary(
        list(rows), [plots.Column(measure, "", (depth - 1) * values_of(some, measure)) for depth, some in rows.items()]
    )


def _draw_factors(axes: Axes, results: Results) -> list[int]:
    """Measured and predicted factor per layer of 4 activations × 3 initialisations; returns n of each."""
    rows = {
        f"{NAMES[activation]}, {INITIALIZATIONS[initialization]}": (
            at_start(activation=activation, initialization=initialization),
            color,
        )
        for activation, color in COLORS.items()
        for initialization in INITIALIZATIONS
    }
    plots.draw_rows(axes, results, rows, "delta_decades_per_layer", plots.POWER_OF_10, linewidth=3)
    for y, (name, (overrides, _)) in enumerate(rows.items()):
        predicted = plots.column(results, overrides, "predicted_decades_per_layer")
        theory_at = plots.summary([y], [predicted], plots.POWER_OF_10).mean
        axes.plot(theory_at, y, "|", color=d.BLACK, markersize=24, markeredgewidth=2.2, gid=f"theory/{name}")
    plots.name_rows(axes, rows)
    axes.set(xlabel="factor per layer (1 = δ keeps its size)", xlim=(0, None))
    axes.axvline(1.0, color=d.GREY, linewidth=1.2)
    return [len(rows_of(results, overrides)) for overrides, _ in rows.values()]


def activation_functions(results: Results) -> Drawing:
    """Each non-linearity and its derivative, above the pre-activations that the network really has."""
    figure = d.new_figure()
    grid = figure.subplots(2, 2, sharex=True, height_ratios=[1.25, 1])
    edges = HISTOGRAM_EDGES.numpy().astype(float)
    a = np.linspace(edges[0], edges[-1], 801)
    counts: list[int] = []
    names = {
        "sigmoid": ((2.6, 0.82, "σ(a)"), (1.9, 0.2, "σ′(a) ≤ ¼")),
        "relu": ((-0.6, 3.2, "ReLU(a)"), (3.0, 1.15, "derivative: 0 or 1")),
    }
    for (above, below), (activation, texts), top in zip(grid.T, names.items(), (1.1, 4.4), strict=True):
        function, slope = theory.FUNCTIONS[activation]
        above.plot(a, function(a), color=COLORS[activation], gid=f"function/{activation}")
        above.plot(a, slope(a), "--", color=d.BLACK, gid=f"derivative/{activation}")
        above.set(ylim=(-0.05 * top, top), title=NAMES[activation])
        for (x, y, text), color in zip(texts, (COLORS[activation], d.BLACK), strict=True):
            above.text(x, y, text, color=color)
        counts += _draw_histograms(below, results, activation, edges)
        below.set(xlabel="pre-activation a", ylim=(0, None))
    grid[1, 0].set_ylabel("share per bin of 0.5")
    seeds = d.count_words(counts)
    return Drawing(
        figure,
        Words("The non-linearity, and where the network uses it", "La non-linéarité, et où le réseau s'en sert"),
        Words(
            "Below: pre-activations of all hidden layers on the first training batch, mean share over seeds "
            f"({seeds}, no interval); values beyond ±8 are counted in the end bins. Bars: PyTorch's default "
            "initialisation, depth 10. Line: weights ten times as large, depth 1: saturated.",
            f"En bas : pré-activations de toutes les couches cachées sur le premier lot, part moyenne sur les graines "
            f"({seeds}) ; au-delà de ±8, comptées aux extrémités. Barres : initialisation par défaut, profondeur 10. "
            "Trait : poids dix fois plus grands, profondeur 1, saturée.",
        ),
    )


def _draw_histograms(axes: Axes, results: Results, activation: str, edges: Floats) -> list[int]:
    shown = {"default": at_start(activation=activation), "×10": at_start(activation=activation, depth=1, gain=10.0)}
    counts = []
    for name, overrides in shown.items():
        rows = rows_of(results, overrides)
        columns = [f"initial/activation/histogram/bin_{index:02d}" for index in range(len(edges) - 1)]
        shares = mean_and_interval(edges[:-1], np.array([values_of(rows, name) for name in columns])).mean
        counts.append(len(rows))
        if name == "default":
            bars = axes.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=COLORS[activation], alpha=0.5)
            for index, bar in enumerate(bars):
                bar.set_gid(f"share/{activation}/{index:02d}")
        else:
            axes.stairs(shares, edges, color=d.BLACK, linewidth=2, gid=f"share/{activation}/×10")
    axes.text(1.4, 0.8, "default", color=COLORS[activation], transform=axes.get_xaxis_transform())
    axes.text(3.0, 0.3, "weights × 10", color=d.BLACK, transform=axes.get_xaxis_transform())
    return counts


def learning_curves(results: Results) -> Drawing:
    """Validation accuracy of everything that was trained: by depth, and what rescues the deep sigmoid network."""
    panels = []
    for depth in DEPTHS:
        curves = [
            Curve(NAMES[a], results.of({"activation": a, "depth": depth}), COLORS[a]) for a in ("sigmoid", "relu")
        ]
        curves += [
            Curve(OWN_NAMES[a], results.of({**OWN[a], "depth": depth}), COLORS[a], dashed=True)
            for a in ("sigmoid", "relu")
        ]
        panels.append(Panel(f"Depth {depth}", curves))
    rescued = [Curve(name, results.of(overrides), color) for name, (overrides, color) in REMEDIES.items()]
    panels.append(Panel("Depth 8, sigmoid", [Curve("sigmoid", results.of({}), d.VERMILLION), *rescued]))
    drawing = core.learning_curves(results, panels)
    caption = Words(
        f"{drawing.caption.en} Solid: PyTorch's default initialisation, one learning rate. Dashed: each with its own "
        "initialisation, and a learning rate chosen on validation loss.",
        f"{drawing.caption.fr} Traits pleins : initialisation par défaut, un même pas. Tirets : chacune avec "
        "son initialisation et un pas choisi sur l'erreur de validation.",
    )
    return replace(drawing, caption=caption)


def left_plateau_share(results: Results) -> Drawing:
    """Share of the seeds whose network learned at all, by condition."""
    rows: dict[str, tuple[Overrides, str]] = {}
    for activation in ("sigmoid", "relu"):
        color = COLORS[activation]
        rows |= {f"{NAMES[activation]}, depth {k}": ({"activation": activation, "depth": k}, color) for k in DEPTHS}
        rows |= {f"{OWN_NAMES[activation]}, depth {k}": ({**OWN[activation], "depth": k}, color) for k in DEPTHS}
    rows |= {f"sigmoid {name}, depth 8": (overrides, d.VERMILLION) for name, (overrides, _) in REMEDIES.items()}
    figure = d.new_figure()
    axes = figure.subplots()
    for y, (name, (overrides, color)) in enumerate(rows.items()):
        # As the claims count: a run that diverged has not left the plateau.
        plots.draw_share(axes, y, plots.column(results, overrides, "left_plateau", if_diverged=0.0), name, color)
    plots.name_rows(axes, rows)
    axes.axvline(0.5, color=d.GREY, linewidth=1.2, linestyle=":")
    axes.set(xlim=(-0.02, 1.02), xlabel="share of seeds that left the plateau")
    seeds = plots.count_seeds(results, (overrides for overrides, _ in rows.values()))
    return Drawing(
        figure,
        Words("Which networks learn at all", "Quels réseaux apprennent"),
        Words(
            f"A network has left the plateau if it classifies more than half of its training samples right in the last "
            f"epoch; one that diverged has not. Seeds: {seeds}; bars: 95 % Wilson interval.",
            f"Un réseau a quitté le plateau s'il classe bien plus de la moitié de ses exemples à la dernière époque ; "
            f"celui qui diverge ne l'a pas quitté. Graines : {seeds} ; barres : intervalle de Wilson à 95 %.",
        ),
    )
