"""What a teacher shows about over-fitting: training and held-out curves by depth, and what depth alone does."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, End, Words
from experiments.core.verdicts.results import Results
from experiments.overfitting.experiment import AS_MANY_PARAMETERS, DEPTHS

COLORS = {1: d.BLUE, 4: d.GREEN, 8: d.VERMILLION, 16: d.ORANGE}
NOISES = {"true labels": 0.0, "20 % label noise": 0.2}
LAYERS = {1: "1 layer", 4: "4 layers", 8: "8 layers", 16: "16 layers"}
QUANTITIES = {"loss": "cross-entropy", "accuracy": "accuracy"}
STAGES = (("final_test", "last weights", d.VERMILLION), ("test", "early stopped", d.BLUE))
# The loss of a deep network exceeds the range of the others.
LARGEST_LOSS = 3.0


def at_depth(depth: int, noise: float) -> Overrides:
    """Overrides of a condition: with label noise each depth has its own learning rate."""
    if noise:
        return {"depth": depth, "lr": "tuned"}
    return {"config": "true_labels", "depth": depth}


def depths_of(results: Results) -> list[int]:
    """Depths that the grid of this scale has."""
    return [*DEPTHS, *(depth for depth in COLORS if depth not in DEPTHS and results.of(at_depth(depth, 0.2)))]


def curves_by_depth(results: Results) -> Drawing:
    """Loss and accuracy by epoch, on training and on validation samples, with true and with noisy labels."""
    figure = d.new_figure(10.5)
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    depths = depths_of(results)
    runs = {noise: {depth: results.of(at_depth(depth, noise)) for depth in depths} for noise in NOISES.values()}
    names: list[tuple[Axes, list[End]]] = []
    for column, (title, noise) in zip(grid.T, NOISES.items(), strict=True):
        for axes, quantity in zip(column, QUANTITIES, strict=True):
            ends = []
            for depth, found in runs[noise].items():
                ends += _draw_both_stages(axes, found, quantity, LAYERS[depth], COLORS[depth])[1]
            axes.set_ylim(0, LARGEST_LOSS if quantity == "loss" else 1.02)
            names.append((axes, ends))
        column[0].set_title(title)
        column[1].set(xlabel="epoch", xlim=(0, None))
    for axes, label in zip(grid[:, 0], QUANTITIES.values(), strict=True):
        axes.set_ylabel(label)
    _write_names(names)
    grid[0, 0].text(0.03, 0.9, "solid: validation   dashed: training", transform=grid[0, 0].transAxes)
    seeds = d.count_words(len(found) for some in runs.values() for found in some.values())
    return Drawing(
        figure,
        Words("Over-fitting by depth", "Sur-apprentissage selon la profondeur"),
        Words(
            f"Mean over seeds ({seeds}); bands: 95 % Student interval. 1,000 training images; training curves are on "
            "the labels that are learnt, validation curves on true labels. Right: a fifth of the training labels "
            "drawn at random, each depth with its own learning rate chosen on validation; left: learning rate 0.001.",
            f"Moyenne sur les graines ({seeds}) ; bandes : intervalle de Student à 95 %. 1 000 images ; les courbes "
            "d'apprentissage portent sur les étiquettes apprises, celles de validation sur les vraies. À droite : un "
            "cinquième des étiquettes tirées au hasard, un pas par profondeur choisi sur la validation ; à gauche : "
            "0,001.",
        ),
    )


def overfitting_by_depth(results: Results) -> Drawing:
    """Test loss and accuracy against depth: of the weights that validation chose, and of the last ones."""
    depths = depths_of(results)
    figure = d.new_figure(10.5)
    grid = figure.subplots(2, 2, sharex="col", sharey="row")
    names: list[tuple[Axes, list[End]]] = []
    for column, (title, noise) in zip(grid.T, NOISES.items(), strict=True):
        for axes, quantity in zip(column, QUANTITIES, strict=True):
            ends = []
            for stage, label, color in STAGES:
                columns = [plots.column(results, at_depth(depth, noise), f"{stage}/{quantity}") for depth in depths]
                ends += d.last_end(plots.draw_points(axes, depths, columns, label, color, style="o-"), label, color)
            axes.set_xticks(depths)
            axes.margins(y=0.15)
            names.append((axes, ends))
        column[0].set_title(title)
        column[1].set_xlabel("hidden layers")
    for axes, label in zip(grid[:, 0], ("test cross-entropy", "test accuracy"), strict=True):
        axes.set_ylabel(label)
    _write_names(names)
    seeds = plots.count_seeds(results, (at_depth(depth, noise) for depth in depths for noise in NOISES.values()))
    return Drawing(
        figure,
        Words("What training on costs, by depth", "Ce que coûte de continuer, selon la profondeur"),
        Words(
            f"The same runs and the same test images: weights with the smallest validation loss, and weights of "
            f"the last step. Mean over seeds ({seeds}); bars: 95 % Student interval.",
            "Mêmes calculs, mêmes images de test : poids de plus petit coût de validation, et poids du dernier pas. "
            f"Moyenne sur les graines ({seeds}) ; barres : intervalle de Student à 95 %.",
        ),
    )


def width_control(results: Results) -> Drawing:
    """What training on costs one layer, one layer with as many parameters as eight, and eight layers."""
    networks: plots.Styled = {
        "1 layer of 128": (at_depth(1, 0.2), COLORS[1]),
        f"1 layer of {AS_MANY_PARAMETERS}": ({**at_depth(1, 0.2), "width": AS_MANY_PARAMETERS}, d.SKY),
        "8 layers of 128": (at_depth(8, 0.2), COLORS[8]),
    }
    figure = d.new_figure(5.0)
    pair = figure.subplots(1, 2, sharey=True)
    for axes, quantity, label in zip(pair, QUANTITIES, QUANTITIES.values(), strict=True):
        plots.draw_rows(axes, results, networks, f"test_{quantity}_excess")
        axes.axvline(0.0, color=d.GREY, linewidth=1.2)
        axes.set_xlabel(f"test {label}: last − early stopped")
    plots.name_rows(pair[0], networks, top=-0.5, bottom=0.5)
    seeds = plots.count_seeds(results, (overrides for overrides, _ in networks.values()))
    return Drawing(
        figure,
        Words("Depth, or only parameters?", "La profondeur, ou seulement les paramètres ?"),
        Words(
            f"20 % label noise, 450 steps, each network with its own learning rate. The one wide layer has 142,012 "
            f"parameters, the eight layers 142,090. Mean over seeds ({seeds}); bars: 95 % Student interval.",
            "20 % d'étiquettes bruitées, 450 pas, un pas d'apprentissage par réseau. La couche large a 142 012 "
            f"paramètres, les huit couches 142 090. Moyenne sur les graines ({seeds}) ; barres : intervalle de "
            "Student à 95 %.",
        ),
    )


def random_labels(results: Results) -> Drawing:
    """Accuracy by epoch of four layers on true labels and on labels all drawn at random."""
    figure = d.new_figure()
    axes = figure.subplots()
    labels: plots.Styled = {
        "true labels": (at_depth(4, 0.0), d.BLUE),
        "random labels": ({"depth": 4, "label_noise": 1.0}, d.VERMILLION),
    }
    ends: list[End] = []
    for name, (overrides, color) in labels.items():
        trained, validated = _draw_both_stages(axes, results.of(overrides), "accuracy", name, color)
        ends += [end._replace(name=f"{name}, training") for end in trained]
        ends += [end._replace(name=f"{name}, validation") for end in validated]
    _mark_chance(axes)
    axes.set(xlabel="epoch", ylabel="accuracy", xlim=(0, None), ylim=(0, 1.02))
    d.label_ends(axes, ends, gap=0.05)
    seeds = plots.count_seeds(results, (overrides for overrides, _ in labels.values()))
    return Drawing(
        figure,
        Words("Labels drawn at random, learnt by heart", "Des étiquettes tirées au hasard, apprises par cœur"),
        Words(
            "Four hidden layers of 128 units, 1,000 images, learning rate 0.001 (after Zhang et al. 2017). Dashed: "
            f"on the labels that are learnt; solid: on true labels. Mean over seeds ({seeds}); bands: 95 % Student "
            "interval.",
            "Quatre couches cachées de 128 unités, 1 000 images, pas de 0,001 (d'après Zhang et al. 2017). Tirets : "
            f"sur les étiquettes apprises ; traits pleins : sur les vraies. Moyenne sur les graines ({seeds}) ; "
            "bandes : intervalle de Student à 95 %.",
        ),
    )


def _draw_both_stages(
    axes: Axes, runs: Sequence[Run], quantity: str, label: str, color: str
) -> tuple[list[End], list[End]]:
    """Draw a quantity by epoch on training samples, dashed, and on validation samples; return the ends of both."""
    trained = plots.draw_curve(axes, runs, f"train/{quantity}", label, color, by="epoch", dashed=True)
    return trained, plots.draw_curve(axes, runs, f"val/{quantity}", label, color, by="epoch")


def _write_names(names: Sequence[tuple[Axes, list[End]]]) -> None:
    """Write the names of all lines of a figure whose panels share their limits, which are final only now."""
    for axes, ends in names:
        d.label_ends(axes, ends)


def _mark_chance(axes: Axes) -> None:
    axes.axhline(0.1, color=d.GREY, linewidth=1.2, linestyle=":")
    axes.text(30.0, 0.04, "a guess", color=d.GREY, clip_on=True)
