"""The module M^k: forward with stored z, backward with delta, update."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class StoringModule(nn.Module):
    """Stores tensors of the forward pass for the backward pass. Slide "Architecture modulaire": + Stockage des z^k."""

    def __init__(self) -> None:
        super().__init__()
        self._stored: tuple[Tensor, ...] | None = None

    def store(self, *tensors: Tensor) -> None:
        """Keep tensors until the next forward pass.

        The tensors are detached, so that the graph does not outlive the batch when autograd differentiates `forward`
        for comparison.
        """
        self._stored = tuple(tensor.detach() for tensor in tensors)

    @property
    def stored(self) -> tuple[Tensor, ...]:
        """Tensors that the last forward pass stored.

        Raises:
            RuntimeError: there was no forward pass.
        """
        if self._stored is None:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward pass before it")
        return self._stored


class Module(StoringModule, ABC):
    """A module M^k: z^k = M^k(z^(k-1), W^k). Slides "Réseau : assemblage de modules", "Zoom sur le module k"."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Compute z^k and store what `backward` needs.

        Args:
            z: z^(k-1), (batch, inputs).

        Returns:
            z^k, (batch, outputs).
        """

    @abstractmethod
    def backward(self, delta: Tensor) -> Tensor:
        """Propagate delta through the last forward pass, and add the gradient of each parameter to its `.grad`.

        Args:
            delta: ∂L/∂z^k, (batch, outputs).

        Returns:
            ∂L/∂z^(k-1), (batch, inputs).
        """

    @torch.no_grad()
    def update(self, lr: float) -> None:
        """Make a step of gradient descent: w ← w − lr · ∂L/∂w. Slide "Descente de gradient".

        Raises:
            RuntimeError: a parameter has no gradient.
        """
        for parameter in self.parameters():
            if parameter.grad is None:
                raise RuntimeError(f"{type(self).__name__}.update needs a backward pass before it")
            parameter.sub_(lr * parameter.grad)


def accumulate(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add to a parameter's gradient, so that the gradients of several batches are summed."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
