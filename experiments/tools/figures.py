"""The gallery of mistakes, right beside wrong, and what an interruption leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, End, Words
from experiments.core.verdicts.results import Results

RIGHT, WRONG = d.BLUE, d.VERMILLION
LOSS = "train/loss"


@dataclass(frozen=True)
class Panel:
    """One mistake: what it is, what shows it, and the check or the condition that has the numbers."""

    title: str
    shown: str
    check: str = ""
    condition: Overrides | None = None


PANELS = (
    Panel("no zero_grad", "training loss", condition={"config": "no_reset"}),
    Panel("(n, 1) against (n,)", "R² of the best line", check="column_against_row"),
    Panel("ReLU on the logits", "training loss", condition={"config": "relu_on_logits"}),
    Panel("softmax twice", "loss if sure and right", check="softmax_twice"),
    Panel("sorted by class", "training loss", condition={"order": "by_class"}),
    Panel("no evaluation mode", "share of answers changed", check="evaluation_mode"),
    Panel("chosen with test labels", "accuracy on pure noise", check="leaked_selection"),
    Panel("learning rate × 100", "training loss", condition={"lr": 0.3}),
    Panel("mean of batch means", "error (%)", check="batch_means"),
    Panel("Sequential([…])", "share of networks built", check="list_in_sequential"),
    Panel("logs/model-asctime()", "share in order of time", check="log_path"),
    Panel(".view(-1), K outputs", "share with a loss", check="view_of_several_outputs"),
)


def gallery(results: Results) -> Drawing:
    """One panel a mistake: the right way in blue, the wrong one in red."""
    figure = d.new_figure(15.0)
    grid = figure.subplots(4, 3)
    for axes, panel in zip(grid.flat, PANELS, strict=True):
        axes.set_title(panel.title)
        axes.set_ylabel(panel.shown)
        if panel.condition is None:
            _draw_numbers(axes, panel, results)
        else:
            _draw_losses(axes, results.of({}), results.of(panel.condition))
    n = d.count_words([*(len(found) for found in results.checks.values()), len(results.of({}))])
    return Drawing(
        figure,
        Words("Common mistakes and their symptoms", "Erreurs courantes et leurs symptômes"),
        Words(
            f"Blue: right, red: wrong. Training loss by epoch: geometric mean over seeds; everything else: mean over "
            f"seeds ({n}). Bands and bars: 95 % Student interval, often smaller than the dot. How to recognise each is "
            "in the note of its claim.",
            f"Bleu : juste, rouge : faux. Coût d'apprentissage par époque : moyenne géométrique sur les graines ; le "
            f"reste : moyenne ({n}). Bandes et barres : intervalle de Student à 95 %. Comment reconnaître chacune : la "
            "note de son affirmation.",
        ),
    )


def resume(results: Results) -> Drawing:
    """How far the training loss of an interrupted run is from that of the uninterrupted run of the same seed."""
    figure = d.new_figure()
    axes = figure.subplots()
    # Linear near 0, so that "bit for bit" can be drawn.
    axes.set_yscale("symlog", linthresh=1e-6)
    straight = {run.seed: run for run in results.of({})}
    ends, counts = [], []
    for name, config, color in (
        ("with the optimiser's state", "resumed", RIGHT),
        ("from the weights alone", "resumed_weights_only", WRONG),
    ):
        pairs = [(run, straight[run.seed]) for run in results.of({"config": config}) if run.seed in straight]
        counts.append(len(pairs))
        if not pairs:
            continue
        losses = np.array([[[v for *_, v in run.series(LOSS)] for run in pair] for pair in pairs])
        apart = np.abs(losses[:, 0] - losses[:, 1]).T
        epochs = np.arange(1.0, len(apart) + 1)
        for (run, _), seed in zip(pairs, apart.T, strict=True):
            axes.plot(epochs, seed, color=color, linewidth=1, alpha=0.5, gid=f"seed/{name}/{run.seed}")
        axes.plot(epochs, apart.mean(axis=1), "o-", color=color, gid=f"mean/{name}")
        axes.set_xticks(epochs)
        ends.append(End(float(epochs[-1]), float(apart.mean(axis=1)[-1]), name, color))
    axes.set(xlabel="epoch", ylabel="|training loss − that of the uninterrupted run|", ylim=(-5e-7, 1))
    axes.set_xlim(0.8, axes.get_xlim()[1] * 1.35)
    d.label_ends(axes, ends)
    n = d.count_words(counts)
    return Drawing(
        figure,
        Words("Interrupted and resumed", "Interrompu puis repris"),
        Words(
            f"Interrupted before the fourth epoch. Thick: mean over seeds ({n}), thin: each seed. 0: the same number "
            "to the last bit. The axis is linear below 10⁻⁶.",
            f"Interrompu avant la quatrième époque. Trait épais : moyenne sur les graines ({n}), fins : chaque graine. "
            "0 : le même nombre au dernier bit près. L'axe est linéaire sous 10⁻⁶.",
        ),
    )


def _draw_losses(axes: Axes, right: Sequence[Run], wrong: Sequence[Run]) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    for name, runs, color in (("right", right, RIGHT), ("wrong", wrong, WRONG)):
        plots.draw_curve(axes, runs, LOSS, name, color, by="epoch", scale=plots.LOG)
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", integer=True)


def _draw_numbers(axes: Axes, panel: Panel, results: Results) -> None:
    for place, (name, color) in enumerate((("right", RIGHT), ("wrong", WRONG))):
        numbers = plots.check_column(results, panel.check, name)
        shown = plots.draw_points(axes, [place], [numbers], name, color, linewidth=2.6)
        axes.bar(shown.x, shown.mean, 0.6, color=color, alpha=0.35, gid=f"bar/{name}/{panel.title}")
    axes.set_xticks([0, 1], ["right", "wrong"])
    axes.set_xlim(-0.6, 1.6)
    axes.axhline(0, color=d.GREY, linewidth=1.2)
