"""Losses: what is minimised, what its targets must look like, and what is counted beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

Measure = Callable[[Tensor, Tensor], Tensor]
Check = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Loss:
    """A loss and what goes with it; every function takes (outputs, targets)."""

    # Scalar, the mean over the batch.
    mean: Measure
    # Raises ValueError on targets of the wrong shape or kind; costs nothing, so every step does it.
    check_shape: Check
    # Raises ValueError on targets out of range; reads their values, so an accelerator waits for it.
    check_values: Check
    # Scalars, totals over the batch: an epoch's mean is its total over its number of samples.
    totals: Mapping[str, Measure] = field(default_factory=dict)


def count_correct(outputs: Tensor, labels: Tensor) -> Tensor:
    """Count the samples whose largest output is that of their label: (batch, classes), (batch,) -> ()."""
    return (outputs.argmax(1) == labels).sum()


def check_label_shape(outputs: Tensor, labels: Tensor) -> None:
    """Require one integer label a sample.

    Raises:
        ValueError: another shape or type, such as a column, one-hot rows or floats.
    """
    if labels.shape != outputs.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"cross_entropy needs labels of shape {tuple(outputs.shape[:1])} and type torch.int64, "
            f"not {tuple(labels.shape)} and {labels.dtype}"
        )


def check_label_range(outputs: Tensor, labels: Tensor) -> None:
    """Require labels from 0 to classes - 1.

    Raises:
        ValueError: a label outside. Torch itself would skip a label of -100 without a word, and abort the process
            for others on a GPU.
    """
    classes = outputs.shape[1]
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"label {wrong} is out of range: {classes} classes have labels 0 to {classes - 1}")


def check_same_shape(outputs: Tensor, targets: Tensor) -> None:
    """Require targets of the outputs' own shape and type.

    Raises:
        ValueError: another shape, which torch would broadcast: a column against a vector is a wrong loss.
    """
    if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
        raise ValueError(
            f"mse needs targets of the outputs' shape {tuple(outputs.shape)} and type {outputs.dtype}, "
            f"not {tuple(targets.shape)} and {targets.dtype}"
        )


def _accept(outputs: Tensor, targets: Tensor) -> None:
    """Accept every value: a regression's targets have no range."""


LOSSES: dict[str, Loss] = {
    # Softmax and negative log-likelihood of integer labels in one, by logsumexp: no overflow.
    "cross_entropy": Loss(F.cross_entropy, check_label_shape, check_label_range, {"accuracy": count_correct}),
    # Squared error, mean over the batch and over the outputs.
    "mse": Loss(F.mse_loss, check_same_shape, _accept),
}
