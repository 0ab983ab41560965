"""Checks of dropout against networks without the dropped units, and against theory: pure functions of a seed."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers.dropout import DROPOUT_MASKS, dropout

NETWORKS, BATCH = 10, 16
UNITS, DRAWS = 8, 200
PROBABILITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
MASKS, WIDE = 20_000, 64


def thinned_networks(seed: int) -> dict[str, float]:
    """Compare a training iteration with dropout with the network without the removed units, sample by sample."""
    generator = torch.Generator().manual_seed(seed)
    errors, draws = [], 0
    for mask, index in itertools.product(DROPOUT_MASKS, range(NETWORKS)):
        p = float(0.1 + 0.7 * torch.rand((), generator=generator))
        network = FullyConnectedNetwork(
            6, 3, [8, 7], seed=seed + index, activation="tanh", dropout=p, dropout_mask=mask
        ).double()
        x = torch.randn(BATCH, 6, generator=generator, dtype=torch.float64)
        outputs, kept = iteration(network, x, seed + index)
        whole = torch.stack(
            [without_units(network, row, [torch.ones(8).bool(), torch.ones(7).bool()], 0.0) for row in x]
        )
        left = torch.stack([without_units(network, x[i], [layer[i] for layer in kept], p) for i in range(BATCH)])
        errors += [
            (outputs - left).abs() / (1 + left.abs()),
            (network.eval()(x).detach() - whole).abs() / (1 + whole.abs()),
        ]
        if mask == "batch":
            errors += [(layer != layer[:1]).double() for layer in kept]
        draws += BATCH
    return {"error": max(float(error.max()) for error in errors), "draws": float(draws)}


def iteration(network: FullyConnectedNetwork, x: Tensor, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Run a forward pass in training mode.

    Returns:
        The outputs, (batch, outputs), and the units that each hidden layer kept for each sample, (batch, units) each. A
        unit counts as removed if its output is 0, so the activation must not return 0 itself.
    """
    kept: list[Tensor] = []

    def see(_module: nn.Module, _inputs: tuple[Tensor, ...], z: Tensor) -> None:
        kept.append(z.detach() != 0)

    handles = [layer.dropout.register_forward_hook(see) for layer in network.hidden]  # type: ignore[union-attr]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        outputs = network.train()(x).detach()
    for handle in handles:
        handle.remove()
    return outputs, kept


def without_units(network: FullyConnectedNetwork, x: Tensor, kept: list[Tensor], p: float) -> Tensor:
    """Compute the outputs, (outputs,), for one sample in a network from which units are removed.

    Args:
        network: a tanh network.
        x: the sample, (features,).
        kept: units of each hidden layer that remain, (units,) bool.
        p: dropout probability; outputs of hidden units are divided by 1 − p.
    """
    z, left = x, torch.ones(len(x)).bool()
    for layer, stays in zip(network.hidden, kept, strict=True):
        weight, bias = layer.linear.weight[stays][:, left], layer.linear.bias[stays]  # type: ignore[union-attr, index]
        z, left = torch.tanh(weight @ z + bias) / (1 - p), stays
    return (network.output.weight[:, left] @ z + network.output.bias).detach()


def moments_over_all_masks(seed: int) -> dict[str, float]:
    """Compare mean and variance of w·z under dropout, summed over all masks, with the closed form."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=UNITS)), dtype=torch.float64)
    errors = []
    for _ in range(DRAWS):
        w, z = torch.randn(2, UNITS, generator=generator, dtype=torch.float64)
        p = float(0.9 * torch.rand((), generator=generator))
        chance = ((1 - p) * masks + p * (1 - masks)).prod(dim=1)
        a = (masks * z / (1 - p)) @ w
        mean = (chance * a).sum()
        variance = (chance * (a - mean) ** 2).sum()
        truth = torch.stack([w @ z, added_variance(w, z, p)])
        errors.append((torch.stack([mean, variance]) - truth).abs() / (1 + truth.abs()))
    return {"error": float(torch.stack(errors).max()), "draws": float(DRAWS)}


def added_variance(w: Tensor, z: Tensor, p: float) -> Tensor:
    """Compute the variance of w·z under dropout, p / (1 − p) · Σ (w z)²."""
    return p / (1 - p) * (w * z).square().sum()


def drawn_moments(seed: int) -> dict[str, float]:
    """Measure mean and variance of w·z over masks drawn by a dropout module, for several p.

    Returns:
        `mean/p=0.1` …, divided by w·z; `variance/p=0.1` …, divided by Σ (w z)², in theory p / (1 − p);
        `variance_error`: mean over p of measured / predicted variance, minus 1.
    """
    generator = torch.Generator().manual_seed(seed)
    # Positive numbers, so that w·z is not close to 0.
    w, z = torch.rand(2, WIDE, generator=generator, dtype=torch.float64)
    found: dict[str, float] = {}
    ratios = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for p in PROBABILITIES:
            layer = dropout(p)
            assert layer is not None  # p > 0
            a = layer.train()(z.expand(MASKS, WIDE)) @ w
            found[f"mean/p={p}"] = float(a.mean() / (w @ z))
            found[f"variance/p={p}"] = float(a.var() / (w * z).square().sum())
            ratios.append(float(a.var() / added_variance(w, z, p)))
    return {**found, "variance_error": sum(ratios) / len(ratios) - 1, "draws": float(MASKS * len(PROBABILITIES))}
