"""Contrasts over the grid of one seed: workable cells, and architectures whose order changes.

An architecture is a depth and a normalisation; a cell is an architecture and a learning rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from experiments.core.grid.runs import Run

# A cell is workable if its accuracy is at most five points below the best cell of its seed, over all normalisations.
# Two architectures whose accuracies differ by more than that are apart.
WORKABLE = 0.05
# Two architectures differ in rank only if their accuracies differ by more than a point, which exceeds the noise of 300
# samples.
CLEAR = 0.01
# Accuracies are stored in single precision.
ROUNDING = 1e-6

Point = tuple[Run, float]
Architecture = tuple[str, int]


def batch_more_workable(points: Sequence[Point]) -> float:
    """Contrast: workable cells with BatchNorm minus those without normalisation."""
    cells = workable_cells(points)
    return float(cells["batch"] - cells["none"])


def layer_more_workable(points: Sequence[Point]) -> float:
    """Contrast: workable cells with LayerNorm minus those without normalisation."""
    cells = workable_cells(points)
    return float(cells["layer"] - cells["none"])


def workable_cells(points: Sequence[Point]) -> dict[str, int]:
    """Number of workable cells of each normalisation, for one seed."""
    cells = {_architecture(run)[0]: 0 for run, _ in points}
    for normalization, _, _ in workable(points):
        cells[normalization] += 1
    return cells


def workable(points: Sequence[Point]) -> list[tuple[str, int, float]]:
    """List the workable cells of one seed: normalisation, depth, learning rate."""
    least = max(value for _, value in points) - WORKABLE - ROUNDING
    return [(*_architecture(run), _rate(run)) for run, value in points if value >= least]


def batch_more_shared_rates(points: Sequence[Point]) -> float:
    """Contrast: learning rates that are workable at every depth, with BatchNorm minus without normalisation."""
    rates = shared_rates(points)
    return float(rates["batch"] - rates["none"])


def shared_rates(points: Sequence[Point]) -> dict[str, int]:
    """Number of learning rates that are workable at every depth, for each normalisation of one seed."""
    depths = {_architecture(run)[1] for run, _ in points}
    cells = set(workable(points))
    rates = {_architecture(run)[0]: 0 for run, _ in points}
    for normalization, rate in {(_architecture(run)[0], _rate(run)) for run, _ in points}:
        rates[normalization] += all((normalization, depth, rate) in cells for depth in depths)
    return rates


def swapped_pairs(points: Sequence[Point]) -> float:
    """Contrast: share of the pairs of architectures whose order is reversed by a shared learning rate.

    Tuned means that each architecture has its best rate on the validation sample. Shared means that all have the best
    rate of one of them, the owner; the result is the mean over owners. A pair is swapped if one architecture is clearly
    better with tuned rates, and the other with the shared rate.
    """
    shares = [share for _, share in swapped_by_owner(points)]
    return sum(shares) / len(shares)


def swapped_by_owner(points: Sequence[Point]) -> list[tuple[Architecture, float]]:
    """Share of swapped pairs for each owner of the shared learning rate."""
    shares = []
    for owner in best_rates(points):
        both = shared_and_tuned(points, owner)
        shared, tuned = ({a: pair[place] for a, pair in both.items()} for place in (0, 1))
        shares.append((owner, swapped_share(shared, tuned)))
    return shares


def shared_and_tuned(points: Sequence[Point], owner: Architecture) -> dict[Architecture, tuple[float, float]]:
    """Accuracy of each architecture at the owner's best learning rate and at its own best rate."""
    accuracy = {(_architecture(run), _rate(run)): value for run, value in points}
    best = best_rates(points)
    return {a: (accuracy[a, best[owner]], accuracy[a, rate]) for a, rate in best.items()}


def false_gaps(points: Sequence[Point]) -> float:
    """Contrast: share of the pairs that are more than five points apart with a shared rate, but not with tuned rates.

    See `swapped_pairs` for shared and tuned rates.
    """
    shares = [share for _, share in false_gaps_by_owner(points)]
    return sum(shares) / len(shares)


def false_gaps_by_owner(points: Sequence[Point]) -> list[tuple[Architecture, float]]:
    """Share of pairs that are apart only because of the shared rate, for each owner of the rate."""
    shares = []
    for owner in best_rates(points):
        pairs = list(itertools.combinations(shared_and_tuned(points, owner).values(), 2))
        false = sum(_apart(a[0], b[0]) and not _apart(a[1], b[1]) for a, b in pairs)
        shares.append((owner, false / len(pairs)))
    return shares


def swapped_by_sample(points: Sequence[Point]) -> float:
    """Contrast: share of the pairs that are swapped between validation and test sample, with tuned rates.

    This is the noise level of `swapped_pairs`.
    """
    best = best_rates(points)
    tuned = [(run, value) for run, value in points if best[_architecture(run)] == _rate(run)]
    test = {_architecture(run): value for run, value in tuned}
    validation = {_architecture(run): _validation(run) for run, _ in tuned}
    return swapped_share(test, validation)


def best_rates(points: Sequence[Point]) -> dict[Architecture, float]:
    """Learning rate with the best validation accuracy of each architecture; the smallest one if several are equal."""
    best: dict[Architecture, tuple[float, float]] = {}
    for run, _ in sorted(points, key=lambda point: _rate(point[0])):
        architecture = _architecture(run)
        if architecture not in best or _validation(run) > best[architecture][0]:
            best[architecture] = (_validation(run), _rate(run))
    return {architecture: rate for architecture, (_, rate) in best.items()}


def swapped_share(one: Mapping[Architecture, float], other: Mapping[Architecture, float]) -> float:
    """Share of the pairs whose order is clear in both tables and opposite."""
    pairs = list(itertools.combinations(one, 2))
    return sum(_order(one, *pair) * _order(other, *pair) < 0 for pair in pairs) / len(pairs)


def _apart(a: float, b: float) -> bool:
    return abs(a - b) > WORKABLE + ROUNDING


def _order(accuracy: Mapping[Architecture, float], a: Architecture, b: Architecture) -> int:
    difference = accuracy[a] - accuracy[b]
    return 0 if abs(difference) <= CLEAR + ROUNDING else 1 if difference > 0 else -1


def _architecture(run: Run) -> Architecture:
    return str(run.settings["normalization"]), int(run.settings["depth"])


def _rate(run: Run) -> float:
    return float(run.settings["lr"])


def _validation(run: Run) -> float:
    """Validation accuracy at the end; 0 for a diverged run."""
    value = run["val/accuracy"]
    return value if run.status == "ok" and math.isfinite(value) else 0.0
