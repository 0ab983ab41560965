"""What a teacher shows about clipping: the learning rates it makes possible, what it cuts off, what it does not do."""

from __future__ import annotations

import math

import numpy as np

from experiments.clipping.experiment import MEDIAN, NINTH_DECILE, RATES
from experiments.clipping.measures import BAND, COMPARED_AT
from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import history
from experiments.core.verdicts.results import Results

ARMS = {"unclipped": ("without clipping", d.VERMILLION), "clipped": ("clipped at 1", d.BLUE)}
SHOWN_RATE = 0.1
NO_BOUND = 1.0e30
BOUNDS = {
    NO_BOUND: ("no clipping", d.VERMILLION),
    NINTH_DECILE: (f"at {NINTH_DECILE:g} (90th percentile)", d.SKY),
    MEDIAN: (f"at {MEDIAN:g} (median)", d.BLUE),
}


def arm(config: str, rate: float) -> Overrides:
    """Overrides of the recurrent network with or without clipping, at one learning rate."""
    return {"config": config, "lr": rate}


def bounded(bound: float) -> Overrides:
    """Overrides of the fully connected network whose gradient has at most this norm."""
    return {"config": "fully_connected", "lr": "tuned", "gradient_clip_val": bound}


def failures(results: Results) -> Drawing:
    """Share of the seeds whose training fails, against the learning rate, with and without clipping."""
    figure = d.new_figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    for shift, (config, (name, color)) in zip((0.95, 1.05), ARMS.items(), strict=True):
        # A diverged run has failed, as the claims count.
        found = [plots.column(results, arm(config, rate), "failed", if_diverged=1.0) for rate in RATES]
        plots.draw_shares(axes, [rate * shift for rate in RATES], found, name, color)
    plots.write_names(axes, dict(ARMS.values()), 0.03, 0.92, 0.08)
    axes.set(xlabel="learning rate", ylabel="share of seeds that fail", ylim=(-0.03, 1.03), xlim=(0.006, 16))
    plots.name_ticks(axes, RATES)
    seeds = plots.count_seeds(results, (arm(config, rate) for config in ARMS for rate in RATES))
    return Drawing(
        figure,
        Words("Which learning rates train, with and without clipping", "Les pas qui apprennent, avec et sans écrêtage"),
        Words(
            "Recurrent network (ReLU, 32 steps) on the digits, 120 steps of SGD. Failed: the training loss is no "
            f"better than a guess, or no number. Seeds: {seeds}; bars: 95 % Wilson interval.",
            "Réseau récurrent (ReLU, 32 pas de temps) sur les chiffres, 120 pas de SGD. Échec : le coût "
            f"d'apprentissage ne vaut pas mieux que le hasard, ou n'est plus un nombre. Graines : {seeds} ; barres : "
            "intervalle de Wilson à 95 %.",
        ),
    )


def gradient_norms(results: Results) -> Drawing:
    """The norm of the gradient at every step of one seed, before and after clipping."""
    figure = d.new_figure()
    pair = figure.subplots(1, 2, sharey=True)
    for axes, (config, (name, color)) in zip(pair, ARMS.items(), strict=True):
        axes.set_yscale("log")
        runs = results.of(arm(config, SHOWN_RATE))
        for metric, style, shade in (("before", "-", color), ("after", "--", d.BLACK)):
            rows = [row for row in runs[0].series(f"gradient/norm_{metric}") if math.isfinite(row[2])] if runs else []
            x, y = [row[1] for row in rows], [row[2] for row in rows]
            if metric == "before" or config == "clipped":
                axes.plot(x, y, style, color=shade, gid=f"norm_{metric}/{config}")
        axes.set(title=name, xlabel="step")
    pair[0].set_ylabel("norm of the gradient")
    pair[1].text(0.25, 0.04, "blue: before clipping, dashed: after", transform=pair[1].transAxes)
    first = results.of(arm("unclipped", SHOWN_RATE))[:1]
    seed = f"{first[0].seed}" if first else "none"
    return Drawing(
        figure,
        Words("The norm of the gradient, step by step", "La norme du gradient, pas à pas"),
        Words(
            f"One run a panel, seed {seed}: n = 1, no interval. The same initial weights, data and order, learning "
            f"rate {SHOWN_RATE:g}. A curve that ends has reached a loss that is no number.",
            f"Un calcul par cadre, graine {seed} : n = 1, sans intervalle. Mêmes poids initiaux, données et ordre, "
            f"pas de {SHOWN_RATE:g}. Une courbe qui s'arrête a atteint un coût qui n'est plus un nombre.",
        ),
    )


def regularization(results: Results) -> Drawing:
    """Held-out loss against training loss, and its value at equal training loss, by threshold."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    rows = {name: (bounded(bound), color) for bound, (name, color) in BOUNDS.items()}
    for name, (overrides, color) in rows.items():
        runs = results.of(overrides)
        trained, held_out = history(runs, "train/loss", by="epoch"), history(runs, "val/loss", by="epoch")
        both = np.isin(trained.x, held_out.x)
        left.plot(trained.mean[both], held_out.mean, color=color, gid=f"path/{name}")
    plots.draw_rows(right, results, rows, "val_loss_at_equal_training")
    left.axvspan(*BAND, color="#eeeeee", linewidth=0)
    left.axvline(COMPARED_AT, color=d.GREY, linewidth=1.2, linestyle=":")
    left.invert_xaxis()
    left.set(xlabel="training loss (training goes to the right)", ylabel="held-out loss")
    plots.name_rows(right, rows, top=-0.5, bottom=0.5)
    right.set_xlabel(f"held-out loss at training loss {COMPARED_AT:g}")
    for label, (_, color) in zip(right.get_yticklabels(), BOUNDS.values(), strict=True):
        label.set_color(color)
    seeds = plots.count_seeds(results, map(bounded, BOUNDS))
    return Drawing(
        figure,
        Words("Does clipping regularise?", "L'écrêtage régularise-t-il ?"),
        Words(
            "Fully connected network, 1,000 images of clothes, SGD, each threshold with its own learning rate. Left: "
            f"mean over seeds ({seeds}, no interval), an epoch after the other; the grey band is what the value on "
            "the right is read off. Right: mean; bars: 95 % Student interval.",
            "Réseau fully-connected, 1 000 images de vêtements, SGD, un pas d'apprentissage par seuil. À gauche : "
            f"moyenne sur les graines ({seeds}, sans intervalle), époque après époque ; la bande grise est ce dont "
            "est tirée la valeur de droite. À droite : moyenne ; barres : intervalle de Student à 95 %.",
        ),
    )
