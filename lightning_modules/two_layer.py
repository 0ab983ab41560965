"""The two-layer network: one hidden layer, the smallest that is not linear."""

from __future__ import annotations

from typing import Any

from lightning_modules.base import LectureModule
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers import check_count


class TwoLayer(LectureModule):
    """Two linear layers with an activation between them: W2 g(W1 x + b1) + b2, five units of tanh as on the slide.

    Slide "DeuxCouches". It learns numbers (mse) unless another loss is given.

    Args:
        num_features: size of a flattened sample; the data module knows it.
        num_classes: number of outputs: of target columns for mse, or of classes; the data module knows it.
        units: of the hidden layer, >= 1.
        activation: identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu.
        initialization: default (torch's, n·Var(w) = 1/3), xavier (1), he (2), orthogonal (1) or zero (0).
        bias: whether the layers have one.
        loss: as for every model, but mse if not given.
        training: of `LectureModule`.

    Raises:
        ValueError: a name that does not exist, or a number out of range.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        units: int = 5,
        activation: str = "tanh",
        initialization: str = "default",
        bias: bool = True,
        loss: str = "mse",
        **training: Any,
    ) -> None:
        check_count("num_features", num_features)
        check_count("num_classes", num_classes)
        check_count("units", units)
        self.num_features = num_features
        self.num_classes = num_classes
        self.units = units
        self.activation = activation
        self.initialization = initialization
        self.bias = bias
        super().__init__(loss=loss, **training)

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        return FullyConnectedNetwork(
            self.num_features,
            self.num_classes,
            [self.units],
            seed=self.seed,
            activation=self.activation,
            initialization=self.initialization,
            bias=self.bias,
        )
