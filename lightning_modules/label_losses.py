"""Losses of several labels a sample, and how their outputs are read; targets are 0 or 1, (batch, labels)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

Measure = Callable[[Tensor, Tensor], Tensor]
Function = Callable[[Tensor], Tensor]


def check_binary(_outputs: Tensor, targets: Tensor) -> None:
    """Require targets that are 0 or 1.

    Raises:
        ValueError: another value.
    """
    wrong = targets[(targets != 0) & (targets != 1)]
    if wrong.numel():
        raise ValueError(f"a target of {wrong[0].item():g} is out of range: each label is there (1) or not (0)")


def bce(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Binary cross-entropy of independent labels from their logits: both of the lecture's terms under one minus sign.

    Args:
        outputs: logits, (batch, labels).
        targets: 0 or 1, (batch, labels).
        reduce: over the labels, see `losses.REDUCTIONS`.
    """
    return reduce(F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")).mean(-1)


def naive_bce(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Compute the same as written, −(y log ŷ + (1 − y) log(1 − ŷ)): not finite where ŷ rounds to 0 or 1."""
    probability = torch.sigmoid(outputs)
    return reduce(-(targets * probability.log() + (1 - targets) * (1 - probability).log())).mean(-1)


def label_mse(outputs: Tensor, targets: Tensor, *, reduce: Function) -> Tensor:
    """Compute the squared distance between σ(outputs) and the labels, mean over the batch."""
    return reduce((torch.sigmoid(outputs) - targets).square()).mean(-1)


def label_softmax(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of softmax against equal shares of the labels a sample has, mean over the batch.

    One class a sample made fit for several: a sample of k labels asks for 1/k of each, one of none for nothing.
    """
    shares = targets / targets.sum(-1, keepdim=True).clamp(min=1)
    return -(shares * F.log_softmax(outputs, dim=-1)).sum(-1).mean(-1)


def by_sign(outputs: Tensor) -> Tensor:
    """Predict the labels whose logit is positive, those of more than even odds: (batch, labels), 1 or 0."""
    return (outputs > 0).long()


def by_share(outputs: Tensor) -> Tensor:
    """Predict the labels that softmax gives an equal share or more: at least one, (batch, labels), 1 or 0."""
    highest = outputs == outputs.amax(dim=-1, keepdim=True)  # equal shares could round to less
    return (highest | (outputs.softmax(-1) * outputs.shape[-1] >= 1)).long()


def label_scores(name: str) -> Function:
    """Return what turns outputs (batch, labels) into scores from 0 to 1: softmax after its own loss, else sigmoid."""
    return partial(torch.softmax, dim=-1) if name == "label_softmax" else torch.sigmoid


def label_cost(name: str, reduce: Function) -> tuple[Measure, Function]:
    """Return a loss of this module by its name in `losses.LOSSES`, and the rule that predicts labels after it."""
    costs: dict[str, tuple[Measure, Function]] = {
        "bce": (partial(bce, reduce=reduce), by_sign),
        "naive_bce": (partial(naive_bce, reduce=reduce), by_sign),
        "label_mse": (partial(label_mse, reduce=reduce), by_sign),
        "label_softmax": (label_softmax, by_share),
    }
    return costs[name]
