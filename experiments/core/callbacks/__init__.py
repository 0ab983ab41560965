"""Callbacks that measure, protect and record a run; YAML names them by these short names."""

from experiments.core.callbacks.activation_statistics import ActivationStatistics
from experiments.core.callbacks.best_weights import BestWeights
from experiments.core.callbacks.divergence import Divergence
from experiments.core.callbacks.further_tests import FurtherTests
from experiments.core.callbacks.gradient_clipping import GradientClipping
from experiments.core.callbacks.gradient_flow import GradientFlow
from experiments.core.callbacks.input_image import InputImage
from experiments.core.callbacks.parameters import Parameters
from experiments.core.callbacks.stackable_early_stopping import StackableEarlyStopping
from experiments.core.callbacks.time_to_target import TimeToTarget
from experiments.core.callbacks.weight_statistics import WeightStatistics

__all__ = [
    "ActivationStatistics",
    "BestWeights",
    "Divergence",
    "FurtherTests",
    "GradientClipping",
    "GradientFlow",
    "InputImage",
    "Parameters",
    "StackableEarlyStopping",
    "TimeToTarget",
    "WeightStatistics",
]
