"""Callbacks that measure, protect and record a run; YAML names them by these short names."""

from experiments.core.callbacks.activation_statistics import ActivationStatistics
from experiments.core.callbacks.divergence import Divergence
from experiments.core.callbacks.gradient_by_saturation import GradientBySaturation
from experiments.core.callbacks.gradient_clipping import GradientClipping
from experiments.core.callbacks.gradient_flow import GradientFlow
from experiments.core.callbacks.input_image import InputImage

__all__ = [
    "ActivationStatistics",
    "Divergence",
    "GradientBySaturation",
    "GradientClipping",
    "GradientFlow",
    "InputImage",
]
