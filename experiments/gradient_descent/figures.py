"""Descent as a line that turns and as a path in a valley; all optimisers in one valley; how large a step may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text

from experiments.core.definitions import Overrides
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, Words
from experiments.core.verdicts.results import Results
from experiments.gradient_descent.checks import MULTIPLES, SHORT
from experiments.gradient_descent.quadratic import Floats, Quadratic, path_of, points_of, quadratic_of

# Steps whose lines are drawn in description space.
SHOWN_STEPS = (0, 1, 2, 4, 20)
# Steps that the film shows one by one.
SLOW = 12
# Levels of the excess loss, from the edge of the picture inwards.
LEVELS = (0.02, 0.1, 0.3, 0.7, 1.5, 3.0, 5.0)


class Optimizer(NamedTuple):
    """One line of the film."""

    name: str
    overrides: Overrides
    color: str


FAMILIES: dict[str, tuple[Optimizer, ...]] = {
    "gradient and momentum": (
        Optimizer("SGD", {}, d.BLACK),
        Optimizer("momentum", {"momentum": 0.9, "nesterov": False, "lr": 0.05}, d.VERMILLION),
        Optimizer("Nesterov", {"momentum": 0.9, "nesterov": True, "lr": 0.05}, d.BLUE),
    ),
    "a step for each parameter": (
        Optimizer("Adagrad", {"optimizer": "adagrad", "lr": 1.0}, d.BLACK),
        Optimizer("Adadelta", {"optimizer": "adadelta", "lr": 60.0}, d.VERMILLION),
        Optimizer("RMSprop", {"optimizer": "rmsprop", "lr": 0.1}, d.BLUE),
    ),
    "both": (
        Optimizer("Adam", {"optimizer": "adam", "lr": 0.2}, d.BLACK),
        Optimizer("AdaMax", {"optimizer": "adamax", "lr": 0.2}, d.VERMILLION),
        Optimizer("NAdam", {"optimizer": "nadam", "lr": 0.2}, d.BLUE),
        Optimizer("RAdam", {"optimizer": "radam", "lr": 0.2}, d.GREEN),
    ),
}


class Runner(NamedTuple):
    """What moves of an optimiser: its path so far, and where it is."""

    path: Floats
    trail: Line2D
    head: Line2D


def descent(results: Results) -> Drawing:
    """One run of gradient descent: lines among the points on the left, a path over the loss on the right."""
    figure = d.new_figure(6.2)
    left, right = figure.subplots(1, 2)
    runs = results.of({})
    if runs:
        steps, path = path_of(runs[0])
        x, y = points_of(runs[0])
        _draw_description(left, x[:, 0], y, steps, path)
        _draw_parameters(right, quadratic_of(x, y), steps, path, float(runs[0].settings["lr"]))
    left.set(xlabel="x", ylabel="y", title="Description space: a line that turns")
    right.set(xlabel="slope", ylabel="intercept", title="Parameter space: a path")
    return Drawing(
        figure,
        Words("One descent, seen in two spaces", "Une même descente, vue dans deux espaces"),
        Words(
            "Gradient descent on the squared error of a line, first seed. Left: the points and the line "
            "after so many steps. Right: the same steps as slope and intercept, over the contours of the loss; dashed: "
            "the closed form; star: least squares.",
            "Descente de gradient sur l'erreur quadratique d'une droite, première graine. À gauche : les "
            "points et la droite après tant de pas. À droite : les mêmes pas en pente et ordonnée à l'origine, sur les "
            "lignes de niveau du coût ; tirets : la forme close ; étoile : moindres carrés.",
        ),
    )


def _draw_description(axes: Axes, x: Floats, y: Floats, steps: list[int], path: Floats) -> None:
    axes.plot(x, y, "o", color=d.GREY, markersize=4, alpha=0.5, gid="points")
    ends = np.array([x.min(), x.max()])
    labels = []
    shown = [step for step in SHOWN_STEPS if step in steps]
    for place, step in enumerate(shown):
        slope, intercept = path[steps.index(step)]
        color = d.VERMILLION if place == len(shown) - 1 else d.BLUE
        heights = slope * ends + intercept
        axes.plot(ends, heights, color=color, alpha=0.35 + 0.65 * place / max(len(shown) - 1, 1), gid=f"line/{step}")
        labels.append(d.End(float(ends[1]), float(heights[1]), f"step {step}", color))
    axes.margins(x=0.02)
    axes.set_xlim(ends[0] - 0.05, ends[1] + 0.05)
    d.label_ends(axes, labels)


def _draw_parameters(axes: Axes, loss: Quadratic, steps: list[int], path: Floats, step_size: float) -> None:
    _draw_contours(axes, loss, path)
    axes.plot(*path.T, "o-", color=d.BLUE, markersize=6, linewidth=2, gid="path")
    truth = np.array([loss.after(step, path[0], step_size) for step in steps])
    axes.plot(*truth.T, "--", color=d.BLACK, linewidth=1.4, gid="closed form")
    axes.annotate("step 0", path[0], (8, -4), textcoords="offset points", va="top", fontsize=d.SMALL)


def _draw_contours(axes: Axes, loss: Quadratic, *paths: Floats) -> None:
    """Draw level lines of the loss around its minimum and some paths; the limits of the axes stay."""
    shown = np.concatenate([loss.minimum[None], *paths])
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = 0.12 * (high - low) + 0.05
    slopes, intercepts = (np.linspace(low[k] - margin[k], high[k] + margin[k], 150) for k in (0, 1))
    grid = np.stack(np.meshgrid(slopes, intercepts), axis=-1)
    axes.contour(slopes, intercepts, loss.excess(grid), levels=LEVELS, colors="#b9b9b9", linewidths=1.2)
    axes.plot(*loss.minimum, "*", color=d.ORANGE, markersize=18, zorder=5, gid="minimum")
    axes.set(xlim=(slopes[0], slopes[-1]), ylim=(intercepts[0], intercepts[-1]))
    axes.grid(visible=False)


def optimizers(results: Results) -> Drawing:
    """The paths of all optimisers over the same loss from the same start: a film, and its last picture."""
    figure = d.new_figure(5.4)
    grid = figure.subplots(1, len(FAMILIES), sharex=True, sharey=True)
    found = {o.name: results.of(o.overrides)[:1] for family in FAMILIES.values() for o in family}
    paths = {name: path_of(runs[0])[1] for name, runs in found.items() if runs}
    runners: list[Runner] = []
    loss = next((quadratic_of(*points_of(runs[0])) for runs in found.values() if runs), None)
    for axes, (title, family) in zip(grid, FAMILIES.items(), strict=True):
        axes.set(title=title, xlabel="slope")
        if loss is not None:
            _draw_contours(axes, loss, *paths.values())
        runners += [_place(axes, o, paths[o.name], height) for height, o in enumerate(family) if o.name in paths]
    grid[0].set_ylabel("intercept")
    clock = grid[-1].text(0.96, 0.04, "", ha="right", transform=grid[-1].transAxes)
    last = max((len(path) for path in paths.values()), default=0) - 1

    def show(frame: int) -> list[Line2D | Text]:
        for runner in runners:
            so_far = runner.path[: frame + 1]
            runner.trail.set_data(so_far[:, 0], so_far[:, 1])
            runner.head.set_data(so_far[-1:, 0], so_far[-1:, 1])
        clock.set_text(f"step {frame}")
        return [clock, *(artist for runner in runners for artist in (runner.trail, runner.head))]

    show(last)
    return Drawing(
        figure,
        Words("All optimisers in the same valley", "Tous les optimiseurs dans la même vallée"),
        Words(
            "Slope and intercept of a line that learns the same points from the same start, first seed; star: least "
            "squares. Each optimiser with a step that suits it, not tuned: which is fastest is not to be read here. "
            "AMSGrad and AdamW would lie on Adam.",
            "Pente et ordonnée à l'origine d'une droite qui apprend les mêmes points depuis le même départ, première "
            "graine ; étoile : moindres carrés. Chaque optimiseur a un pas qui lui convient, sans réglage : on ne lit "
            "pas ici lequel est le plus rapide. AMSGrad et AdamW se confondraient avec Adam.",
        ),
        FuncAnimation(figure, show, frames=film_steps(last)) if last > 0 else None,
    )


def film_steps(last: int) -> list[int]:
    """Steps that the film shows: all of the first, where most happens, then every other; the last stays on."""
    return [*range(min(last, SLOW)), *range(SLOW, last, 2), *[last] * 8] if last > 0 else []


def _place(axes: Axes, optimizer: Optimizer, path: Floats, height: int) -> Runner:
    (trail,) = axes.plot([], [], "-", color=optimizer.color, linewidth=2, gid=f"path/{optimizer.name}")
    (head,) = axes.plot([], [], "o", color=optimizer.color, markersize=10, gid=f"head/{optimizer.name}")
    # In the corner without paths: names beside the paths would hide the valley.
    at = (0.04, 0.96 - 0.075 * height)
    name = axes.text(*at, f"● {optimizer.name}", va="top", color=optimizer.color, transform=axes.transAxes)
    name.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    return Runner(path, trail, head)


def loss_against_step(results: Results) -> Drawing:
    """What is left of the loss after some steps against the step, in units of 2/λmax."""
    figure = d.new_figure(6.0)
    axes = figure.subplots()
    runs = results.checks["step_threshold"]
    measured, theory = (
        [plots.check_column(results, "step_threshold", f"{kind}/{m:.2f}") for m in MULTIPLES]
        for kind in ("decades", "predicted_decades")
    )
    plots.draw_line(axes, MULTIPLES, measured, "diabetes", d.BLUE)
    closed_form = plots.summary(MULTIPLES, theory)
    axes.plot(closed_form.x, closed_form.mean, ":", color=d.BLACK, linewidth=2.2, gid="theory")
    axes.axvline(1.0, color=d.VERMILLION, linewidth=2, gid="threshold")
    found = [run["measured"] / run["predicted"] for run in runs]
    axes.plot(found, np.zeros(len(found)), "D", color=d.VERMILLION, gid="measured")
    axes.text(0.985, 6, "2/λmax", color=d.VERMILLION, ha="right")
    axes.text(0.03, 0.9, "dotted: closed form", transform=axes.transAxes)
    axes.text(1.02, -0.3, "largest step that\nconverges, by trying", color=d.VERMILLION, va="top", fontsize=d.SMALL)
    axes.set(
        xlabel="step ε, in units of 2/λmax", ylabel="log₁₀ of what is left of the loss", ylim=(-6.5, 10), xlim=(0, 1.2)
    )
    n = plots.count_checks(results, "step_threshold")
    return Drawing(
        figure,
        Words("How large a step may be", "Quelle taille de pas"),
        Words(
            f"Linear regression on the diabetes table: loss above its minimum after {SHORT} steps over that at the "
            f"start; mean over seeds ({n}), band: 95 % Student interval. ◆: the threshold that bisection found, "
            "one a seed.",
            f"Régression linéaire sur la table diabetes : coût au-dessus de son minimum après {SHORT} pas, rapporté au "
            f"départ ; moyenne sur les graines ({n}), bande : intervalle de Student à 95 %. ◆ : le seuil trouvé par "
            "dichotomie, un par graine.",
        ),
    )
