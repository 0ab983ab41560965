"""Checks of gradient descent on quadratics, step by step and in closed form: pure functions of a seed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules import Diabetes
from experiments.gradient_descent.quadratic import Quadratic, quadratic_of, with_ones

Floats = NDArray[np.float64]

DRAWS = 100
STEPS = 30
# Steps of the descent that decides whether a step size converges: enough to detect one 0.1 % above the threshold.
LONG = 2000
BISECTIONS = 18
# Steps for the figure of the loss against the step size.
SHORT = 100
MULTIPLES = tuple(round(0.05 * k, 2) for k in range(1, 25))
INSIDE, OUTSIDE = 0.9, 1.1
OUTSIDE_STEPS = 100


def closed_form(seed: int) -> dict[str, float]:
    """Compare the iterates of w ← w − ε ∂L/∂w, with the gradient from autograd, with the closed form at every step."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(DRAWS):
        x, y = rng.normal(size=(20, 1)) + rng.normal(), rng.normal(size=20)
        loss = quadratic_of(x, y)
        step = float(rng.uniform(0.05, 1.0)) * loss.threshold
        start = rng.normal(size=2)
        rows, targets = torch.from_numpy(with_ones(x)), torch.from_numpy(y)
        w = torch.from_numpy(start)
        for t in range(1, STEPS + 1):
            w.requires_grad_()
            (gradient,) = torch.autograd.grad((rows @ w - targets).square().mean(), w)
            w = (w - step * gradient).detach()
            truth = loss.after(t, start, step)
            worst = max(worst, float((np.abs(w.numpy() - truth) / (1 + np.abs(truth))).max()))
    return {"error": worst, "draws": DRAWS}


def step_threshold(seed: int) -> dict[str, float]:
    """Measure the largest step size with which descent on a real table converges, by bisection, and compute 2/λmax.

    Also compute, for multiples of 2/λmax, log10 of the excess loss after some steps relative to the start, measured and
    in closed form.
    """
    data = Diabetes(batch_size="full", seed=seed)
    data.setup()
    x, y = (part.double().numpy() for part in data.train)
    rows, targets = with_ones(x), y[:, 0]
    loss = quadratic_of(x, targets)
    start = np.asarray(np.random.default_rng(seed).normal(size=rows.shape[1]), dtype=np.float64)
    # A wide interval around the theoretical value.
    low, high = 1e-3 * loss.threshold, 10 * loss.threshold
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _converges(rows, targets, start, middle) else (low, middle)
    measured = (low + high) / 2
    return {
        "predicted": loss.threshold,
        "measured": measured,
        "relative_difference": measured / loss.threshold - 1,
        "decades_inside": _decades(loss, rows, targets, start, INSIDE, LONG),
        "decades_outside": _decades(loss, rows, targets, start, OUTSIDE, OUTSIDE_STEPS),
        **{f"decades/{m:.2f}": _decades(loss, rows, targets, start, m, SHORT) for m in MULTIPLES},
        **{f"predicted_decades/{m:.2f}": _predicted_decades(loss, start, m, SHORT) for m in MULTIPLES},
    }


def descend(rows: Floats, y: Floats, start: Floats, step: float, steps: int) -> Floats:
    """Take steps of w ← w − ε ∂L/∂w on the mean squared error, with the gradient of the samples.

    Args:
        rows: inputs with a last column of ones, (n, d + 1).
        y: targets, (n,).
        start: initial w, (d + 1,).
        step: step size ε.
        steps: number of steps.

    Returns:
        The last w.
    """
    w = start
    for _ in range(steps):
        w = w - step * 2 / len(rows) * (rows.T @ (rows @ w - y))
    return w


def _converges(rows: Floats, y: Floats, start: Floats, step: float) -> bool:
    """Whether the loss at the end of a long descent is finite and not larger than half-way."""
    with np.errstate(over="ignore", invalid="ignore"):
        middle = descend(rows, y, start, step, LONG // 2)
        end = descend(rows, y, middle, step, LONG // 2)
        before, after = (float(np.mean((rows @ w - y) ** 2)) for w in (middle, end))
    return bool(np.isfinite(after) and after <= before)


def _decades(loss: Quadratic, rows: Floats, y: Floats, start: Floats, multiple: float, steps: int) -> float:
    """log10 of the excess loss after some steps relative to the start; the step is a multiple of the threshold."""
    end = descend(rows, y, start, multiple * loss.threshold, steps)
    return float(np.log10(loss.excess(end) / loss.excess(start)))


def _predicted_decades(loss: Quadratic, start: Floats, multiple: float, steps: int) -> float:
    end = loss.after(steps, start, multiple * loss.threshold)
    return float(np.log10(loss.excess(end) / loss.excess(start)))
