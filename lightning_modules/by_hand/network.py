"""A network is an assembly of modules, and a module itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from lightning_modules.by_hand.module import Module


class Chain(Module):
    """Modules one after the other: z^k = M^k(z^(k-1)) up to the output, and delta back from the last to the first.

    Slides "Réseau : assemblage de modules" and "Architecture modulaire". A chain is a module: chains can be nested.

    Args:
        modules: at least one, the first nearest the input; with names, or named 0, 1, …

    Raises:
        ValueError: no module, or the same one in two places: it stores the z of one place only.
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
        """The modules, the first nearest the input."""
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
    """A whole network, trained without autograd: neither way leaves a graph.

    Its parameters are those of any torch network, with the gradients in `.grad`: torch's optimisers, clipping and
    checkpoints work as always. Slide "Architecture modulaire".

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
