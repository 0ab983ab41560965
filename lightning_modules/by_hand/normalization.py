"""BatchNorm and LayerNorm as modules: one formula, over the batch or over a sample's units.

Slide "Topologie de l'espace de recherche & gradient".
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from lightning_modules.by_hand.module import Module, accumulate
from lightning_modules.layers import validate_count

EPS = 1e-5  # torch's value: avoids a division by 0 for a constant unit


class _Normalization(Module):
    """z = γ·n + β with n = (a − mean) / √(variance + eps); γ is `scale`, initially 1, and β is `shift`, initially 0.

    Args:
        num_features: units of the layer.

    Raises:
        ValueError: less than one unit.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        validate_count("num_features", num_features)
        # Not named weight and bias as in torch, because penalties and weight decay act on parameters named weight.
        self.scale = nn.Parameter(torch.ones(num_features))
        self.shift = nn.Parameter(torch.zeros(num_features))

    def forward(self, a: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        if a.dim() != 2 or a.shape[1] != len(self.scale):
            raise ValueError(f"a batch must have {len(self.scale)} features a sample; its shape is {tuple(a.shape)}")
        mean, variance = self.statistics(a)
        inverse_std = (variance + EPS).rsqrt()
        normalized = (a - mean) * inverse_std
        self.store(normalized, inverse_std)
        return self.scale * normalized + self.shift

    @torch.no_grad()
    def backward(self, delta: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        normalized, inverse_std = self.stored
        accumulate(self.scale, (delta * normalized).sum(0))
        accumulate(self.shift, delta.sum(0))
        return inverse_std * self.project_gradient(delta * self.scale, normalized)

    @abstractmethod
    def statistics(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the variance, each broadcastable to (batch, units)."""

    @abstractmethod
    def project_gradient(self, delta: Tensor, normalized: Tensor) -> Tensor:
        """Remove from ∂L/∂n the components that a cannot change, because the statistics depend on a."""


def _moments(a: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return a.mean(axis, keepdim=True), a.var(axis, correction=0, keepdim=True)


def _remove_mean_and_slope(delta: Tensor, normalized: Tensor, axis: int) -> Tensor:
    """Compute delta − mean(delta) − n · mean(delta · n).

    n always has mean 0 and mean square 1: shifting or scaling all of a has no effect.
    """
    slope = (delta * normalized).mean(axis, keepdim=True)
    return delta - delta.mean(axis, keepdim=True) - normalized * slope


class BatchNorm(_Normalization):
    """Normalises each unit over the mini-batch: z = γ (a − mean) / √(variance + eps) + β (Ioffe & Szegedy 2015).

    Slide "Topologie de l'espace de recherche & gradient".
    ∂L/∂a = γ / √(variance + eps) · (delta − mean(delta) − n · mean(delta · n)), with means over the batch. As in
    `nn.BatchNorm1d`, each training batch moves the running mean and variance a tenth of the way to its own, with the
    variance divided by batch − 1. Evaluation uses the running values, which are constants: ∂L/∂a = γ / √(variance +
    eps) · delta.

    Args:
        num_features: units of the layer.

    Raises:
        ValueError: less than one unit.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_variance", torch.ones(num_features))
        self._over_batch = True

    def statistics(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mini-batch's statistics in training, (1, units), and the running ones in evaluation, (units,).

        Raises:
            ValueError: a training batch of one sample, which has no variance.
        """
        self._over_batch = self.training
        if not self.training:
            return self.running_mean, self.running_variance
        n = len(a)
        if n < 2:
            raise ValueError(f"BatchNorm needs a training batch of at least 2 samples, not {n}")
        mean, variance = _moments(a, 0)
        with torch.no_grad():
            self.running_mean += 0.1 * (mean[0] - self.running_mean)
            self.running_variance += 0.1 * (variance[0] * n / (n - 1) - self.running_variance)
        return mean, variance

    def project_gradient(self, delta: Tensor, normalized: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        return _remove_mean_and_slope(delta, normalized, 0) if self._over_batch else delta


class LayerNorm(_Normalization):
    """Normalises each sample over its units: z = γ (a − mean) / √(variance + eps) + β (Ba et al. 2016).

    Slide "Topologie de l'espace de recherche & gradient".
    ∂L/∂a = 1 / √(variance + eps) · (γ·delta − mean(γ·delta) − n · mean(γ·delta · n)), with means over the units.

    Args:
        num_features: units of the layer.

    Raises:
        ValueError: less than one unit.
    """

    def statistics(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return each sample's statistics, (batch, 1)."""
        return _moments(a, 1)

    def project_gradient(self, delta: Tensor, normalized: Tensor) -> Tensor:
        """(batch, units) to (batch, units)."""
        return _remove_mean_and_slope(delta, normalized, 1)
