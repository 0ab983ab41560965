"""Tables where the network does as well as others, architectures it is part of, images whose order it ignores."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.training.rebuild import data_of
from experiments.core.verdicts.results import Results
from experiments.fully_connected.checks import KINDS

TABLES = {"iris": "iris", "wine": "wine", "breast_cancer": "breast cancer", "digits_table": "digits"}
CLASSIFIERS = {
    "test/accuracy": ("fully connected", d.BLUE, "o"),
    "test_logistic": ("logistic regression", d.BLACK, "D"),
    "test_forest": ("random forest", d.GREEN, "s"),
}
LAYERS = {"linear": "linear", "batch_norm": "BatchNorm", "layer_norm": "LayerNorm", "dropout": "dropout"}
COLORS = {"fully connected": d.BLUE, "convolutional": d.VERMILLION}
# The networks for each kind of data, as overrides.
NETWORKS: dict[str, dict[str, Overrides]] = {
    "images": {"fully connected": {}, "convolutional": {"config": "convolutional"}},
    "text": {
        "fully connected": {"config": "text_fully_connected"},
        "convolutional": {"config": "text_convolutional"},
    },
}
# Changes of the samples: overrides of the condition, and the column with its accuracy.
CHANGES: dict[str, tuple[Overrides, str]] = {
    "as they are": ({}, "test/accuracy"),
    "shifted by 2": ({}, "test/accuracy/shifted=2"),
    "rearranged": ({"permute": True}, "test/accuracy"),
}
SHOWN = 6


def tables(results: Results) -> Drawing:
    """Test accuracy of the network and of two classifiers of scikit-learn on every table."""
    figure = d.new_figure(6.6)
    axes = figure.subplots()
    for y, (config, name) in enumerate(TABLES.items()):
        for place, (measure, (who, color, marker)) in enumerate(CLASSIFIERS.items()):
            shown = plots.column(results, {"config": config}, measure)
            plots.draw_row(axes, y + 0.24 * (place - 1), shown, f"{name}, {who}", color, marker=marker)
    plots.name_rows(axes, TABLES.values())
    axes.set(xlim=(None, 1.005), xlabel="accuracy on the test sample")
    _name_colors(axes, {who: color for who, color, _ in CLASSIFIERS.values()})
    n = plots.count_seeds(results, ({"config": config} for config in TABLES))
    return Drawing(
        figure,
        Words("Small tables: as good as the usual ones", "Petites tables : aussi bon que les classiques"),
        Words(
            f"● network of 64 units, ◆ logistic regression, ■ random forest on the same splits: mean over seeds ({n}) "
            "and 95 % Student interval. Splits of one table overlap; the verdicts allow for that, these bars do not.",
            f"● réseau de 64 unités, ◆ régression logistique, ■ forêt aléatoire sur les mêmes découpages : moyenne sur "
            f"les graines ({n}) et intervalle de Student à 95 %. Les découpages d'une table se recouvrent ; les "
            "verdicts en tiennent compte, ces barres non.",
        ),
    )


def families(results: Results) -> Drawing:
    """Which kinds of layers each family of torchvision's classifiers contains."""
    checks = results.checks.get("torchvision_layers", [])
    found = checks[0].recorded if checks else {}
    names = sorted(key.partition("/")[2] for key in found if key.startswith("linear/"))
    figure = d.new_figure(7.8)
    axes = figure.subplots()
    for y, kind in enumerate(KINDS):
        has = np.array([found[f"{kind}/{name}"] for name in names])
        color = d.BLUE if kind == "linear" else d.GREY
        axes.plot(np.flatnonzero(has == 1), np.full(int(has.sum()), y), "o", color=color, gid=f"has/{kind}")
        axes.plot(
            np.flatnonzero(has == 0), np.full(int((1 - has).sum()), y), "x", color=d.VERMILLION, gid=f"lacks/{kind}"
        )
        d.write_beside(axes, y, f"{int(has.sum())} of {len(has)}")
    axes.set_yticks(range(len(KINDS)), [LAYERS[kind] for kind in KINDS])
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], rotation=60, ha="right")
    axes.set_ylim(len(KINDS) - 0.4, -0.6)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    return Drawing(
        figure,
        Words("A part of almost every architecture", "Une partie de presque toutes les architectures"),
        Words(
            f"Families of image classifiers in torchvision (n = {len(names)}, all of them), each by its smallest "
            "member: ● contains such a layer, ✕ does not.",
            f"Familles de classifieurs d'images de torchvision (n = {len(names)}, toutes), chacune par son plus petit "
            "membre : ● contient une telle couche, ✕ non.",
        ),
    )


def structure(results: Results) -> Drawing:
    """What shifting and rearranging images and texts costs either network, at equal parameters."""
    figure = d.new_figure()
    panels = figure.subplots(1, len(NETWORKS))
    for axes, (kind, networks) in zip(panels, NETWORKS.items(), strict=True):
        for place, (name, overrides) in enumerate(networks.items()):
            for x, (change, (more, measure)) in enumerate(CHANGES.items()):
                shown = plots.column(results, {**overrides, **more}, measure)
                label = f"{kind}, {name}, {change}"
                plots.draw_points(axes, [x + 0.1 * (2 * place - 1)], [shown], label, COLORS[name], linewidth=2.6)
        axes.axhline(0.1, color=d.GREY, linewidth=1.6, linestyle=":")
        axes.set_xticks(range(len(CHANGES)), list(CHANGES))
        axes.set(title=kind, xlim=(-0.5, len(CHANGES) - 0.5), ylim=(0, 1))
        axes.grid(visible=False, axis="x")
    _name_colors(panels[0], COLORS)
    panels[0].set_ylabel("accuracy on the test sample")
    everything = [o for networks in NETWORKS.values() for o in networks.values()]
    n = plots.count_seeds(results, ({**o, **more} for o in everything for more, _ in CHANGES.values()))
    return Drawing(
        figure,
        Words("Blind to neighbourhood", "Aveugle au voisinage"),
        Words(
            f"Networks of equal parameters, on images of clothes and on windows of text: mean over seeds ({n}) and "
            "95 % Student interval. Shifted: test samples only. Rearranged: all samples, alike, before training. "
            "Dotted: chance.",
            f"Réseaux au même nombre de paramètres, sur des images de vêtements et des fenêtres de texte : moyenne "
            f"sur les graines ({n}) et intervalle de Student à 95 %. Décalé : en test seulement. Réarrangé : partout "
            "de la même façon, avant l'apprentissage. Pointillés : le hasard.",
        ),
    )


def examples(results: Results) -> Drawing:
    """Show images as they are, shifted, and rearranged: the last are as good as the first to one of the networks."""
    figure = d.new_figure(6.4)
    grid = figure.subplots(len(CHANGES), SHOWN)
    for line, (change, (overrides, column)) in zip(grid, CHANGES.items(), strict=True):
        runs = results.of(overrides)
        images = data_of(runs[0]).test[0][:SHOWN, 0] if runs else None
        for place, axes in enumerate(line):
            axes.set_xticks([])
            axes.set_yticks([])
            if images is not None:
                image = images[place].roll(2, 1) if column.endswith("shifted=2") else images[place]
                axes.imshow(image.numpy(), cmap="gray_r", gid=f"image/{change}/{place}")
        line[0].set_ylabel(change)
    return Drawing(
        figure,
        Words("What the networks are given", "Ce que reçoivent les réseaux"),
        Words(
            "Test images of the first seed (n = 1). Shifted: by two pixels, here to the right. Rearranged: alike in "
            "every image.",
            "Images de test de la première graine (n = 1). Décalées de deux pixels, ici vers la droite ; réarrangées "
            "partout de la même façon.",
        ),
    )


def _name_colors(axes: Axes, colors: dict[str, str]) -> None:
    """Write names in their colours into the lower left of the axes."""
    plots.write_names(axes, colors, 0.03, 0.04 + 0.07 * (len(colors) - 1), 0.07)
