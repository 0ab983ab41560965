"""What a teacher shows about batches: three ways to count the cost, the same training against two of them, and why."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from experiments.batch_size import measures
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results

PANELS = {
    "steps_to_target": ("optimiser steps", d.BLUE),
    "samples_to_target": ("samples used", d.VERMILLION),
    "seconds": ("seconds (shown, not judged)", d.GREY),
}
# More lines would overlap.
SHOWN_SEEDS = 3
THEORY = "V/B · (N − B)/(N − 1)"


def cost_by_batch_size(results: Results) -> Drawing:
    """Steps, samples and seconds to the same training loss against the size of the batch."""
    figure = d.new_figure(6.2)
    runs = _runs_by_size(results)
    for axes, (measure, (title, color)) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        columns = [plots.column(results, some[0].condition.overrides, measure) for some in runs.values()]
        plots.draw_line(axes, list(runs), columns, title, color, scale=plots.LOG)
        axes.set(xscale="log", yscale="log", xlabel="samples in a batch", title=title)
        plots.name_ticks(axes, runs)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
    seeds, target = d.count_words(map(len, runs.values())), target_of(results)
    return Drawing(
        figure,
        Words("The number of iterations is not the cost", "Le coût n'est pas le nombre d'itérations"),
        Words(
            f"What it takes until the training loss is first at most {target:g}, each batch size with its own tuned "
            f"learning rate: geometric mean over seeds ({seeds}); band: 95 % Student interval of the logarithm. "
            "Seconds are a seed's share of its stack's, set-up included, on the machine that ran it.",
            f"Ce qu'il faut pour que l'erreur d'apprentissage atteigne {target:g}, chaque taille de lot avec son pas "
            f"réglé : moyenne géométrique sur les graines ({seeds}) ; bande : intervalle de Student à 95 % du "
            "logarithme. Les secondes sont la part d'une graine dans celles de sa pile, mise en place comprise, sur la "
            "machine utilisée.",
        ),
    )


def loss_by_steps_and_samples(results: Results) -> Drawing:
    """The same trainings twice: counted in steps the large batches win, counted in samples the small ones."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    runs = _runs_by_size(results)
    colors = mpl.colormaps["plasma"](np.linspace(0, 0.72, max(len(runs), 1)))
    ends: dict[str, list[tuple[float, str, str]]] = {"steps": [], "samples": []}
    for (size, some), color in zip(runs.items(), map(mpl.colors.to_hex, colors), strict=True):
        for run in some[:SHOWN_SEEDS]:
            steps, loss = _curve(run)
            samples = [measures.samples_after(int(step), size, run.result["data"]["train"]) for step in steps]
            # Logarithmic axes have no 0: the curves begin after the first step.
            for axes, x, unit in ((left, steps, "steps"), (right, samples, "samples")):
                axes.plot(x[1:], loss[1:], color=color, linewidth=1.3, alpha=0.7, gid=f"{unit}/{size}/{run.seed}")
        for unit, measure in (("steps", measures.steps_to_target), ("samples", measures.samples_to_target)):
            middle = float(np.median([measure(run) for run in some]))
            ends[unit].append((middle, f"{size:,}", color))
    target = target_of(results)
    for axes, unit, title in ((left, "steps", "optimiser steps"), (right, "samples", "samples used")):
        axes.set(xscale="log", xlabel=title, ylim=(0, 2.45))
        axes.axhline(target, color=d.BLACK, linestyle=":", linewidth=2, gid=f"target/{unit}")
        _write_below(axes, ends[unit])
    left.set_ylabel("training loss (nats)")
    seeds = d.count_words(map(len, runs.values()))
    return Drawing(
        figure,
        Words("The same trainings, counted in two ways", "Les mêmes entraînements, comptés de deux façons"),
        Words(
            f"Training loss on a fixed part of the training samples, one line for each of the first {SHOWN_SEEDS} "
            f"seeds, up to the target {target:g} (dotted). Below: samples in a batch, at the median arrival of all "
            f"({seeds}).",
            f"Erreur sur une partie fixe des exemples d'apprentissage, une ligne pour chacune des {SHOWN_SEEDS} "
            f"premières graines, jusqu'à la cible {target:g} (pointillés). En bas : exemples par lot, à l'arrivée "
            f"médiane de toutes ({seeds}).",
        ),
    )


def gradient_variance(results: Results) -> Drawing:
    """The variance of a batch's gradient against its size, and what theory says."""
    figure = d.new_figure()
    axes = figure.subplots()
    names = sorted(name for name in results.frame.columns if name.startswith("variance/"))
    sizes = [int(name.rpartition("/")[2]) for name in names]
    measured = [plots.check_column(results, "gradient_variance", name) for name in names]
    theory = [plots.check_column(results, "gradient_variance", name.replace("variance", "theory")) for name in names]
    axes.set(xscale="log", yscale="log", xlabel="samples in a batch, B", ylabel="variance of the gradient")
    if names:
        expected = plots.summary(sizes, theory, plots.LOG).mean
        axes.plot(sizes, expected, ":", color=d.BLACK, linewidth=2.2, gid="theory/variance")
        plots.draw_points(axes, sizes, measured, "measured", d.BLUE, scale=plots.LOG)
        plots.name_ticks(axes, sizes)
        axes.text(0.04, 0.08, f"dotted: {THEORY}", transform=axes.transAxes)
    seeds = plots.count_checks(results, "gradient_variance")
    return Drawing(
        figure,
        Words("Why a batch helps, and ever less", "Pourquoi un lot aide, et de moins en moins"),
        Words(
            "Mean squared distance between the gradient of a batch drawn without replacement and that of all N "
            f"samples, in an untrained network on the digits: geometric mean over seeds ({seeds}); bars: 95 % Student "
            "interval of the logarithm. Dotted: what follows from the variance V between single samples; nothing is "
            "fitted.",
            "Distance quadratique moyenne entre le gradient d'un lot tiré sans remise et celui des N exemples, dans un "
            f"réseau non entraîné sur les chiffres : moyenne géométrique sur les graines ({seeds}) ; barres : "
            "intervalle de Student à 95 % du logarithme. Pointillés : ce qui découle de la variance V entre exemples.",
        ),
    )


def target_of(results: Results) -> float:
    """The training loss at which runs end, from the config."""
    callbacks = results.plan.grid.merged(results.plan.grid.conditions[0])["trainer"]["callbacks"]
    return float(next(c["init_args"]["target"] for c in callbacks if c["class_path"] == "TimeToTarget"))


def _runs_by_size(results: Results) -> dict[int, list[Run]]:
    """The finished runs of each batch size, the smallest first."""
    found: dict[int, list[Run]] = {}
    for run in results.runs:
        found.setdefault(measures.batch_size(run), []).append(run)
    return dict(sorted(found.items()))


def _curve(run: Run) -> tuple[list[int], list[float]]:
    rows = run.series("sample/loss")
    return [step for _, step, _ in rows], [loss for *_, loss in rows]


def _write_below(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write the names of the lines below their ends, moved apart where they would overlap."""
    axes.get_xlim()  # limits follow the data only when asked for
    to_fraction = axes.transScale + axes.transLimits
    placed = sorted((float(to_fraction.transform((x, 1.0))[0]), name, color) for x, name, color in ends)
    for place, (_, name, color) in zip(d.spread([x for x, *_ in placed], 0.09), placed, strict=True):
        axes.text(place, 0.03, name, ha="center", color=color, fontsize=d.SMALL, transform=axes.transAxes)
