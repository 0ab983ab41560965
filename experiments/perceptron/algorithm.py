"""The perceptron's algorithm as on the slide, sample by sample, without gradient or optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """Result of the algorithm: w, with w0 last if there is a bias, and whether the last epoch had no mistake."""

    weights: Floats
    updates: int
    epochs: int
    ended: bool


def signed_rows(x: Floats, y: Floats, bias: bool = True) -> Floats:
    """Return y·(x, 1), shape (n, d + 1), or y·x without a bias; a row r with ⟨w, r⟩ <= 0 is a mistake.

    Args:
        x: inputs, (n, d).
        y: classes −1 or 1, (n,).
        bias: whether f has a bias w0.
    """
    points = np.hstack([x, np.ones((len(x), 1))]) if bias else x
    return np.asarray(y[:, None] * points, dtype=float)


def learn(
    rows: Floats,
    rng: np.random.Generator,
    epochs: int,
    *,
    start: Floats | None = None,
    step: float = 1.0,
    strict: bool = False,
    ascent: bool = False,
) -> Learned:
    """Run the algorithm, in a new random order in each epoch, until an epoch has no mistake.

    Slide "Algorithme du perceptron".

    Args:
        rows: see `signed_rows`.
        rng: random generator of the orders.
        epochs: maximum number of epochs.
        start: initial w. Default: 0.
        step: ε of the update w ← w + ε·y·x.
        strict: whether only y f(x) < 0 is a mistake; otherwise f(x) = 0 is one too.
        ascent: whether updates follow the gradient of the cost upwards.
    """
    weights = np.zeros(rows.shape[1]) if start is None else start
    updates, move = 0, -step if ascent else step
    for epoch in range(epochs):
        order, before, seen = rows[rng.permutation(len(rows))], updates, 0
        while seen < len(order):
            # Samples before the next mistake do not change the weights, so they are evaluated together.
            margins = order[seen:] @ weights
            wrong = margins < 0 if strict else margins <= 0
            if not wrong.any():
                break
            seen += int(wrong.argmax()) + 1
            weights = weights + move * order[seen - 1]
            updates += 1
        if updates == before:
            return Learned(weights, updates, epoch + 1, ended=True)
    return Learned(weights, updates, epochs, ended=False)


def linearly_separable(rows: Floats) -> bool:
    """Whether some w has ⟨w, r⟩ > 0 for every row, decided by linear programming."""
    # Imported here, because other functions need no solver.
    from scipy.optimize import linprog

    answer = linprog(np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None))
    return bool(answer.status == 0)
