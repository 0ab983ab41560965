"""What a teacher shows about the variants: what each gains, how the loss falls, and how much the rate matters."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.core.definitions import Overrides
from experiments.core.files import run_directory
from experiments.core.report import drawing as d
from experiments.core.report.comparisons import differences
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import band, history
from experiments.core.verdicts.results import Results
from experiments.optimizers.measures import LEAD

SGD: Overrides = {"lr": "tuned"}
DECAYED: Overrides = {"lr": "tuned", "config": "decayed"}


@dataclass(frozen=True)
class Variant:
    """A rule and how it is drawn."""

    overrides: Overrides
    color: str


# Plain descent's own momentum, what divides by a mean of squared gradients, and what was made of Adam.
VARIANTS: Mapping[str, Variant] = {
    "momentum": Variant({"momentum": 0.9}, d.BLUE),
    "Nesterov": Variant({"momentum": 0.9, "nesterov": True}, d.BLUE),
    "Adagrad": Variant({"optimizer": "adagrad"}, d.GREEN),
    "Adadelta": Variant({"optimizer": "adadelta"}, d.GREEN),
    "RMSprop": Variant({"optimizer": "rmsprop"}, d.GREEN),
    "Adam": Variant({"optimizer": "adam"}, d.VERMILLION),
    "Adamax": Variant({"optimizer": "adamax"}, d.VERMILLION),
    "NAdam": Variant({"optimizer": "nadam"}, d.VERMILLION),
    "AMSGrad": Variant({"optimizer": "amsgrad"}, d.VERMILLION),
    "AdamW": Variant({"optimizer": "adamw"}, d.VERMILLION),
    "RAdam": Variant({"optimizer": "radam"}, d.VERMILLION),
}
ALSO_DECAYED = ("momentum", "Adam")


def final_losses(results: Results) -> Drawing:
    """The training loss of every variant minus that of plain descent, on either budget."""
    figure = d.new_figure()
    axes = figure.subplots()
    counts = []
    for y, (name, variant) in enumerate(VARIANTS.items()):
        counts.append(_draw_gain(axes, results, y, name, variant, SGD, "constant"))
        if name in ALSO_DECAYED:
            counts.append(_draw_gain(axes, results, y + 0.3, name, variant, DECAYED, "decayed"))
    axes.set_yticks(range(len(VARIANTS)), list(VARIANTS))
    axes.set_ylim(len(VARIANTS) - 0.4, -0.6)
    axes.axvline(0, color=d.BLACK, linewidth=1.4)
    axes.axvline(-LEAD, color=d.GREY, linewidth=1.4, linestyle=":", gid="threshold")
    axes.set_xlabel("training loss minus that of plain gradient descent (nats)")
    axes.text(0, 1.01, "plain descent", ha="center", fontsize=d.SMALL, transform=axes.get_xaxis_transform())
    axes.text(0, 1.01, "●  200 steps, constant     ○  400 steps, decayed", transform=axes.transAxes)
    seeds = d.count_words(counts)
    return Drawing(
        figure,
        Words("What the variants gain over plain descent", "Ce que les variantes gagnent sur la descente simple"),
        Words(
            f"Difference paired by seed ({seeds}), each with its own tuned learning rate; bars: 95 % Student interval. "
            f"Dotted: the smallest lead that counts, {LEAD:g} nats.",
            f"Différence appariée par graine ({seeds}), chacune avec son taux réglé ; barres : intervalle de Student à "
            f"95 %. Pointillés : la plus petite avance qui compte, {LEAD:g} nat.",
        ),
    )


def _draw_gain(
    axes: Axes, results: Results, y: float, name: str, variant: Variant, plain: Overrides, budget: str
) -> int:
    """Draw one difference to plain descent on a budget; returns n."""
    found = differences(results, {**plain, **variant.overrides}, plain, "final_loss")
    if not len(found):
        return 0
    shown = band([y], found[None])
    axes.hlines(y, shown.low, shown.high, color=variant.color, linewidth=3, gid=f"interval/{budget}/{name}")
    fill = "full" if budget == "constant" else "none"
    axes.plot(shown.mean, y, "o", color=variant.color, fillstyle=fill, markeredgewidth=2, gid=f"mean/{budget}/{name}")
    return len(found)


def loss_curves(results: Results) -> Drawing:
    """The training loss over the steps of both budgets."""
    figure = d.new_figure()
    panels = {
        "constant": ("200 steps, constant rate", SGD, ("momentum", "RMSprop", "Adam")),
        "decayed": ("400 steps, rate falling to zero", DECAYED, ALSO_DECAYED),
    }
    counts = []
    for axes, (budget, (title, plain, names)) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        ends = []
        lines = {"plain descent": Variant({}, d.BLACK), **{name: VARIANTS[name] for name in names}}
        for name, variant in lines.items():
            runs = results.of({**plain, **variant.overrides})
            shown = history(runs, "sample/loss")
            d.draw_band(axes, shown, f"{budget}/{name}", variant.color)
            ends += d.last_end(shown, name, variant.color)
            counts.append(len(runs))
        axes.set(title=title, xlabel="optimiser steps", xlim=(0, None), ylim=(0.2, 1.5))
        d.label_ends(axes, ends)
    figure.axes[0].set_ylabel("training loss (nats)")
    seeds = d.count_words(counts)
    return Drawing(
        figure,
        Words("How the loss falls", "Comment l'erreur diminue"),
        Words(
            f"Cross-entropy on a fixed part of the training samples: mean over seeds ({seeds}); band: 95 % Student "
            "interval. Each with its own tuned learning rate.",
            f"Entropie croisée sur une partie fixe des exemples d'apprentissage : moyenne sur les graines ({seeds}) ; "
            "bande : intervalle de Student à 95 %. Chacune avec son taux réglé.",
        ),
    )


def learning_rates(results: Results) -> Drawing:
    """What tuning saw: the validation loss of every rule against the learning rate."""
    figure = d.new_figure(8.4)
    table = _trials(results)
    shown = {"plain descent": Variant({}, d.BLACK), **VARIANTS}
    grid = figure.subplots(3, 4, sharey=True)
    for axes, (name, variant) in zip(grid.flat, shown.items(), strict=True):
        condition = results.plan.grid.condition({**SGD, **variant.overrides})
        rows = table[table["condition"] == condition.name]
        axes.set(xscale="log", title=name, ylim=(0.4, 1.2))
        axes.plot(rows["lr"], rows["score"], "o-", color=variant.color, markersize=7, gid=f"trials/{name}")
        chosen = rows[rows["chosen"] == 1]
        axes.plot(
            chosen["lr"], chosen["score"], "o", color=variant.color, markersize=16, fillstyle="none", gid=f"best/{name}"
        )
        if len(rows):
            axes.set_xticks(rows["lr"], [f"{rate:g}".removeprefix("0") for rate in rows["lr"]])
            axes.minorticks_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("validation")
    for axes in grid[-1]:
        axes.set_xlabel("learning rate")
    n = len(results.plan.grid.experiment.tuning.seeds) if results.plan.grid.experiment.tuning and len(table) else 0
    return Drawing(
        figure,
        Words("Equal trials for every rule", "Autant d'essais pour chaque règle"),
        Words(
            f"Validation loss after 200 steps at a constant rate, mean over tuning seeds (n = {n}, no interval, other "
            "seeds than the verdicts'); circled: the rate that was chosen. What diverged, or lies above 1.2, is not "
            "shown.",
            f"Erreur de validation après 200 pas à taux constant, moyenne sur les graines de réglage (n = {n}, autres "
            "que celles des verdicts) ; entouré : le taux choisi. Ce qui diverge ou dépasse 1,2 n'est pas montré.",
        ),
    )


def _trials(results: Results) -> pd.DataFrame:
    """Condition, lr, score and whether it was chosen, of every trial; empty where nothing was tuned."""
    path = results.plan.directory / run_directory.TUNING
    columns = ["condition", "lr", "score", "chosen"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[r["condition"], float(r["lr"]), float(r["val/loss"]), int(r["chosen"])] for r in csv.DictReader(file)]
    table = pd.DataFrame(rows, columns=columns)
    return table[np.isfinite(table["score"])]
