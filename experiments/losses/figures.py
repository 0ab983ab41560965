"""What a teacher shows about the losses of a classifier: how fast each learns, and where its gradient goes."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes

from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.losses import checks

COLORS = {"cross_entropy": d.BLUE, "sigmoid_mse": d.VERMILLION, "softmax_mse": d.GREEN, "linear_mse": d.BLACK}
NAMES = {
    "cross_entropy": "cross-entropy",
    "sigmoid_mse": "sigmoid + MSE",
    "softmax_mse": "softmax + MSE",
    "linear_mse": "linear + MSE",
}
ACCURACY = "val/accuracy"


def of_loss(loss: str, **overrides: str | float) -> Overrides:
    """Overrides of a condition with a loss: cross-entropy is the base's own."""
    return overrides if loss == "cross_entropy" else {"config": loss, **overrides}


def learning_curves(results: Results) -> Drawing:
    """Validation accuracy against steps, each loss with its own learning rate: SGD, and Adam."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    with_sgd: plots.Styled = {NAMES[loss]: (of_loss(loss, lr="tuned"), COLORS[loss]) for loss in COLORS}
    with_adam: plots.Styled = {
        NAMES["cross_entropy"]: ({"config": "adam", "lr": "tuned"}, COLORS["cross_entropy"]),
        NAMES["sigmoid_mse"]: ({"config": "adam_sigmoid_mse", "lr": "tuned"}, COLORS["sigmoid_mse"]),
    }
    _draw_curves(left, results, with_sgd)
    _draw_curves(right, results, with_adam)
    left.set(ylabel="validation accuracy", title="SGD with momentum")
    right.set_title("Adam")
    seeds = plots.count_seeds(results, (o for o, _ in (*with_sgd.values(), *with_adam.values())))
    return Drawing(
        figure,
        Words("Accuracy against steps, by loss", "Exactitude selon les pas, par coût"),
        Words(
            f"Mean over seeds ({seeds}); band: 95 % Student interval. Each loss with its own learning rate, chosen on "
            "validation among three, which then falls linearly to 0. MSE: squared distance to the one-hot vector, "
            "summed over the outputs.",
            f"Moyenne sur les graines ({seeds}) ; bande : intervalle de Student à 95 %. Chaque coût avec son propre "
            "pas, choisi parmi trois sur la validation, puis linéaire jusqu'à 0. MSE : distance au carré au vecteur "
            "one-hot, sommée sur les sorties.",
        ),
    )


def saturated_start(results: Results) -> Drawing:
    """The same networks from an ordinary start, and from output weights thirty times as large."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    losses = ("cross_entropy", "softmax_mse", "sigmoid_mse")
    for axes, gain, title in ((left, 1.0, "ordinary start"), (right, 30.0, "output weights × 30: sure, and wrong")):
        _draw_curves(axes, results, {NAMES[loss]: (of_loss(loss, output_gain=gain), COLORS[loss]) for loss in losses})
        axes.set_title(title)
    left.set_ylabel("validation accuracy")
    seeds = plots.count_seeds(results, (of_loss(loss, output_gain=gain) for loss in losses for gain in (1.0, 30.0)))
    return Drawing(
        figure,
        Words("A start that is sure of itself", "Un départ sûr de lui"),
        Words(
            f"Mean over seeds ({seeds}); band: 95 % Student interval. SGD with one learning rate, 0.01, falling "
            "linearly to 0. The same initial weights on both sides, but for the factor of the output layer's.",
            f"Moyenne sur les graines ({seeds}) ; bande : intervalle de Student à 95 %. SGD, un même pas de 0,01, "
            "linéaire jusqu'à 0. Mêmes poids initiaux des deux côtés, au facteur près de la couche de sortie.",
        ),
    )


def _draw_curves(axes: Axes, results: Results, shown: plots.Styled) -> None:
    ends = []
    for name, (overrides, color) in shown.items():
        ends += plots.draw_curve(axes, results.of(overrides), ACCURACY, name, color)
    axes.set(xlabel="steps", xlim=(0, None), ylim=(0, 1))
    d.label_ends(axes, ends)


def wrong_gradient(results: Results) -> Drawing:
    """The gradient at an output that is sure of itself and wrong, against how sure, with the closed form."""
    figure = d.new_figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    ends = []
    for loss, color in COLORS.items():
        fine = np.linspace(checks.MARGINS[0], checks.MARGINS[-1], 201)
        axes.plot(fine, _theory(loss, fine), ":", color=d.BLACK, linewidth=2.2, gid=f"theory/{loss}")
        measured = [plots.check_column(results, "wrong_gradient", f"{loss}_m{m:02d}") for m in checks.MARGINS]
        shown = plots.draw_points(axes, checks.MARGINS, measured, NAMES[loss], color, bars=False)
        ends += d.last_end(shown, NAMES[loss], color)
    axes.set(
        xlabel="how sure: wrong logit m, target's logit −m",
        ylabel="gradient on these two logits",
        xlim=(-0.5, checks.MARGINS[-1] + 0.5),
    )
    d.label_ends(axes, ends)
    axes.text(0.03, 0.05, "dotted: closed form, by hand", transform=axes.transAxes)
    return Drawing(
        figure,
        Words("The gradient where the network is sure and wrong", "Le gradient là où le réseau est sûr et se trompe"),
        Words(
            "Norm of the gradient of one sample's loss in the wrong logit and the target's; the other eight are 0. "
            "Dots: autograd through the losses that train here (no randomness, hence no interval). Cross-entropy "
            "keeps √2; behind a sigmoid or a softmax, the squared distance loses a factor e a unit; without them it "
            "grows.",
            "Norme du gradient du coût d'un exemple selon le logit faux et celui de la cible ; les huit autres sont à "
            "0. Points : autograd à travers les coûts utilisés ici (sans hasard, donc sans intervalle). L'entropie "
            "croisée garde √2 ; derrière sigmoïde ou softmax, la distance au carré perd un facteur e par unité.",
        ),
    )


def _theory(loss: str, margins: np.ndarray) -> np.ndarray:
    z = torch.zeros(len(margins), checks.CLASSES, dtype=torch.float64)
    z[:, 0], z[:, 1] = torch.tensor(margins), -torch.tensor(margins)
    labels = torch.ones(len(margins), dtype=torch.int64)
    return np.asarray(checks.closed_form(loss, z, labels)[:, :2].norm(dim=1))


def gradient_share(results: Results) -> Drawing:
    """Share of the gradient that the outputs beside the target get once arg max is right, by number of classes."""
    figure = d.new_figure()
    axes = figure.subplots()
    places, color = range(len(checks.CLASS_COUNTS)), COLORS["sigmoid_mse"]
    shares = [plots.check_column(results, "gradient_share", f"mse_share_{k:03d}") for k in checks.CLASS_COUNTS]
    measured = plots.draw_points(axes, places, shares, "sigmoid + MSE", color, bar=d.BLACK)
    axes.bar(places, measured.mean, width=0.6, color=color, alpha=0.5)
    for place, mean in zip(places, measured.mean, strict=True):
        axes.annotate(f"{mean:.1%}", (place, mean), (0, 10), textcoords="offset points", ha="center")
    axes.axhline(0.5, color=COLORS["cross_entropy"], gid="theory/cross_entropy")
    axes.text(-0.45, 0.6, "cross-entropy: one half,\nwhatever the logits", color=COLORS["cross_entropy"])
    axes.text(-0.45, 1.08, "sigmoid + MSE", color=color)
    axes.set_xticks(places, [f"{k} classes" for k in checks.CLASS_COUNTS])
    axes.set(ylim=(0, 1.16), xlim=(-0.5, 2.5), ylabel="share of the outputs beside the target")
    axes.grid(visible=False, axis="x")
    seeds = plots.count_checks(results, "gradient_share")
    return Drawing(
        figure,
        Words(
            "What the gradient is spent on, once arg max is right", "À quoi sert le gradient, l'arg max une fois juste"
        ),
        Words(
            "Share, in absolute values, of the gradient in the logits; logits standard normal, samples whose arg max "
            f"is right. Mean over seeds ({seeds}) of 200 samples each; bars: 95 % Student interval, often hidden by "
            "the dot.",
            "Part, en valeur absolue, du gradient selon les logits ; logits de loi normale, exemples dont l'arg max "
            f"est juste. Moyenne sur les graines ({seeds}) de 200 exemples ; barres : intervalle de Student à 95 %.",
        ),
    )


def overflow(results: Results) -> Drawing:
    """The loss of one wrong logit in float32, computed as written and in the combined form."""
    (run, *_) = results.checks["naive_overflow"]
    x = np.array(checks.OVERFLOW_LOGITS, dtype=float)
    written, combined = (
        np.array([run[f"{form}_{z:03d}"] for z in checks.OVERFLOW_LOGITS]) for form in ("naive", "stable")
    )
    figure = d.new_figure()
    axes = figure.subplots()
    axes.plot(x, combined, color=d.BLUE, gid="loss/combined")
    axes.plot(x, written, "o", color=d.VERMILLION, gid="loss/as written")
    limit = math.log(torch.finfo(torch.float32).max)
    axes.axvline(limit, color=d.GREY, linestyle=":", gid="theory/limit")
    axes.text(limit - 1, 6, f"e^z leaves float32\nat z = {limit:.1f}", ha="right", color=d.GREY)
    axes.text(limit + 1, 40, "nan from here on", color=d.VERMILLION)
    axes.text(36, 46, "−z_k + log Σ exp z_j", color=d.BLUE, ha="right")
    axes.text(44, 34, "−log(exp z_k / Σ exp z_j)", color=d.VERMILLION)
    axes.set(
        xlabel="logit z of a wrong class (the target's is 0)", ylabel="cross-entropy", xlim=(0, 121), ylim=(0, 125)
    )
    return Drawing(
        figure,
        Words("Softmax as it is written, in float32", "Softmax tel qu'il s'écrit, en float32"),
        Words(
            "Loss of two logits, z and 0, whose second is the target: computed as the formula is written (dots), and "
            "with the logarithm inside and the largest logit taken out (line). No randomness, hence no interval.",
            "Coût de deux logits, z et 0, dont le second est la cible : calculé comme la formule s'écrit (points), et "
            "avec le logarithme à l'intérieur et le plus grand logit mis à part (trait). Sans hasard, donc sans "
            "intervalle.",
        ),
    )
