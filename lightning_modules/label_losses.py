"""Losses for several labels per sample, and their prediction rules; targets are 0 or 1, (batch, labels)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

LossFunction = Callable[[Tensor, Tensor], Tensor]
Function = Callable[[Tensor], Tensor]


def validate_binary(_outputs: Tensor, targets: Tensor) -> None:
    """Require targets that are 0 or 1.

    Raises:
        ValueError: another value.
    """
    wrong = targets[(targets != 0) & (targets != 1)]
    if wrong.numel():
        raise ValueError(f"a target of {wrong[0].item():g} is out of range: each label is there (1) or not (0)")


def bce(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Compute the binary cross-entropy of independent labels from logits, −(y log ŷ + (1 − y) log(1 − ŷ)).

    Args:
        outputs: logits, (batch, labels).
        targets: 0 or 1, (batch, labels).
        reduce: reduction over the labels, see `losses.REDUCTIONS`.
    """
    return reduce(F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")).mean(-1)


def naive_bce(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Compute `bce` literally as −(y log ŷ + (1 − y) log(1 − ŷ)); not finite where ŷ rounds to 0 or 1."""
    probability = torch.sigmoid(outputs)
    return reduce(-(targets * probability.log() + (1 - targets) * (1 - probability).log())).mean(-1)


def label_mse(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Compute the squared distance between σ(outputs) and the labels, mean over the batch."""
    return reduce((torch.sigmoid(outputs) - targets).square()).mean(-1)


def label_softmax(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross-entropy of softmax with equal target shares for a sample's labels, mean over the batch.

    Each label of a sample with k labels has the target share 1/k; a sample without labels has the cost 0.
    """
    shares = targets / targets.sum(-1, keepdim=True).clamp(min=1)
    return -(shares * F.log_softmax(outputs, dim=-1)).sum(-1).mean(-1)


def by_sign(outputs: Tensor) -> Tensor:
    """Predict the labels whose logit is positive, which means a probability above ½: (batch, labels), 1 or 0."""
    return (outputs > 0).long()


def by_share(outputs: Tensor) -> Tensor:
    """Predict the labels with a softmax output >= 1 / labels, at least one: (batch, labels), 1 or 0."""
    highest = outputs == outputs.amax(dim=-1, keepdim=True)  # equal softmax outputs can round to less than 1 / labels
    return (highest | (outputs.softmax(-1) * outputs.shape[-1] >= 1)).long()


def label_scores(name: str) -> Function:
    """Return the function from outputs to scores in [0, 1] for a loss: softmax for label_softmax, else sigmoid."""
    return partial(torch.softmax, dim=-1) if name == "label_softmax" else torch.sigmoid


def label_cost(name: str, reduce: Function) -> tuple[LossFunction, Function]:
    """Return a loss of this module by its name in `losses.LOSSES`, and its prediction rule."""
    costs: dict[str, tuple[LossFunction, Function]] = {
        "bce": (partial(bce, reduce=reduce), by_sign),
        "naive_bce": (partial(naive_bce, reduce=reduce), by_sign),
        "label_mse": (partial(label_mse, reduce=reduce), by_sign),
        "label_softmax": (label_softmax, by_share),
    }
    return costs[name]
