"""The two ends of the cycle, as the optimiser sees them."""

from __future__ import annotations

import torch

from lightning_modules.optimization import build_schedule

DRAWS = 500
# Of torch's OneCycleLR: largest over first rate, and first over last.
DIV_FACTOR, FINAL_DIV_FACTOR = 25.0, 1e4


def ends_of_the_cycle(seed: int) -> dict[str, float]:
    """First and last rate of cycles of 10 to 2,000 steps, with largest rates from 1e-4 to 1."""
    draws = torch.Generator().manual_seed(seed)
    totals = torch.randint(10, 2001, (DRAWS,), generator=draws).tolist()
    largest = (10 ** (-4 * torch.rand(DRAWS, generator=draws, dtype=torch.float64))).tolist()
    error = 0.0
    for total, rate in zip(totals, largest, strict=True):
        truth = {0: rate / DIV_FACTOR, total - 1: rate / DIV_FACTOR / FINAL_DIV_FACTOR}
        for step, expected in truth.items():
            # Relative: the last rate is smaller than the tolerance.
            error = max(error, abs(rate_at(step, rate, total) / expected - 1))
    return {"error": error, "draws": float(DRAWS)}


def rate_at(step: int, largest: float, total: int) -> float:
    """The rate that the cycle gives an optimiser at a step: torch's schedule is a function of the step alone."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=largest)
    schedule = build_schedule(optimizer, "one_cycle", 0.0, total)
    schedule.last_epoch = step
    return float(schedule.get_lr()[0])
