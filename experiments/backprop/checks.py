"""All checks of this experiment, by the names used in its claims."""

from experiments.backprop.chain_rule import (
    delta_index,
    delta_recursion,
    finite_differences,
    first_layer,
    first_layer_transcription,
    forward_pass,
    general_case,
    last_layer,
    last_layer_transcription,
)
from experiments.backprop.loop import one_loop
from experiments.backprop.memory import stored_activations
from experiments.backprop.modules import (
    autograd,
    batch_norm,
    clipping,
    layer_norm,
    linear_module,
    modules,
    mse_delta,
)

__all__ = [
    "autograd",
    "batch_norm",
    "clipping",
    "delta_index",
    "delta_recursion",
    "finite_differences",
    "first_layer",
    "first_layer_transcription",
    "forward_pass",
    "general_case",
    "last_layer",
    "last_layer_transcription",
    "layer_norm",
    "linear_module",
    "modules",
    "mse_delta",
    "one_loop",
    "stored_activations",
]
