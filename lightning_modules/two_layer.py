"""The two-layer network: one hidden layer, the smallest network that is not linear."""

from dataclasses import dataclass

from lightning_modules.base import FlatSamples, LectureModule, not_none
from lightning_modules.fully_connected import FullyConnectedNetwork, LinearOptions, options_of
from lightning_modules.layers import validate_count


@dataclass(kw_only=True, eq=False, repr=False)
class TwoLayer(LinearOptions, FlatSamples, LectureModule):
    """Two linear layers with an activation between them, W2 g(W1 x + b1) + b2; by default five units of tanh.

    Slide "DeuxCouches". The default loss is mse.

    Raises:
        ValueError: unknown name, or number out of range.
    """

    units: int = 5
    """Of the hidden layer, >= 1."""
    activation: str = "tanh"
    """identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    loss: str = "mse"
    """The same choices as for all models. Default: mse."""

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        validate_count("units", self.units)
        options = {"activation": self.activation, **options_of(LinearOptions, self)}
        sizes = not_none(self.num_features), not_none(self.num_classes)
        return FullyConnectedNetwork(*sizes, [self.units], seed=not_none(self.seed), **options)
