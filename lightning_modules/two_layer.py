"""The two-layer network: one hidden layer, the smallest that is not linear."""

from dataclasses import dataclass

from lightning_modules.base import FlatSamples, LectureModule, known
from lightning_modules.fully_connected import FullyConnectedNetwork, LinearOptions, options_of
from lightning_modules.layers import check_count


@dataclass(kw_only=True, eq=False, repr=False)
class TwoLayer(LinearOptions, FlatSamples, LectureModule):
    """Two linear layers with an activation between them: W2 g(W1 x + b1) + b2, five units of tanh as on the slide.

    Slide "DeuxCouches". It learns numbers (mse) unless another loss is given.

    Raises:
        ValueError: a name that does not exist, or a number out of range.
    """

    units: int = 5
    """Of the hidden layer, >= 1."""
    activation: str = "tanh"
    """identity, sign, sign_straight_through, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    loss: str = "mse"
    """As for every model, but mse if not given."""

    def configure_network(self) -> FullyConnectedNetwork:
        """Build the network."""
        check_count("units", self.units)
        options = {"activation": self.activation, **options_of(LinearOptions, self)}
        sizes = known(self.num_features), known(self.num_classes)
        return FullyConnectedNetwork(*sizes, [self.units], seed=known(self.seed), **options)
