"""What least squares gains and loses, and how near to it gradient steps come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import MeanInterval, mean_and_interval, rows_of
from experiments.core.verdicts.results import Results
from experiments.regression import theory
from experiments.regression.checks import SIZES

LAWS = {"gaussian": ("Gaussian", d.BLUE), "laplace": ("Laplace", d.VERMILLION), "student": ("Student, 2 d.f.", d.GREEN)}
CONDITIONS: dict[str, tuple[Overrides, str]] = {
    "linear, standardised": ({}, d.BLUE),
    "linear, raw, lr .05": ({"standardize": False}, d.VERMILLION),
    "linear, raw, lr 1e−5": ({"standardize": False, "lr": 1e-5}, d.ORANGE),
    "5 tanh, standardised": ({"config": "two_layer"}, d.GREEN),
}
# Larger errors are drawn at the edge, with their value beside them.
LEAST_R2 = -0.25
LOSSES = (0.1, 1e5)


def efficiency(results: Results) -> Drawing:
    """Variance of the mean over that of the median by sample size: simulated, in theory, and in the limit."""
    figure = d.new_figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    ends = []
    for law, (name, color) in LAWS.items():
        # The mean of the logarithms: ratios with heavy tails have no mean.
        ratios = [plots.check_column(results, "mean_against_median", f"{law}/ratio/{n}") for n in SIZES]
        measured = plots.draw_points(axes, SIZES, ratios, name, color, scale=plots.LOG)
        ends += d.last_end(measured, name, color)
        if math.isfinite(limit := theory.limit_ratio(law)):
            exact = [theory.variance_ratio(law, n) for n in SIZES]
            axes.plot(SIZES, exact, "-", color=color, linewidth=2, gid=f"theory/{name}")
            axes.plot((4, SIZES[-1]), (limit, limit), ":", color=color, linewidth=1.6, gid=f"limit/{name}")
            axes.text(4.1, 1.03 * limit, {"gaussian": "2/π", "laplace": "2"}[law], color=color)
    axes.axhline(1.0, color=d.BLACK, linewidth=1.2)
    axes.text(23, 1.04, "↑ the median is better", va="bottom")
    axes.text(23, 0.96, "↓ the mean (least squares) is better", va="top")
    plots.name_ticks(axes, SIZES)
    plots.name_ticks(axes, (0.5, 1, 2, 4, 8, 16, 32), "y")
    axes.set(
        xlabel="samples an estimate is made of",
        ylabel="variance of the mean / of the median",
        xlim=(4, 450),
        ylim=(0.45, 40),
    )
    d.label_ends(axes, ends)
    n = plots.count_checks(results, "mean_against_median")
    return Drawing(
        figure,
        Words("Least squares is for Gaussian noise", "Les moindres carrés sont faits pour un bruit gaussien"),
        Words(
            f"Dots: 4,000 samples a seed, geometric mean over seeds ({n}) and 95 % Student interval of its logarithm. "
            "Lines: exact for that number of samples; dotted: limit of many. Student's mean has no variance, hence no "
            "line: its dots would rise with more than 4,000 samples.",
            f"Points : 4 000 échantillons par graine, moyenne géométrique sur les graines ({n}) et intervalle de "
            "Student à 95 % du logarithme. Traits : exact pour ce nombre d'exemples ; pointillés : limite. La moyenne "
            "d'un bruit de Student n'a pas de variance : ses points monteraient avec plus d'échantillons.",
        ),
    )


def scores(results: Results) -> Drawing:
    """R² of every condition on training and test sample, beside least squares in closed form."""
    figure = d.new_figure(5.6)
    axes = figure.subplots()
    shapes = {"train/r2": ("o", "none", -0.24), "final_test/r2": ("o", "full", 0.0), "test_ols_r2": ("D", "full", 0.24)}
    for y, (name, (overrides, color)) in enumerate(CONDITIONS.items()):
        statuses = rows_of(results, overrides)["status"]
        gone = int((statuses == "diverged").sum())
        for measure, (marker, fill, shift) in shapes.items():
            shown = plots.column(results, overrides, measure, if_diverged=math.nan)
            shade = d.BLACK if marker == "D" else color
            (mean,) = plots.draw_row(axes, y + shift, shown, name, shade, marker=marker, fill=fill).mean
            if mean < LEAST_R2:
                words = f" ◂ {mean:.2g}".replace("-", "−")
                axes.text(LEAST_R2, y + shift, words, va="center", color=shade, fontsize=d.SMALL)
        d.write_beside(axes, y, f"{gone} of {len(statuses)} diverged" if gone else "")
    plots.name_rows(axes, CONDITIONS)
    axes.set(xlim=(LEAST_R2, 0.7), xlabel="R²")
    axes.axvline(0.0, color=d.GREY, linewidth=1.2)
    n = plots.count_seeds(results, (overrides for overrides, _ in CONDITIONS.values()))
    return Drawing(
        figure,
        Words("Gradient steps beside least squares", "Les pas de gradient face aux moindres carrés"),
        Words(
            f"○ training sample, ● test sample, last step; ◆ least squares in closed form, test sample: mean over "
            f"seeds ({n}) and 95 % Student interval. Diverged runs have no R². Values left of the axis are written.",
            f"○ apprentissage, ● test, dernier pas ; ◆ moindres carrés en forme close, test : moyenne sur les graines "
            f"({n}) et intervalle de Student à 95 %. Ce qui a divergé n'a pas de R² ; à gauche de l'axe, la valeur "
            "est écrite.",
        ),
    )


def loss_by_step(results: Results) -> Drawing:
    """Training loss by step: which rate a scale of the features allows, and what it makes of it."""
    figure = d.new_figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_ylim(LOSSES)
    ends, counts = [], []
    for name, (overrides, color) in CONDITIONS.items():
        runs = results.of(overrides)
        shown = _geometric([dict(_by_step(run)) for run in runs])
        d.draw_band(axes, shown, name, color)
        beyond = np.flatnonzero(shown.mean > LOSSES[1])
        if len(beyond):  # the name goes where the line leaves the picture
            ends.append(d.End(float(shown.x[beyond[0]]), LOSSES[1], name, color))
        else:
            ends += d.last_end(shown, name, color)
        counts.append(len(runs))
    axes.set(xlabel="step", ylabel="mean squared error, training", xlim=(0, None))
    axes.axhline(1.0, color=d.GREY, linewidth=1.2)
    d.label_ends(axes, ends, gap=0.06)
    n = d.count_words(counts)
    return Drawing(
        figure,
        Words("One rate does not suit every scale", "Un même pas ne convient pas à toutes les échelles"),
        Words(
            f"Targets standardised: 1 (grey) is the error of predicting their mean. Geometric mean over seeds ({n}); "
            "band: 95 % Student interval of the logarithm. On raw features the error at first grows at both rates.",
            f"Cibles standardisées : 1 (gris) est l'erreur de qui prédit leur moyenne. Moyenne géométrique sur les "
            f"graines ({n}) ; bande : intervalle de Student à 95 % du logarithme.",
        ),
    )


def _by_step(run: Run) -> list[tuple[int, float]]:
    return [(step, math.log(loss)) for _, step, loss in run.series("train/loss") if math.isfinite(loss)]


def _geometric(logs: Sequence[Mapping[int, float]]) -> MeanInterval:
    """MeanInterval of exp of what every seed has by step: its mean is the geometric one."""
    steps = sorted(set.intersection(*(set(seed) for seed in logs))) if logs else []
    shown = mean_and_interval(steps, np.array([[seed[k] for seed in logs] for k in steps]).reshape(len(steps), -1))
    return MeanInterval(shown.x, *(np.exp(side) for side in shown[1:]))
