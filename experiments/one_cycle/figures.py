"""What a teacher shows about the cycle: noise that becomes an image, the schedule, what it saves, and on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from experiments.core.callbacks.parameters import PREFIX
from experiments.core.definitions import Overrides
from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report import plots
from experiments.core.report.drawing import Drawing, End, Words
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats
from experiments.one_cycle.measures import CHANCE, TARGET
from lightning_modules.optimization import learning_rates

COLORS = {"one_cycle": d.VERMILLION, "constant": d.BLACK, "cosine": d.BLUE, "linear": d.GREEN}
NAMES = {"one_cycle": "one cycle", "constant": "constant", "cosine": "cosine", "linear": "linear"}
STRIP = (0, 50, 100, 150, 200, 400, 1000)
BUDGETS = ("", "steps_75", "steps_100", "steps_200")
MISUSE: Overrides = {"config": "weights", "schedule": "one_cycle", "lr": 0.5}
STEPS = 1000
# torch's OneCycleLR moves Adam's beta1 from the first to the second and back, as it moves the rate, upside down.
TORCH_BETA1 = (0.95, 0.85)
USUAL_BETA1 = 0.9


def noise_to_image(results: Results) -> Drawing:
    """Noise at several steps of one run, its target, and the loss of all seeds; moving, step by step."""
    figure = d.new_figure(8.0)
    halves = figure.add_gridspec(2, 1, height_ratios=[1, 2.3])
    strip = halves[0].subgridspec(1, len(STRIP) + 1)
    parts = halves[1].subgridspec(1, 2, width_ratios=[1, 1.7])
    runs = {name: results.of({"config": "pictures", "schedule": name}) for name in ("one_cycle", "constant")}
    film = _film(runs["one_cycle"][0], "noise") if runs["one_cycle"] else {}
    target = list(_film(runs["one_cycle"][0], "target").values()) if film else []
    for column, step in enumerate(step for step in STRIP if step in film):
        _show(figure.add_subplot(strip[column]), film[step], target[0], f"step {step:,}", f"picture/{step:04d}")
    for image in target:
        _show(figure.add_subplot(strip[len(STRIP)]), image, image, "target", "picture/target")
    axes, ends = figure.add_subplot(parts[1]), []
    for name, some in runs.items():
        ends += plots.draw_curve(axes, some, "input/loss", NAMES[name], COLORS[name], scale=plots.LOG)
    axes.axhline(TARGET, color=d.GREY, linestyle=":", linewidth=2, gid="target")
    axes.set(yscale="log", xlabel="step", ylabel="loss", xlim=(0, None), ylim=(1e-6, 50))
    d.label_ends(axes, ends)
    moving = _animate(figure.add_subplot(parts[0]), axes, film, target[0]) if film else None
    seeds = d.count_words(map(len, runs.values()))
    return Drawing(
        figure,
        Words(
            "Noise becomes what a network takes for a digit", "Du bruit devient ce qu'un réseau prend pour un chiffre"
        ),
        Words(
            "Pictures: the first seed's run with the cycle of the slide, largest rate .5; black and white are the ends "
            f"of the target's grey. Curves: loss by step, geometric mean over seeds ({seeds}), with the cycle and "
            "with a constant rate of .5; band: 95 % Student interval of the logarithm; dotted: the target, .01.",
            "Images : l'entraînement de la première graine avec le cycle de la diapositive, taux maximal 0,5 ; noir et "
            "blanc sont les extrêmes de la cible. Courbes : erreur par pas, moyenne géométrique sur les graines "
            f"({seeds}), avec le cycle et à taux constant 0,5 ; bande : intervalle de Student à 95 % du logarithme ; "
            "pointillés : la cible, 0,01.",
        ),
        moving,
    )


def _film(run: Run, name: str) -> dict[int, Floats]:
    """The recorded pictures of a run by step, square."""
    columns: list[dict[int, float]] = []
    while series := run.series(f"{PREFIX}/{name}/{len(columns):02d}"):
        columns.append({step: value for _, step, value in series})
    side = int(np.sqrt(len(columns)))
    steps = columns[0] if columns else {}
    return {step: np.array([column[step] for column in columns]).reshape(side, side) for step in steps}


def _show(axes: Axes, image: Floats, target: Floats, title: str, gid: str) -> AxesImage:
    """Draw a picture in the greys of the target."""
    shown = axes.imshow(image, cmap="gray", vmin=float(target.min()), vmax=float(target.max()))
    shown.set_gid(gid)
    axes.set_title(title, fontsize=d.SMALL, fontweight="normal", loc="center")
    axes.set_axis_off()
    return shown


def _animate(axes: Axes, curve: Axes, film: Mapping[int, Floats], target: Floats) -> FuncAnimation:
    """Let the large picture, and a mark on the loss curve, follow the steps; the last step is what stays."""
    last = max(film)
    picture = _show(axes, film[last], target, f"step {last:,}", "picture/moving")
    mark = curve.axvline(last, color=d.GREY, linewidth=1.5, gid="moving")
    frames = sorted(film)

    def update(step: int) -> Sequence[Artist]:
        picture.set_data(film[step])
        axes.set_title(f"step {step:,}", fontsize=d.SMALL, fontweight="normal", loc="center")
        mark.set_xdata([step, step])
        return picture, mark

    return FuncAnimation(axes.get_figure(root=True), update, frames=frames)  # type: ignore[arg-type]


def schedules(results: Results) -> Drawing:
    """The rate of each schedule by step, beside what runs logged, and Adam's beta1 here and in torch's cycle."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    steps = range(STEPS)
    # The position of each name: a step, and right or left of the line.
    places = {"one_cycle": (150, "left"), "constant": (700, "left"), "cosine": (420, "left"), "linear": (300, "right")}
    for name, color in COLORS.items():
        factors = np.array(learning_rates(name, 0.0, STEPS))
        left.plot(steps, factors, color=color, gid=f"schedule/{name}")
        at, side = places[name]
        offset = (10, 6) if side == "left" else (-6, -24)
        left.annotate(
            NAMES[name], (at, factors[at]), offset, textcoords="offset points", ha=side, color=color, fontsize=d.SMALL
        )
    logged = results.of({"config": "pictures", "schedule": "one_cycle"})[:1]
    for run in logged:
        rates = [(step - 1, value / float(run.settings["lr"])) for _, step, value in run.series("lr")]
        left.plot(*zip(*rates, strict=True), "o", color=d.VERMILLION, markersize=5, gid="logged/one_cycle")
    left.set(xlabel=f"step of {STEPS:,}", ylabel="share of the largest rate", ylim=(0, 1.12))
    high, low = TORCH_BETA1
    rising = np.array(learning_rates("one_cycle", 0.0, STEPS))
    start = rising[0]
    floor = np.where(np.arange(STEPS) <= 0.3 * STEPS - 1, start, rising[-1])
    share = (rising - floor) / (1 - floor)
    right.plot(steps, high - (high - low) * share, ":", color=d.VERMILLION, gid="beta1/torch")
    right.plot(steps, np.full(STEPS, USUAL_BETA1), color=d.VERMILLION, gid="beta1/here")
    right.text(0.4 * STEPS, USUAL_BETA1 + 0.003, "here: left alone", ha="center", color=d.VERMILLION)
    right.text(STEPS / 2, 0.962, "torch's own cycle (dotted)", ha="center", color=d.VERMILLION)
    right.set(xlabel=f"step of {STEPS:,}", ylabel="Adam's β₁", ylim=(0.83, 0.97))
    return Drawing(
        figure,
        Words("The rate over a training, and the momentum", "Le taux au fil de l'entraînement, et l'inertie"),
        Words(
            "Left: torch's schedules; dots: what a run with the cycle logged at the end of each epoch. The "
            "cycle starts at 1/25 of its largest rate, whatever rate the optimiser was given. Right: the cycle used "
            "here moves the rate alone; torch's, by default, also lowers β₁ from .95 to .85 and raises it again.",
            "À gauche : les calendriers de torch ; points : ce qu'un entraînement avec le cycle a noté à la fin de "
            "chaque époque. Le cycle commence à 1/25 de son taux maximal, quel que soit le taux donné à "
            "l'optimiseur. À droite : le cycle utilisé ici ne change que le taux ; celui de torch abaisse aussi β₁ de "
            "0,95 à 0,85, puis le relève.",
        ),
    )


def budget_to_target(results: Results) -> Drawing:
    """The final loss against the total budget, by schedule, and the share of seeds that end at the target."""
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    counts: list[int] = []
    left_ends, right_ends = [], []
    for row, name in enumerate(("constant", "cosine", "one_cycle")):
        label, color, found = NAMES[name], COLORS[name], _by_budget(results, name)
        steps, decades = list(found), [column for column, _ in found.values()]
        shown = plots.draw_line(left, steps, decades, label, color, scale=plots.POWER_OF_10)
        left_ends += d.last_end(shown, label, color)
        share = [float((column.values <= np.log10(TARGET)).mean()) for column in decades]
        right.plot(steps, share, "o-", color=color, gid=f"at target/{label}")
        right_ends += [End(steps[-1], share[-1], label, color)] if steps else []
        counts += [len(column.values) for column in decades]
        below = left.get_xaxis_transform()
        for x, (_, rate) in found.items():
            left.text(x, 0.14 - 0.055 * row, f"{rate:g}", ha="center", color=color, fontsize=d.SMALL, transform=below)
    left.axhline(TARGET, color=d.GREY, linestyle=":", linewidth=2, gid="target")
    left.set(yscale="log", ylim=(1e-7, 10), ylabel="final loss")
    left.text(0.02, 0.2, "largest rate:", fontsize=d.SMALL, transform=left.transAxes)
    right.set(ylabel="share of seeds at the target", ylim=(-0.03, 1.03))
    for axes, ends in ((left, left_ends), (right, right_ends)):
        axes.set(xscale="log", xlabel="total budget (steps)", xlim=(40, 230))
        plots.name_ticks(axes, (50, 75, 100, 200))
        d.label_ends(axes, ends)
    seeds = d.count_words(counts)
    return Drawing(
        figure,
        Words("The budget that each schedule needs", "Le budget que demande chaque réglage du taux"),
        Words(
            "Each point is a training of its own, planned for that many steps, with the rate below it, the best of "
            f"six on other seeds. Left: geometric mean of the final loss over seeds ({seeds}); band: 95 % Student "
            "interval of the logarithm; dotted: the target, .01. Right: share of seeds whose final loss is at most "
            "the target.",
            "Chaque point est un entraînement à part, prévu pour ce nombre de pas, au taux écrit dessous, le meilleur "
            "de six sur d'autres graines. À gauche : moyenne géométrique de l'erreur finale sur les graines "
            f"({seeds}) ; bande : intervalle de Student à 95 % du logarithme ; pointillés : la cible, 0,01. À droite "
            ": part des graines dont l'erreur finale atteint la cible.",
        ),
    )


def _by_budget(results: Results, schedule: str) -> dict[int, tuple[plots.Column, float]]:
    """The final loss and the learning rate of a schedule by the steps of its budgets, the smallest first."""
    found = {}
    for budget in BUDGETS:
        overrides: Overrides = {**({"config": budget} if budget else {}), "schedule": schedule, "lr": "tuned"}
        runs = results.of(overrides)
        if runs:
            # At smoke scale all budgets are equal; show the last.
            decades = plots.column(results, overrides, "final_decades")
            found[int(runs[0].result["steps"])] = (decades, float(runs[0].settings["lr"]))
    return dict(sorted(found.items()))


def weights_by_schedule(results: Results) -> Drawing:
    """Test loss and accuracy of a network by schedule, and where the image's rate leaves it."""
    figure = d.new_figure(5.6)
    names = ("constant", "one_cycle", "cosine", "linear")
    rows: plots.Styled = {NAMES[k]: ({"config": "weights", "schedule": k, "lr": "tuned"}, COLORS[k]) for k in names}
    misused: plots.Styled = {"one cycle, max .5": (MISUSE, d.PURPLE)}
    left, right = figure.subplots(1, 2, sharey=True)
    right.axvline(CHANCE, color=d.GREY, linestyle=":", linewidth=2, gid="chance")
    plots.draw_rows(left, results, rows, "test/loss")
    plots.draw_rows(right, results, {**rows, **misused}, "test/accuracy")
    left.set_xlabel("test loss (nats)")
    right.set_xlabel("test accuracy")
    plots.name_rows(left, (*rows, *misused), top=-0.5, bottom=0.5)
    seeds = plots.count_seeds(results, (overrides for overrides, _ in (*rows.values(), *misused.values())))
    return Drawing(
        figure,
        Words("The same schedules on a network's weights", "Les mêmes réglages sur les poids d'un réseau"),
        Words(
            f"After 160 steps of AdamW on Fashion-MNIST: mean over seeds ({seeds}); bars: 95 % Student interval. "
            "Each with its tuned largest rate, and, last, one cycle with the rate of .5 that the slide gives to an "
            "image (its loss is off the scale). Dotted: chance.",
            f"Après 160 pas d'AdamW sur Fashion-MNIST : moyenne sur les graines ({seeds}) ; barres : intervalle de "
            "Student à 95 %. Chacun avec son taux maximal réglé, et, en bas, un cycle au taux de 0,5 que la "
            "diapositive donne à une image (son erreur est hors échelle). Pointillés : le hasard.",
        ),
    )
