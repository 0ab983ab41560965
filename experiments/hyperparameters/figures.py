"""The grid of depth and learning rate with and without normalisation, and the ranks that a shared rate turns round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from experiments.core.grid.runs import Run
from experiments.core.report import drawing as d
from experiments.core.report.drawing import Drawing, Words
from experiments.core.report.intervals import MeanInterval, mean_and_interval
from experiments.core.verdicts.results import Results
from experiments.core.verdicts.statistics import Floats
from experiments.hyperparameters import measures as m
from experiments.hyperparameters.experiment import CHANCE, DEPTHS, NORMALIZATIONS, RATES
from experiments.hyperparameters.measures import Architecture, Point

NAMES = {"none": "no normalisation", "batch": "BatchNorm", "layer": "LayerNorm"}
SHORT = {"none": "none", "batch": "BN", "layer": "LN"}
COLORS = {"none": d.VERMILLION, "batch": d.BLUE, "layer": d.GREEN}
# On the left of the picture, all use the learning rate of the plainest architecture.
BASELINE: Architecture = ("none", 1)


def workable_cells(results: Results) -> Drawing:
    """Test accuracy of every cell, a panel a normalisation; a frame where most seeds call the cell workable."""
    seeds = list(complete_seeds(results).values())
    figure = d.new_figure(5.6)
    grid = figure.subplots(1, len(NORMALIZATIONS), sharey=True)
    image = None
    for axes, normalization in zip(grid, NORMALIZATIONS, strict=True):
        mean, workable = _cells(results, seeds, normalization)
        image = axes.pcolormesh(mean, cmap="cividis", vmin=0.0, vmax=1.0, gid=f"accuracy/{normalization}")
        for (row, column), value in np.ndenumerate(mean):
            if np.isfinite(value):
                _write_cell(axes, normalization, row, column, value, float(workable[row, column]))
        counts = np.array([[float(m.workable_cells(points)[normalization]) for points in seeds]])
        shown = mean_and_interval([0.0], counts)
        axes.set_title(f"{NAMES[normalization]}\n{_count(shown)} of {len(DEPTHS) * len(RATES)}")
        axes.set_xticks(np.arange(len(RATES)) + 0.5, [f"{rate:g}" for rate in RATES])
        axes.set_yticks(np.arange(len(DEPTHS)) + 0.5, [str(depth) for depth in DEPTHS])
        axes.grid(visible=False)
        axes.set_xlabel("learning rate")
    grid[0].set_ylabel("depth (hidden layers)")
    if image is not None:
        figure.colorbar(image, ax=grid, label="test accuracy", pad=0.01, aspect=14)
    n = d.count_words([len(seeds)])
    return Drawing(
        figure,
        Words("Which hyper-parameters work", "Quels hyper-paramètres fonctionnent"),
        Words(
            f"Test accuracy in per cent, mean over seeds ({n}). White frame: in most seeds the cell is workable, at "
            "most five points below the seed's best of all 54. Above: workable cells, mean and 95 % Student interval.",
            f"Exactitude de test en pour cent, moyenne sur les graines ({n}). Cadre blanc : pour la plupart des "
            "graines, la case est à cinq points au plus de la meilleure des 54. En haut : nombre de cases qui "
            "fonctionnent, moyenne et intervalle de Student à 95 %.",
        ),
    )


def _cells(results: Results, seeds: Sequence[Sequence[Point]], normalization: str) -> tuple[Floats, Floats]:
    """Mean accuracy and share of seeds in which a cell is workable, shape (depths, rates) each."""
    mean = np.full((len(DEPTHS), len(RATES)), np.nan)
    workable = np.zeros((len(DEPTHS), len(RATES)))
    for row, depth in enumerate(DEPTHS):
        for column, rate in enumerate(RATES):
            runs = results.of({"normalization": normalization, "depth": depth, "lr": rate})
            values = [value for _, value in map(_point, runs)]
            mean[row, column] = np.mean(values) if values else np.nan
            cell = (normalization, depth, rate)
            workable[row, column] = np.mean([cell in m.workable(points) for points in seeds]) if seeds else 0.0
    return mean, workable


def _write_cell(axes: Axes, normalization: str, row: int, column: int, value: float, workable: float) -> None:
    name = f"{normalization}/{DEPTHS[row]}/{RATES[column]:g}"
    color = "white" if value < 0.6 else "black"
    axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=color, gid=f"cell/{name}")
    if workable > 0.5:
        x, y = column + 0.08, row + 0.08
        corners = ([x, x + 0.84, x + 0.84, x, x], [y, y, y + 0.84, y + 0.84, y])
        axes.plot(*corners, color="white", linewidth=3.0, gid=f"workable/{name}")


def _count(shown: MeanInterval) -> str:
    (mean,), (low,), (high,) = shown.mean, shown.low, shown.high
    interval = f" [{low:.1f}, {high:.1f}]" if np.isfinite(low) else ""
    return f"{mean:.1f}{interval}" if np.isfinite(mean) else "–"


def swapped_ranks(results: Results) -> Drawing:
    """Accuracy of every architecture at a shared rate and tuned; what the shared rate does to the pairs."""
    seeds = list(complete_seeds(results).values())
    figure = d.new_figure()
    left, right = figure.subplots(1, 2, sharey=True)
    names = [_name(architecture) for architecture in _architectures()]
    for y, (name, architecture) in enumerate(zip(names, _architectures(), strict=True)):
        _draw_accuracies(left, y, name, architecture, seeds)
        _draw_shares(right, y, name, architecture, seeds)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    left.set(title=f"○ rate of '{_name(BASELINE)}'   ● own rate", xlabel="test accuracy", xlim=(0, 1))
    right.set(
        title="● turned round   ◇ false gap", xlabel="share of the 36 pairs, all at this one's rate", xlim=(-0.1, 1)
    )
    if seeds:
        floor = float(np.mean([m.swapped_by_sample(points) for points in seeds]))
        right.axvline(floor, color=d.GREY, linestyle=":", linewidth=1.8, gid="floor")
    n = d.count_words([len(seeds)])
    return Drawing(
        figure,
        Words("A learning rate that all share", "Un pas d'apprentissage commun"),
        Words(
            f"Left: test accuracy, mean over seeds ({n}). Right: share of the pairs whose order the shared rate turns "
            "round (by more than a point both ways), and of those it sets five points apart although tuned ones are "
            "not; bars: 95 % Student interval. Dotted: turned round by exchanging validation and test sample.",
            f"À gauche : exactitude de test, moyenne sur les graines ({n}). À droite : part des paires dont le pas "
            "commun inverse l'ordre (plus d'un point dans chaque sens), et de celles qu'il sépare de cinq points alors "
            "que réglées elles ne le sont pas ; barres : intervalle de Student à 95 %. Pointillés : inversées par "
            "l'échange des échantillons de validation et de test.",
        ),
    )


def _draw_accuracies(
    axes: Axes, y: int, name: str, architecture: Architecture, seeds: Sequence[Sequence[Point]]
) -> None:
    pairs = [m.shared_and_tuned(points, BASELINE)[architecture] for points in seeds]
    if not pairs:
        return
    shared, tuned = (float(np.mean(column)) for column in zip(*pairs, strict=True))
    color = COLORS[architecture[0]]
    axes.hlines(y, shared, tuned, color=color, linewidth=2.0)
    axes.plot(shared, y, "o", color=color, fillstyle="none", markeredgewidth=2, gid=f"shared/{name}")
    axes.plot(tuned, y, "o", color=color, gid=f"tuned/{name}")


def _draw_shares(axes: Axes, y: int, name: str, owner: Architecture, seeds: Sequence[Sequence[Point]]) -> None:
    color = COLORS[owner[0]]
    for kind, by_owner, marker, at in (
        ("swapped", m.swapped_by_owner, "o", y - 0.12),
        ("gap", m.false_gaps_by_owner, "D", y + 0.12),
    ):
        shares = np.array([[dict(by_owner(points))[owner] for points in seeds]])
        shown = mean_and_interval([float(y)], shares)
        if not np.isfinite(shown.mean).any():
            continue
        if np.isfinite(shown.low).any():
            axes.hlines(at, shown.low[0], shown.high[0], color=color, linewidth=2.5, gid=f"{kind} interval/{name}")
        fill = "full" if kind == "swapped" else "none"
        axes.plot(shown.mean[0], at, marker, color=color, fillstyle=fill, gid=f"{kind}/{name}")


def complete_seeds(results: Results) -> dict[int, list[Point]]:
    """The test accuracies of all cells by seed, of the seeds that have all of them."""
    found: dict[int, list[Point]] = {}
    for run in results.runs:
        found.setdefault(run.seed, []).append(_point(run))
    wanted = len(results.plan.grid.conditions)
    return {seed: points for seed, points in sorted(found.items()) if len(points) == wanted}


def _point(run: Run) -> Point:
    """A run and its test accuracy, that of a guess if it diverged."""
    return run, run["test/accuracy"] if run.status == "ok" else CHANCE


def _architectures() -> list[Architecture]:
    return [(normalization, depth) for normalization in NORMALIZATIONS for depth in DEPTHS]


def _name(architecture: Architecture) -> str:
    normalization, depth = architecture
    return f"{SHORT[normalization]}, depth {depth}"
