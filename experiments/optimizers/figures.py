"""What a teacher shows about the variants: what each gains, how the loss falls, and how much the rate matters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.core.definitions import Overrides
from experiments.core.files import run_directory
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.optimizers.measures import LEAD

SGD: Overrides = {"lr": "tuned"}
DECAYED: Overrides = {"lr": "tuned", "config": "decayed"}


# Momentum methods, methods that divide by a mean of squared gradients, and variants of Adam.
VARIANTS: plots.Styled = {
    "momentum": ({"momentum": 0.9}, d.BLUE),
    "Nesterov": ({"momentum": 0.9, "nesterov": True}, d.BLUE),
    "Adagrad": ({"optimizer": "adagrad"}, d.GREEN),
    "Adadelta": ({"optimizer": "adadelta"}, d.GREEN),
    "RMSprop": ({"optimizer": "rmsprop"}, d.GREEN),
    "Adam": ({"optimizer": "adam"}, d.VERMILLION),
    "Adamax": ({"optimizer": "adamax"}, d.VERMILLION),
    "NAdam": ({"optimizer": "nadam"}, d.VERMILLION),
    "AMSGrad": ({"optimizer": "amsgrad"}, d.VERMILLION),
    "AdamW": ({"optimizer": "adamw"}, d.VERMILLION),
    "RAdam": ({"optimizer": "radam"}, d.VERMILLION),
}
PLAIN: plots.Styled = {"plain descent": ({}, d.BLACK)}
ALSO_DECAYED = ("momentum", "Adam")


def final_losses(results: Results) -> Drawing:
    """The training loss of every variant minus that of plain descent, on either budget."""
    figure = d.new_figure()
    axes = figure.subplots()
    counts = []
    for y, (name, (overrides, color)) in enumerate(VARIANTS.items()):
        for plain, fill, shift in ((SGD, "full", 0.0), (DECAYED, "none", 0.3)):
            if plain is SGD or name in ALSO_DECAYED:
                found = plots.difference(results, {**plain, **overrides}, plain, "final_loss")
                plots.draw_row(axes, y + shift, found, name, color, fill=fill, linewidth=3)
                counts.append(len(found.values))
    plots.name_rows(axes, VARIANTS)
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


def loss_curves(results: Results) -> Drawing:
    """The training loss over the steps of both budgets."""
    figure = d.new_figure()
    panels = {
        "200 steps, constant rate": (SGD, ("momentum", "RMSprop", "Adam")),
        "400 steps, rate falling to zero": (DECAYED, ALSO_DECAYED),
    }
    counts = []
    for axes, (title, (plain, names)) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        ends = []
        for name, (overrides, color) in {**PLAIN, **{name: VARIANTS[name] for name in names}}.items():
            runs = results.of({**plain, **overrides})
            ends += plots.draw_curve(axes, runs, "sample/loss", name, color)
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
    grid = figure.subplots(3, 4, sharey=True)
    for axes, (name, (overrides, color)) in zip(grid.flat, {**PLAIN, **VARIANTS}.items(), strict=True):
        rows = table[table["condition"] == results.plan.grid.condition({**SGD, **overrides}).name]
        axes.set(xscale="log", title=name, ylim=(0.4, 1.2))
        axes.plot(rows["lr"], rows["score"], "o-", color=color, markersize=7, gid=f"trials/{name}")
        best = rows[rows["chosen"] == 1]
        axes.plot(best["lr"], best["score"], "o", color=color, markersize=16, fillstyle="none", gid=f"best/{name}")
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
    """Condition, lr, score and whether it was chosen, of every trial that did not diverge."""
    path = results.plan.directory / run_directory.TUNING
    if not path.is_file():
        return pd.DataFrame(columns=["condition", "lr", "score", "chosen"])
    table = pd.read_csv(path).rename(columns={"val/loss": "score"})
    return table[np.isfinite(table["score"])]
