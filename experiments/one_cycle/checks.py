"""The check of the first and the last learning rate of the cycle."""

from __future__ import annotations

import torch

from lightning_modules.optimization import build_schedule

DRAWS = 500
# Defaults of torch's OneCycleLR: largest rate / first rate, and first rate / last rate.
DIV_FACTOR, FINAL_DIV_FACTOR = 25.0, 1e4


def ends_of_the_cycle(seed: int) -> dict[str, float]:
    """Compare the first and last learning rate with theory, for 10 to 2,000 steps and largest rates from 1e-4 to 1."""
    draws = torch.Generator().manual_seed(seed)
    totals = torch.randint(10, 2001, (DRAWS,), generator=draws).tolist()
    largest = (10 ** (-4 * torch.rand(DRAWS, generator=draws, dtype=torch.float64))).tolist()
    error = 0.0
    for total, rate in zip(totals, largest, strict=True):
        truth = {0: rate / DIV_FACTOR, total - 1: rate / DIV_FACTOR / FINAL_DIV_FACTOR}
        for step, expected in truth.items():
            # A relative error, because the last rate is smaller than the tolerance.
            error = max(error, abs(rate_at(step, rate, total) / expected - 1))
    return {"error": error, "draws": float(DRAWS)}


def rate_at(step: int, largest: float, total: int) -> float:
    """Return the learning rate of the cycle at a step; torch's schedule depends only on the step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=largest)
    schedule = build_schedule(optimizer, "one_cycle", 0.0, total)
    schedule.last_epoch = step
    return float(schedule.get_lr()[0])
