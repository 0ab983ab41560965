"""All checks of this experiment, by the names used in its claims."""

from experiments.tools.pitfalls import (
    batch_means,
    column_against_row,
    evaluation_mode,
    leaked_selection,
    list_in_sequential,
    log_path,
    softmax_twice,
    view_of_several_outputs,
)
from experiments.tools.promises import data_loader, logged_scalars

__all__ = [
    "batch_means",
    "column_against_row",
    "data_loader",
    "evaluation_mode",
    "leaked_selection",
    "list_in_sequential",
    "log_path",
    "logged_scalars",
    "softmax_twice",
    "view_of_several_outputs",
]
