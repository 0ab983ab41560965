"""Checks of BatchNorm and LayerNorm: evaluation mode, batches of two, dependence on other samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lightning_modules.layers.normalization import normalization

DRAWS = 200
FEATURES = 5
# Units in `mode_gap_slope`, enough to determine the slope to a hundredth.
UNITS = 2000
MOMENTUM, EPSILON = 0.1, 1e-5
# Batch sizes in `mode_gap_slope`; the formula is inaccurate for smaller ones.
BATCH_SIZES = (16, 32, 64, 128, 256)


def running_averages(seed: int) -> dict[str, float]:
    """Compare BatchNorm in evaluation with running averages in which each batch has .9 times the weight of the next.

    The mean starts at 0 and the variance (divided by n - 1) at 1; the newest batch has the weight .1.
    """
    generator, errors = _generator(seed), []
    for _ in range(DRAWS):
        batches = [_samples(generator, int(n)) for n in torch.randint(2, 17, (6,), generator=generator)]
        layer = _layer("batch")
        for batch in batches:
            layer(batch)
        weights = [MOMENTUM * (1 - MOMENTUM) ** age for age in reversed(range(len(batches)))]
        forgotten = (1 - MOMENTUM) ** len(batches)
        mean = sum((w * b.mean(0) for w, b in zip(weights, batches, strict=True)), torch.zeros(FEATURES).double())
        variance = sum(
            (w * b.var(0) for w, b in zip(weights, batches, strict=True)), forgotten * torch.ones(FEATURES).double()
        )
        x = _samples(generator, 4)
        errors.append(_error(layer.eval()(x), (x - mean) / (variance + EPSILON).sqrt()))
    return {"error": max(errors), "draws": float(DRAWS)}


def batch_of_two(seed: int) -> dict[str, float]:
    """Verify that BatchNorm maps two samples to +1 and -1, whatever their distance (at least 1 here)."""
    generator, errors = _generator(seed), []
    for _ in range(DRAWS):
        one = _samples(generator, 1)
        gap = 1 + 10 * torch.rand(1, FEATURES, generator=generator, dtype=torch.float64)
        sign = torch.randint(2, (1, FEATURES), generator=generator).double() * 2 - 1
        out = _layer("batch")(torch.cat([one, one + sign * gap]))
        errors.append(_error(out, torch.cat([-sign, sign])))
    return {"error": max(errors), "draws": float(DRAWS)}


def sample_alone(seed: int) -> dict[str, float]:
    """Verify that LayerNorm's output for a sample does not depend on other samples or on the mode."""
    generator, errors = _generator(seed), []
    for _ in range(DRAWS):
        layer, samples = _layer("layer"), _samples(generator, 6)
        among = layer(samples)
        alone = torch.cat([layer(samples[k : k + 1]) for k in range(len(samples))])
        errors += [_error(among, alone), _error(among, layer.eval()(samples))]
    return {"error": max(errors), "draws": float(DRAWS)}


def mode_gap_slope(seed: int) -> dict[str, float]:
    """Measure the slope of log gap against log batch size, plus ½, for the gap of BatchNorm between its two modes.

    The samples are standard normal, and evaluation uses their true mean 0 and variance 1. In theory, for large n, batch
    mean and deviation have variances of 1/n and 1/(2n), so the gap is √(3 / 2n).
    """
    generator, gaps = _generator(seed), []
    for n in BATCH_SIZES:
        x = torch.randn(n, UNITS, generator=generator, dtype=torch.float64)
        training = _layer("batch", UNITS)(x)
        evaluation = _layer("batch", UNITS).eval()(x)
        gaps.append(float((training - evaluation).detach().square().mean().sqrt()))
    slope, _ = np.polyfit(np.log(BATCH_SIZES), np.log(gaps), 1)
    return {"slope_error": float(slope) + 0.5}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _samples(generator: torch.Generator, n: int) -> Tensor:
    return 2 + 3 * torch.randn(n, FEATURES, generator=generator, dtype=torch.float64)


def _layer(name: str, units: int = FEATURES) -> nn.Module:
    layer = normalization(name, units)
    assert layer is not None  # no check asks for "none"
    return layer.double().train()


def _error(value: Tensor, truth: Tensor) -> float:
    return float(((value.detach() - truth.detach()).abs() / (1 + truth.detach().abs())).max())
