"""Networks: chains of modules, which are modules themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from lightning_modules.by_hand.module import Module


class Chain(Module):
    """A sequence of modules: z^k = M^k(z^(k-1)) from first to last, and delta from last to first.

    Slides "Réseau : assemblage de modules" and "Architecture modulaire". A chain is a module, so chains can be nested.

    Args:
        modules: at least one module, starting at the input; a mapping by name, or a sequence named 0, 1, …

    Raises:
        ValueError: no module, or a module in two places, which would store the z of one place only.
    """

    def __init__(self, modules: Sequence[Module] | Mapping[str, Module]) -> None:
        super().__init__()
        named = modules if isinstance(modules, Mapping) else {str(k): module for k, module in enumerate(modules)}
        if not named:
            raise ValueError("a network needs at least one module")
        if len(set(named.values())) < len(named):
            raise ValueError("a module stores the z of one place: give each place of the network a module of its own")
        for name, module in named.items():
            self.add_module(name, module)

    @property
    def in_order(self) -> list[Module]:
        """The modules, starting at the input."""
        return [cast(Module, module) for module in self.children()]

    def forward(self, z: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        for module in self.in_order:
            z = module(z)
        return z

    def backward(self, delta: Tensor) -> Tensor:
        """(batch, outputs) to (batch, inputs)."""
        for module in reversed(self.in_order):
            delta = module.backward(delta)
        return delta


class ModularNetwork(Chain):
    """A whole network, trained without autograd: forward and backward pass build no graph.

    Its gradients are in `.grad`, so torch's optimisers, clipping and checkpoints work as for any network. Slide
    "Architecture modulaire".

    Args:
        modules: see `Chain`.

    Raises:
        ValueError: see `Chain`.
    """

    @torch.no_grad()
    def forward(self, z: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        return super().forward(z)

    @torch.no_grad()
    def backward(self, delta: Tensor) -> Tensor:
        """(batch, outputs) to (batch, inputs)."""
        return super().backward(delta)
