"""Linear networks: one linear layer, or several without activation between them, which are equivalent to one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lightning_modules.base import FlatSamples, LectureModule, not_none
from lightning_modules.fully_connected import FullyConnectedNetwork, LinearOptions, hidden_widths, options_of
from lightning_modules.layers.initialization import linear


class LinearNetwork(FullyConnectedNetwork):
    """Linear layers without activation: a fully connected network whose activation is the identity.

    Args:
        in_features: size of a flattened sample.
        out_features: number of outputs.
        hidden: sizes of the layers before the last; empty for a single layer.
        seed: seed of the initial weights.
        initialization: see `LinearOptions`.
        bias: see `LinearOptions`.
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
        options = {"activation": "identity", "initialization": initialization, "bias": bias}
        super().__init__(in_features, out_features, hidden, seed=seed, **options)

    @torch.no_grad()
    def collapse(self) -> nn.Linear:
        """Build the equivalent single layer: W = W_L … W_1, b = W_L … W_2 b_1 + … + b_L.

        Slide "Combinons deux neurones". The layer has the network's dtype and device and shares no parameter with it.
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


@dataclass(kw_only=True, eq=False, repr=False)
class LinearModel(LinearOptions, FlatSamples, LectureModule):
    """One linear layer: linear regression with the loss mse, softmax regression with cross_entropy.

    Slide "Réseau à une couche linéaire".

    Raises:
        ValueError: unknown name, or number out of range.
    """

    def configure_network(self) -> LinearNetwork:
        """Build the network."""
        return self._build_network([])

    def _build_network(self, hidden: Sequence[int]) -> LinearNetwork:
        options = options_of(LinearOptions, self)
        sizes = not_none(self.num_features), not_none(self.num_classes)
        return LinearNetwork(*sizes, hidden, seed=not_none(self.seed), **options)


@dataclass(kw_only=True, eq=False, repr=False)
class LinearStack(LinearModel):
    """Linear layers without activation: they represent the same functions as one layer, but train differently.

    Slide "Combinons deux neurones".

    Raises:
        ValueError: unknown name, or number out of range.
    """

    hidden: list[int]
    """Sizes of the layers before the last, starting at the input; at least one."""

    network: LinearNetwork = field(init=False)

    def configure_network(self) -> LinearNetwork:
        """Build the network."""
        return self._build_network(hidden_widths(None, None, self.hidden))

    def collapse(self) -> nn.Linear:
        """Build the equivalent single layer; see `LinearNetwork.collapse`."""
        return self.network.collapse()
