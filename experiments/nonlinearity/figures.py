"""What a teacher shows of non-linearity: the regions that networks draw, as they form, and what they get right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.image import AxesImage
from matplotlib.text import Text
from torch import Tensor, nn

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import rows_of, values_of
from experiments.core.training import rebuild
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats

MODELS: dict[str, str] = {
    "linear": "linear",
    "identity": "linear ∘ linear",
    "sign": "sign",
    "sign_straight_through": "sign, straight through",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
}
COLORS = {
    **dict.fromkeys(("linear", "identity"), d.GREY),
    **dict.fromkeys(("sign", "sign_straight_through"), d.VERMILLION),
    **dict.fromkeys(("sigmoid", "tanh", "relu"), d.BLUE),
}
DATA = {"": "noisy XOR", "moons": "moons", "circles": "circles"}
STILL = {"linear": "one linear layer", "identity": "linear ∘ linear", "tanh": "tanh between them"}
FILM = {"identity": "linear ∘ linear", "sign": "sign", "tanh": "tanh", "relu": "ReLU"}
WITHOUT_BIAS = ("sigmoid", "tanh", "relu")
WIDTHS = (2, 8)
# Half the side of the square that is drawn, and points along it.
REACH, FINENESS = 2.5, 121
REGIONS = ListedColormap(["#f6d9c6", "#cfe3f1"])
SHOWN_POINTS = 200


class Regions(NamedTuple):
    """What a network decides in the square, at each recorded step: (steps, FINENESS, FINENESS), 0 or 1."""

    steps: list[int]
    decided: Floats


@dataclass(frozen=True)
class Panel:
    """One network of the film."""

    image: AxesImage
    clock: Text
    regions: Regions


def overrides_of(model: str, data: str = "") -> Overrides:
    """The condition of a model, `linear` or an activation, on a data set, "" for the noisy XOR."""
    if model == "linear":
        return {"config": "_".join(word for word in ("linear", data) if word)}
    return {"config": data, "activation": model} if data else {"activation": model}


def regions_of(run: Run, last_only: bool = False) -> Regions:
    """Compute the class that a run's network gives to each point of the square, from its recorded parameters."""
    network: nn.Module = rebuild.network_of(run)
    recorded = rebuild.recorded_weights(run, network)
    steps = list(recorded)[-1:] if last_only else list(recorded)
    line = torch.linspace(-REACH, REACH, FINENESS)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    square = torch.stack([columns.flatten(), rows.flatten()], dim=1)
    decided = [_decide(network, recorded[step], square) for step in steps]
    return Regions(steps, np.array(decided).reshape(len(steps), FINENESS, FINENESS))


def _decide(network: nn.Module, weights: rebuild.Weights, square: Tensor) -> Floats:
    decided: Floats = rebuild.outputs_with(network, weights, square).argmax(dim=1).double().numpy()
    return decided


def boundaries(results: Results) -> Drawing:
    """Regions of one linear layer, of two, and of two with a tanh between them, on the noisy XOR."""
    figure = d.new_figure(5.2)
    grid = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (model, title) in zip(grid, STILL.items(), strict=True):
        runs = results.of(overrides_of(model))
        if runs:
            accuracy = float(np.mean(values_of(rows_of(results, overrides_of(model)), "test/accuracy")))
            title += f": {accuracy:.0%}"
            _draw_square(axes, runs[0], f"regions/{model}", last_only=True)
        axes.set_title(title)
    n = d.count_words(len(results.of(overrides_of(model))) for model in STILL)
    return Drawing(
        figure,
        Words("The boundaries of three networks on a noisy XOR", "Les frontières de trois réseaux sur un XOR bruité"),
        Words(
            "Coloured: the class that the trained network of the first seed gives; points: its test sample. "
            f"Percentages: mean test accuracy over seeds ({n}). Two linear layers draw a line, as one does.",
            "Couleurs : la classe que donne le réseau entraîné de la première graine ; points : son échantillon de "
            f"test. Pourcentages : exactitude de test moyenne ({n}). Deux couches linéaires tracent une droite, "
            "comme une seule.",
        ),
    )


def boundaries_forming(results: Results) -> Drawing:
    """The regions of four networks as training forms them: a film, and its last picture."""
    figure = d.new_figure(4.4)
    grid = figure.subplots(1, len(FILM), sharex=True, sharey=True)
    panels: list[Panel] = []
    for axes, (model, title) in zip(grid, FILM.items(), strict=True):
        axes.set_title(title)
        runs = results.of(overrides_of(model))
        if runs:
            panels.append(_draw_square(axes, runs[0], f"film/{model}"))
    frames = max((len(panel.regions.steps) for panel in panels), default=0)

    def show(frame: int) -> list[AxesImage | Text]:
        for panel in panels:
            at = min(frame, len(panel.regions.steps) - 1)
            panel.image.set_data(panel.regions.decided[at])
            panel.clock.set_text(f"step {panel.regions.steps[at]}")
        return [artist for panel in panels for artist in (panel.image, panel.clock)]

    if frames:
        show(frames - 1)
    return Drawing(
        figure,
        Words("Boundaries as they form", "Les frontières se forment"),
        Words(
            "Eight hidden units on a noisy XOR, first seed: the class that the network gives at the recorded steps, "
            "and its test sample. The first layer below a sign never moves; linear layers never bend.",
            "Huit unités cachées sur un XOR bruité, première graine : la classe que donne le réseau aux pas "
            "enregistrés, et son échantillon de test. Sous un signe, la première couche ne bouge jamais ; le "
            "linéaire ne plie jamais.",
        ),
        # The last picture stays for as long as ten others.
        FuncAnimation(figure, show, frames=[*range(frames), *[frames - 1] * 10]) if frames else None,
    )


def _draw_square(axes: Axes, run: Run, gid: str, last_only: bool = False) -> Panel:
    """Draw what a run's network decides after its last step, and its test sample."""
    regions = regions_of(run, last_only)
    extent = (-REACH, REACH, -REACH, REACH)
    image = axes.imshow(
        regions.decided[-1], origin="lower", extent=extent, cmap=REGIONS, vmin=0, vmax=1, aspect="auto", gid=gid
    )
    x, y = (part[:SHOWN_POINTS].numpy() for part in rebuild.data_of(run).test)
    for label, (color, marker) in enumerate(((d.VERMILLION, "o"), (d.BLUE, "^"))):
        chosen = x[y == label].T
        axes.plot(chosen[0], chosen[1], marker, color=color, markersize=4, gid=f"points/{gid}/{label}")
    clock = axes.text(0.04, 0.95, f"step {regions.steps[-1]}", va="top", fontsize=d.SMALL, transform=axes.transAxes)
    clock.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=(-1, 1), yticks=(-1, 1))
    axes.grid(visible=False)
    return Panel(image, clock, regions)


def accuracy_by_activation(results: Results) -> Drawing:
    """Test accuracy of every model on every data set; on the XOR also without biases."""
    figure = d.new_figure(5.8)
    grid = figure.subplots(1, len(DATA), sharey=True)
    for axes, (data, title) in zip(grid, DATA.items(), strict=True):
        rows = {name: (overrides_of(model, data), COLORS[model]) for model, name in MODELS.items()}
        plots.draw_rows(axes, results, rows, "test/accuracy")
        axes.set_title(title)
        axes.axvline(0.5, color=d.GREY, linewidth=1.2, linestyle=":")
        axes.set(xlim=(0.35, 1.02), xlabel="test accuracy")
    for model in WITHOUT_BIAS:
        shown = plots.column(results, {**overrides_of(model), "bias": False}, "test/accuracy")
        height = list(MODELS).index(model) + 0.3
        plots.draw_row(grid[0], height, shown, f"{MODELS[model]}, no bias", d.ORANGE)
    grid[0].text(0.4, -0.45, "orange: without biases", color=d.BLACK, fontsize=d.SMALL)
    plots.name_rows(grid[0], MODELS.values(), top=-0.8)
    n = plots.count_seeds(results, (overrides_of(model, data) for model in MODELS for data in DATA))
    return Drawing(
        figure,
        Words("What the activation decides", "Ce que décide l'activation"),
        Words(
            f"Eight hidden units (none: linear), 160 steps: mean test accuracy over seeds ({n}) and 95 % Student "
            "interval. Dotted: chance.",
            f"Huit unités cachées (aucune : linear), 160 pas : exactitude de test moyenne sur les graines ({n}) et "
            "intervalle de Student à 95 %. Pointillés : hasard. En orange : sans biais.",
        ),
    )


def hidden_units(results: Results) -> Drawing:
    """Share of the seeds that learned the four points of XOR, by activation and hidden units."""
    figure = d.new_figure(3.8)
    axes = figure.subplots()
    rows: dict[str, Overrides] = {
        f"{MODELS[model]}, {width} hidden units": {"config": "four_points", "activation": model, "width": width}
        for model in ("tanh", "relu")
        for width in WIDTHS
    }
    for y, (name, overrides) in enumerate(rows.items()):
        # As the claims count: a run that diverged has not learned.
        plots.draw_share(axes, y, plots.column(results, overrides, "solved", if_diverged=0.0), name, d.BLUE)
    plots.name_rows(axes, rows)
    axes.axvline(0.75, color=d.GREY, linewidth=1.2, linestyle=":")
    axes.set(xlim=(-0.02, 1.02), xlabel="share of seeds that learned the four points of XOR")
    n = plots.count_seeds(results, rows.values())
    return Drawing(
        figure,
        Words("Two units suffice in principle", "Deux unités suffisent en principe"),
        Words(
            f"Networks that classify all four points of XOR right after 120 steps from a random start; seeds: {n}; "
            "bars: 95 % Wilson interval. Dotted: the claims' three of four.",
            "Réseaux qui classent bien les quatre points de XOR après 120 pas depuis un départ aléatoire ; graines : "
            f"{n} ; barres : intervalle de Wilson à 95 %. Pointillés : trois sur quatre, seuil des affirmations.",
        ),
    )
