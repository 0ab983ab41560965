"""The gradient of a batch as an estimate of the gradient of all samples: mean and variance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from datamodules import Digits
from lightning_modules.fully_connected import FullyConnectedNetwork

# Batch sizes. The slope is fitted up to FITTED, where drawing without replacement reduces the variance by 5 %.
SIZES = (1, 4, 16, 64, 256, 1024)
FITTED = 64
DRAWS = 400
PARTITIONS = 200


def gradient_variance(seed: int) -> dict[str, float]:
    """Measure the variance of a batch's gradient for each batch size, in an untrained network on the digits.

    Batches are drawn without replacement, as in an epoch. `variance/0064` is the mean over draws of the squared
    Euclidean distance between the gradient of a batch of 64 and that of all N samples. `theory/0064` is
    V/B · (N - B)/(N - 1), where V is the exact variance for single samples.

    Returns:
        `slope_error`, the slope of log variance against log size for sizes up to 64, plus 1; and the variances.
    """
    data = Digits(batch_size=1, seed=seed)
    data.setup()
    inputs, labels = data.train
    deviations = sample_gradients(FullyConnectedNetwork(64, 10, [64], seed=seed), inputs, labels)
    deviations -= deviations.mean(0)
    single = float(deviations.square().sum(1).mean())
    draws = torch.Generator().manual_seed(seed)
    measured = {size: _variance(deviations, size, draws) for size in SIZES}
    fitted = [size for size in SIZES if size <= FITTED]
    slope = np.polyfit(np.log10(fitted), np.log10([measured[size] for size in fitted]), 1)[0]
    n = len(deviations)
    return {
        "slope_error": float(slope + 1),
        "draws": float(DRAWS),
        **{f"variance/{size:04d}": value for size, value in measured.items()},
        **{f"theory/{size:04d}": single / size * (n - size) / (n - 1) for size in SIZES},
    }


def batch_gradients(seed: int) -> dict[str, float]:
    """Compare the mean gradient of an epoch's batches, of equal size and at equal weights, with the full gradient."""
    draws = torch.Generator().manual_seed(seed)
    error = 0.0
    for draw in range(PARTITIONS):
        network = FullyConnectedNetwork(6, 3, [4], seed=1000 * seed + draw, activation="tanh").double()
        inputs = torch.randn(12, 6, generator=draws, dtype=torch.float64)
        labels = torch.randint(3, (12,), generator=draws)
        order = torch.randperm(12, generator=draws)
        whole = gradient(network, inputs, labels)
        size = (1, 2, 3, 4, 6)[draw % 5]
        parts = [gradient(network, inputs[rows], labels[rows]) for rows in torch.split(order, size)]
        mean = torch.stack(parts).mean(0)
        error = max(error, float(((mean - whole).abs() / (1 + whole.abs())).max()))
    return {"error": error, "draws": float(PARTITIONS)}


def gradient(network: FullyConnectedNetwork, inputs: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient of a batch's mean cross-entropy with respect to all parameters, as one vector."""
    loss = F.cross_entropy(network(inputs), labels)
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])


def sample_gradients(network: FullyConnectedNetwork, inputs: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient of each sample's cross-entropy, (samples, parameters)."""
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def loss(point: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, point, (x[None],)), y[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs.flatten(1), labels)
    return torch.cat([gradients[name].flatten(1) for name in parameters], dim=1)


def _variance(deviations: Tensor, size: int, draws: torch.Generator) -> float:
    """Compute the mean squared norm of the mean of `size` rows, over DRAWS draws without replacement."""
    n = len(deviations)
    chosen = torch.rand(DRAWS, n, generator=draws).argsort(1)[:, :size]
    weights = torch.zeros(DRAWS, n).scatter_(1, chosen, 1 / size)
    return float((weights @ deviations).square().sum(1).mean())
