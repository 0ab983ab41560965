"""The fully connected network built from the lecture's modules, trained without autograd."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_modules import by_hand
from lightning_modules.base import FlatSamples, LectureModule, not_none
from lightning_modules.by_hand.module import accumulate
from lightning_modules.fully_connected import hidden_widths
from lightning_modules.layers import choose, validate_count, validate_number
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.losses import Loss
from lightning_modules.penalties import penalized_weights

ACTIVATIONS: dict[str, type[by_hand.Module]] = {
    "sigmoid": by_hand.Sigmoid,
    "tanh": by_hand.Tanh,
    "relu": by_hand.ReLU,
}
NORMALIZATIONS: dict[str, type[by_hand.BatchNorm] | type[by_hand.LayerNorm] | None] = {
    "none": None,
    "batch": by_hand.BatchNorm,
    "layer": by_hand.LayerNorm,
}
COSTS: dict[str, type[by_hand.Cost]] = {
    "cross_entropy": by_hand.CrossEntropy,
    "mse": by_hand.MSE,
    "bce": by_hand.BCE,
}
# Both use the same modules; the forward pass of a plain chain builds the graph that autograd needs.
NETWORKS: dict[str, type[by_hand.Chain]] = {"manual": by_hand.ModularNetwork, "autograd": by_hand.Chain}


def initial_linear(in_features: int, out_features: int, seed: int, name: str) -> by_hand.Linear:
    """Build a linear module with the initial weights of the `FullyConnected` layer of this name and seed."""
    layer = linear(in_features, out_features)
    initialize_linear(layer, "default", 1.0, weight_generator(seed, name))
    return by_hand.Linear(layer.weight, layer.bias)


@dataclass(kw_only=True, eq=False, repr=False)
class Modular(FlatSamples, LectureModule):
    """Fully connected network of modules written by hand, each with its own forward and backward pass.

    Slides "Architecture modulaire" and "Zoom sur le module k: forward / backward". With gradient=manual, the modules
    compute all derivatives; with gradient=autograd, torch differentiates the same forward formulas. Both have the same
    learning curve as a `FullyConnected` of the same seed and shape.

    The losses are cross_entropy, mse and bce.

    Raises:
        ValueError: unknown name, number out of range, or a loss that is not written by hand.
    """

    hidden: list[int]
    """Units of each hidden layer, starting at the input; at least one layer."""
    activation: str = "relu"
    """sigmoid, tanh or relu."""
    normalization: str = "none"
    """Normalisation of hidden layers, before the activation: none, batch or layer."""
    dropout: float = 0.0
    """Probability that a hidden unit's output is dropped, in [0, 1)."""
    gradient: str = "manual"
    """manual (the modules' backward passes; one device, no mixed precision) or autograd."""

    network: by_hand.Chain = field(init=False)

    def configure_network(self) -> by_hand.Chain:
        """Build the network."""
        sizes = [not_none(self.num_features), *hidden_widths(None, None, self.hidden)]
        for size in sizes:
            validate_count("the size of a layer", size)
        validate_number("dropout", self.dropout, minimum=0, below=1)
        choose("gradient", self.gradient, NETWORKS)
        layers = [self._hidden_layer(k, *pair) for k, pair in enumerate(itertools.pairwise(sizes))]
        output = initial_linear(sizes[-1], not_none(self.num_classes), not_none(self.seed), "output")
        return NETWORKS[self.gradient]({"hidden": by_hand.Chain(layers), "output": output})

    def _hidden_layer(self, k: int, in_features: int, out_features: int) -> by_hand.Chain:
        # Instruments find the activation by the name "activation".
        modules: dict[str, by_hand.Module] = {
            "linear": initial_linear(in_features, out_features, not_none(self.seed), f"hidden.{k}.linear")
        }
        normalization = choose("normalization", self.normalization, NORMALIZATIONS)
        if normalization is not None:
            modules["normalization"] = normalization(out_features)
        modules["activation"] = choose("activation", self.activation, ACTIVATIONS)()
        if self.dropout:
            modules["dropout"] = by_hand.Dropout(self.dropout)
        return by_hand.Chain(modules)

    def configure_losses(self) -> Loss:
        """Choose the loss, with the cost module written by hand."""
        loss = super().configure_losses()
        if self.loss not in COSTS:
            raise ValueError(f"Modular has no {self.loss} written by hand: valid: {', '.join(COSTS)}")
        self.cost = by_hand.BCE(self.reduction or "mean") if self.loss == "bce" else COSTS[self.loss]()
        return dataclasses.replace(loss, mean=self.cost)

    def on_fit_start(self) -> None:
        """Refuse trainer options that need autograd.

        Raises:
            ValueError: mixed precision, or several devices, with gradient=manual.
        """
        super().on_fit_start()
        if self.gradient != "manual":
            return
        # Mixed precision scales the loss and casts inside autograd; several devices average gradients in its hooks.
        if not str(self.trainer.precision).endswith("-true"):
            raise ValueError(
                f"gradient=manual needs a trainer.precision that ends in -true, not {self.trainer.precision}"
            )
        if self.trainer.world_size > 1:
            raise ValueError(f"gradient=manual trains on one device, not {self.trainer.world_size}")

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …) to (batch, outputs)."""
        return super().forward(inputs.flatten(1) if inputs.dim() > 1 else inputs)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the batch's mean loss plus the penalty."""
        with torch.set_grad_enabled(self.gradient == "autograd"):
            return super().training_step(batch, batch_idx)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the parameters' `.grad` by the modules' backward passes or by autograd.

        Args:
            loss: loss of the last training step, divided by the number of accumulated batches.
            args: arguments of `Tensor.backward`; autograd only.
            kwargs: arguments of `Tensor.backward`; autograd only.
        """
        if self.gradient == "autograd":
            super().backward(loss, *args, **kwargs)
            return
        share = 1 / self.trainer.accumulate_grad_batches
        self.network.backward(share * self.cost.backward())
        if self.l1 or self.l2:
            for weight in penalized_weights(self.network):
                accumulate(weight, share * (self.l1 * weight.detach().sign() + 2 * self.l2 * weight.detach()))
