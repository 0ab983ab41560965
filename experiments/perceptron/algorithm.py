"""The perceptron's algorithm as the slide states it, sample by sample; no gradient, no optimiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Learned:
    """What the algorithm came to: w, with w0 last if there is a bias, and whether its last epoch had no mistake."""

    weights: Floats
    updates: int
    epochs: int
    ended: bool


def signed_rows(x: Floats, y: Floats, bias: bool = True) -> Floats:
    """Return y·(x, 1), shape (n, d + 1), or y·x without a bias: a mistake is a row r with ⟨w, r⟩ <= 0.

    Args:
        x: inputs, (n, d).
        y: classes −1 or 1, (n,).
        bias: whether f has a w0.
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
    """Run the algorithm until an epoch has no mistake, in a new random order each epoch.

    Slide "Algorithme du perceptron".

    Args:
        rows: see `signed_rows`.
        rng: draws the orders.
        epochs: after as many it stops anyway.
        start: w at first, 0 if not given.
        step: ε of the update w ← w + ε·y·x.
        strict: a mistake is y f(x) < 0; otherwise f(x) = 0 is one as well.
        ascent: follow the gradient of the cost up instead of down.
    """
    weights = np.zeros(rows.shape[1]) if start is None else start
    updates, move = 0, -step if ascent else step
    for epoch in range(epochs):
        order, before, seen = rows[rng.permutation(len(rows))], updates, 0
        while seen < len(order):
            # The samples up to the next mistake change nothing, so they are looked at together.
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
    # Imported here: the runs of other experiments import no solver.
    from scipy.optimize import linprog

    answer = linprog(np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None))
    return bool(answer.status == 0)
