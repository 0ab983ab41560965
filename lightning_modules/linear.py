"""Linear networks: one linear layer, or several with nothing between them, which are equivalent to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.base import LectureModule
from lightning_modules.fully_connected import FullyConnectedNetwork, hidden_widths
from lightning_modules.layers import check_count
from lightning_modules.layers.initialization import linear


class LinearNetwork(FullyConnectedNetwork):
    """A succession of linear layers: a fully connected network whose activation is the identity.

    Args:
        in_features: size of a flattened sample.
        out_features: number of outputs.
        hidden: sizes of the layers before the last; none for a single layer.
        seed: seed of the initial weights.
        initialization: see `layers.initialization`; of all layers.
        bias: whether the layers have one.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (),
        *,
        seed: int,
        initialization: str = "default",
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            hidden,
            seed=seed,
            activation="identity",
            initialization=initialization,
            bias=bias,
        )

    @torch.no_grad()
    def collapse(self) -> nn.Linear:
        """Build the one layer that computes the same: W = W_L … W_1, b = W_L … W_2 b_1 + … + b_L.

        Slide "Combinons deux neurones". A copy, of the network's type and on its device, that shares no parameter.
        """
        first, *others = [module for module in self.modules() if isinstance(module, nn.Linear)]
        collapsed = linear(self.in_features, self.output.out_features, first.bias is not None).to(first.weight)
        weight: Tensor = first.weight
        bias: Tensor | None = first.bias
        for layer in others:
            weight = layer.weight @ weight
            if bias is not None:
                bias = layer.weight @ bias + layer.bias
        collapsed.weight.copy_(weight)
        if bias is not None:
            collapsed.bias.copy_(bias)
        return collapsed


class LinearModel(LectureModule):
    """One linear layer: linear regression with the loss mse, softmax regression with cross_entropy.

    Slide "Réseau à une couche linéaire".

    Args:
        num_features: size of a flattened sample; the data module knows it.
        num_classes: number of outputs: of classes, of labels, or of target columns for mse; the data module knows it.
        initialization: default (torch's), xavier, he, orthogonal or zero.
        bias: whether the layer has one.
        training: of `LectureModule`.

    Raises:
        ValueError: a name that does not exist, or a number out of range.
    """

    # Of the layers before the last.
    widths: Sequence[int] = ()

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        initialization: str = "default",
        bias: bool = True,
        **training: Any,
    ) -> None:
        check_count("num_features", num_features)
        check_count("num_classes", num_classes)
        self.num_features = num_features
        self.num_classes = num_classes
        self.initialization = initialization
        self.bias = bias
        super().__init__(**training)

    def configure_network(self) -> LinearNetwork:
        """Build the network."""
        return LinearNetwork(
            self.num_features,
            self.num_classes,
            self.widths,
            seed=self.seed,
            initialization=self.initialization,
            bias=self.bias,
        )


class LinearStack(LinearModel):
    """Several linear layers with nothing between them: they can do no more than one, but learn along another path.

    Slide "Combinons deux neurones".

    Args:
        hidden: sizes of the layers before the last, nearest the input first; at least one.
        linear: of `LinearModel`: its initialization and bias are those of all layers.

    Raises:
        ValueError: a name that does not exist, or a number out of range.
    """

    network: LinearNetwork

    def __init__(self, *, hidden: list[int], **linear: Any) -> None:
        self.widths = hidden_widths(None, None, hidden)
        super().__init__(**linear)

    def collapse(self) -> nn.Linear:
        """Build the one layer that computes the same; see `LinearNetwork.collapse`."""
        return self.network.collapse()
