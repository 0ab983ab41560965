"""The architectures of the lecture: one file each, with a pure network and a thin Lightning module around it.

`__all__` lists the classes that the command line accepts by their short name.
"""

from lightning_modules.convolutional import Convolutional
from lightning_modules.fully_connected import FullyConnected
from lightning_modules.input_optimization import InputOptimization
from lightning_modules.linear import LinearModel, LinearStack
from lightning_modules.modular import Modular
from lightning_modules.perceptron import Perceptron
from lightning_modules.recurrent import Recurrent
from lightning_modules.two_layer import TwoLayer

__all__ = [
    "Convolutional",
    "FullyConnected",
    "InputOptimization",
    "LinearModel",
    "LinearStack",
    "Modular",
    "Perceptron",
    "Recurrent",
    "TwoLayer",
]
