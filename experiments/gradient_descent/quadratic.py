"""The loss of a linear model as a quadratic: Hessian, minimum, and gradient descent in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.core.grid.runs import Run
from experiments.core.training import rebuild

Floats = NDArray[np.float64]


class Quadratic(NamedTuple):
    """The mean squared error of a linear model: L(w) = lowest + ½ (w − minimum)ᵀ H (w − minimum).

    w are the weights with the bias last, shape (d + 1,).
    """

    hessian: Floats
    minimum: Floats
    lowest: float

    @property
    def threshold(self) -> float:
        """The step size 2/λmax above which gradient descent diverges."""
        return float(2 / np.linalg.eigvalsh(self.hessian)[-1])

    def excess(self, w: Floats) -> Floats:
        """Compute L(w) minus the lowest loss, for weights (…, d + 1)."""
        off = w - self.minimum
        return np.asarray(0.5 * np.einsum("...i,ij,...j", off, self.hessian, off))

    def after(self, steps: int, start: Floats, step: float) -> Floats:
        """Compute the weights after t steps in closed form, w* + (I − εH)ᵗ (w0 − w*)."""
        values, vectors = np.linalg.eigh(self.hessian)
        off = vectors.T @ (start - self.minimum)
        return np.asarray(self.minimum + vectors @ ((1 - step * values) ** steps * off))


def with_ones(x: Floats) -> Floats:
    """Append a column of ones for the bias: (n, d) to (n, d + 1)."""
    return np.hstack([x, np.ones((len(x), 1))])


def quadratic_of(x: Floats, y: Floats) -> Quadratic:
    """Return the loss for points x, (n, d), and targets y, (n,)."""
    rows = with_ones(x)
    minimum: Floats = np.linalg.lstsq(rows, y, rcond=None)[0].astype(np.float64)
    return Quadratic(2 * rows.T @ rows / len(rows), minimum, float(np.mean((rows @ minimum - y) ** 2)))


def points_of(run: Run) -> tuple[Floats, Floats]:
    """Return the training points of a run: x (n, d) and y (n,), float64."""
    x, y = rebuild.data_of(run).train
    return x.double().numpy(), y[:, 0].double().numpy()


def path_of(run: Run) -> tuple[list[int], Floats]:
    """Return the recorded steps of a run and its weights at these steps, bias last, (steps, d + 1)."""
    network = rebuild.network_of(run)
    recorded = rebuild.recorded_weights(run, network)
    path = [[*weights["output.weight"][0].tolist(), float(weights["output.bias"][0])] for weights in recorded.values()]
    return list(recorded), np.array(path)
