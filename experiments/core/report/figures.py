"""Draws all figures of an experiment; the figures that every experiment can use.

A figure is a function from `Results` to a `Drawing`; an experiment's own are in its `figures.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes

from experiments.core.definitions import CONFIRMED, INCONCLUSIVE, INFERENTIAL, NONE, REFUTED
from experiments.core.files.errors import UserError, nearest
from experiments.core.files.run_directory import replacing
from experiments.core.grid import catalogue
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.wording import effect_words, interval_of, interval_words, threshold_words
from experiments.core.verdicts.results import Map, Results, public_functions
from experiments.core.verdicts.verdict import Verdict

Figure = Callable[[Results], Drawing]
LEARNING = "val/accuracy"
NON_INFERIORITY = "non-inferiority"
# Half the resolution of the picture: the report contains the file.
GIF_DPI = 60
FRAMES_PER_SECOND = 10

# Colour, marker and filling: a verdict differs in shape as well as in colour.
MARKS = {
    CONFIRMED: (d.GREEN, "o", "full"),
    REFUTED: (d.VERMILLION, "X", "full"),
    INCONCLUSIVE: (d.BLACK, "D", "none"),
    NONE: (d.GREY, "o", "none"),
}


@dataclass(frozen=True)
class Curve:
    """One line of a panel of learning curves: the runs of one condition."""

    name: str
    runs: Sequence[Run]
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes of learning curves."""

    title: str
    curves: Sequence[Curve]


def draw(results: Results, call: Map) -> dict[str, Drawing]:
    """Draw every figure of an experiment, and the forest of its verdicts, into `figures/` as SVG and PNG.

    Args:
        results: of the experiment.
        call: calls a function once for each tuple of arguments, for example `Pool.map`.

    Returns:
        The drawings by name: the experiment's own in its order, `forest` last.

    Raises:
        UserError: neither the experiment's `figures.py` nor `core` has a figure of some name.
    """
    names = list(dict.fromkeys([*results.plan.grid.experiment.figures, "forest"]))
    for name in names:
        find_figure(results.plan.grid.name, name)
    for path in (results.plan.directory / "figures").glob("*"):
        if path.stem not in names:  # from an earlier version of the experiment
            path.unlink()
    return dict(zip(names, call(draw_one, [(results, name) for name in names]), strict=True))


def draw_one(results: Results, name: str) -> Drawing:
    """Draw and save one figure of an experiment."""
    folder = results.plan.directory / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(d.STYLE):
        figure = find_figure(results.plan.grid.name, name)
        with catalogue.blamed_on(figure):
            drawn = figure(results)
        with replacing(folder / f"{name}.svg") as file:
            drawn.figure.savefig(file, metadata={"Date": None})
        # Keep the layout: computing it again costs as much as drawing.
        drawn.figure.set_layout_engine("none")
        with replacing(folder / f"{name}.png") as file:
            drawn.figure.savefig(file, dpi=144)
        if drawn.animation is not None:
            with replacing(folder / f"{name}.gif") as file:
                drawn.animation.save(file, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=GIF_DPI)
    # An animation cannot be pickled; it is in its file.
    return dataclasses.replace(drawn, animation=None)


def find_figure(experiment: str, name: str) -> Figure:
    """Return the figure of this name: the experiment's own, or one of core.

    Raises:
        UserError: there is none.
    """
    own = public_functions(catalogue.part(experiment, "figures"))
    known: dict[str, Figure] = {"forest": forest, "learning_curves": learning_curves, **own}
    if name not in known:
        raise UserError(f"unknown figure '{name}'; {nearest(name, known)}")
    return known[name]


def forest(results: Results) -> Drawing:
    """Every verdict of an experiment against its threshold."""
    return forest_of(results.verdicts, results.plan.gives_verdicts)


def forest_of(verdicts: Sequence[Verdict], decided: bool = True) -> Drawing:
    """Draw the interval of every verdict in units of its threshold.

    Args:
        verdicts: in the order of the rows.
        decided: whether they are verdicts, not only effects with plain intervals.
    """
    rows = [v for v in verdicts if v.kind in INFERENTIAL and v.effect is not None]
    figure = d.new_figure(1.2 + 0.3 * max(len(rows), 1))
    axes = figure.subplots()
    shown = [in_thresholds(v, x) for v in rows for x in (v.effect, *interval_of(v)) if x is not None]
    # Logarithmic far beyond the threshold, where details do not matter.
    axes.set_xscale("symlog", linthresh=2.0, linscale=1.2)
    axes.set_xlim(1.3 * min([-1.3, *shown]), 1.3 * max([1.3, *shown]))
    ticks = [x for x in (-100, -10, -2, -1, 0, 1, 2, 10, 100) if axes.get_xlim()[0] <= x <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{x:g}".replace("-", "−") for x in ticks])
    axes.minorticks_off()
    for y, verdict in enumerate(rows):
        _draw_verdict(axes, y, verdict)
    axes.set_yticks(range(len(rows)), [_name(verdict) for verdict in rows])
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("effect in units of its threshold (0 = nothing, 1 = the threshold)")
    widened = "at the confidence that Holm's procedure gives each claim" if decided else "at 95 %"
    elargi = "au niveau que la procédure de Holm donne à chacun" if decided else "à 95 %"
    n = d.count_words(v.n for v in rows)
    return Drawing(
        figure,
        Words("Every verdict against its threshold", "Chaque verdict face à son seuil"),
        Words(
            f"Intervals {widened}, {n} seeds. A claim is confirmed if its interval lies inside the shaded range, "
            "refuted if wholly outside, inconclusive if across its edge. ● confirmed, ✖ refuted, ◇ inconclusive, "
            "○ no verdict.",
            f"Intervalles {elargi}, {n} graines. Une affirmation est confirmée si son intervalle est dans la zone "
            "grisée, réfutée s'il est entièrement dehors, indécise s'il en traverse le bord.",
        ),
    )


def _name(verdict: Verdict) -> str:
    marks = [word for word, is_so in (("control", verdict.control), ("secondary", not verdict.primary)) if is_so]
    return verdict.id + (f" ({', '.join(marks)})" if marks else "")


def _draw_verdict(axes: Axes, y: int, verdict: Verdict) -> None:
    color, marker, fill = MARKS[verdict.verdict]
    low, high = interval_of(verdict)
    band = isinstance(verdict.threshold, tuple)
    confirmed = (-1.0 if band or verdict.kind == NON_INFERIORITY else 1.0, 1.0 if band else axes.get_xlim()[1])
    axes.fill_betweenx([y - 0.4, y + 0.4], *confirmed, color="#dcebe6", linewidth=0, gid=f"confirmed/{verdict.id}")
    if low is not None and high is not None:
        ends = (in_thresholds(verdict, low), in_thresholds(verdict, high))
        axes.hlines(y, min(ends), max(ends), color=color, linewidth=3.5, gid=f"interval/{verdict.id}")
    assert verdict.effect is not None  # `forest_of` leaves out the others
    at = in_thresholds(verdict, verdict.effect)
    axes.plot(at, y, marker, color=color, fillstyle=fill, markeredgewidth=2, gid=f"effect/{verdict.id}")
    decided = verdict.verdict != NONE
    d.write_beside(axes, y, verdict.verdict if decided else "")
    numbers = [effect_words(verdict), interval_words(*interval_of(verdict)), threshold_words(verdict)]
    d.write_beside(axes, y, "  ".join(numbers), indent=128 if decided else 0)


def in_thresholds(verdict: Verdict, value: float) -> float:
    """Return a value in units of the threshold: 1 is the threshold, larger is further in the claimed direction.

    An effect of nothing is then at 0, and an equivalence holds between -1 and 1. The threshold of a non-inferiority is
    at -1: it holds above that.
    """
    threshold = verdict.threshold
    if isinstance(threshold, tuple):
        return value / threshold[1]
    assert threshold is not None  # every inferential claim has one
    sign = -1.0 if verdict.direction == "below" else 1.0
    if verdict.kind == NON_INFERIORITY:
        return sign * value / abs(threshold)
    return 1.0 + sign * (value - threshold) / (abs(threshold) or 1.0)


def learning_curves(results: Results, panels: Sequence[Panel] = ()) -> Drawing:
    """Draw the validation accuracy by epoch, a line a condition.

    Args:
        results: of the experiment.
        panels: what to draw together; without any, one panel of all conditions that were validated.
    """
    panels = panels or [_all_conditions(results)]
    lines = math.ceil(len(panels) / 2)
    figure = d.new_figure(max(7.5, 3.7 * lines))
    grid = figure.subplots(lines, min(len(panels), 2), sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        ends = []
        for curve in panel.curves:
            ends += plots.draw_curve(
                axes, curve.runs, LEARNING, curve.name, curve.color, by="epoch", dashed=curve.dashed
            )
        axes.set(title=panel.title, xlabel="epoch", xlim=(0, None), ylim=(0, 1))
        axes.locator_params(axis="x", integer=True)
        d.label_ends(axes, ends, gap=0.1)
    for axes in grid[:, 0]:
        axes.set_ylabel("validation accuracy")
    n = d.count_words(len(curve.runs) for panel in panels for curve in panel.curves)
    return Drawing(
        figure,
        Words("Learning curves", "Courbes d'apprentissage"),
        Words(
            f"Validation accuracy after each epoch: mean over seeds ({n}); band: 95 % Student interval of the mean.",
            f"Exactitude de validation après chaque époque : moyenne sur les graines ({n}) ; bande : intervalle de "
            "Student à 95 % de la moyenne.",
        ),
    )


def _all_conditions(results: Results) -> Panel:
    colors = (d.BLUE, d.VERMILLION, d.GREEN, d.PURPLE, d.BLACK, d.ORANGE, d.SKY)
    found = {c.name: [run for run in results.runs if run.condition == c] for c in results.plan.grid.conditions}
    trained = {name: runs for name, runs in found.items() if any(run.series(LEARNING) for run in runs)}
    return Panel("", [Curve(name, runs, colors[i % 7], i % 14 > 6) for i, (name, runs) in enumerate(trained.items())])
