"""Losses: what is minimised, what its targets must look like, and how its outputs are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.label_losses import check_binary, label_cost
from lightning_modules.layers import choose

Measure = Callable[[Tensor, Tensor], Tensor]
Check = Callable[[Tensor, Tensor], None]
Function = Callable[[Tensor], Tensor]


def unchanged(outputs: Tensor) -> Tensor:
    """Give the outputs as they are: scores of classes, or numbers."""
    return outputs


@dataclass(frozen=True)
class Loss:
    """A loss and what goes with it; every function of two tensors takes (outputs, targets)."""

    # The mean over the batch; of axes before that of the batch, it leaves one value each.
    mean: Measure
    # Raises ValueError on targets of the wrong shape or kind; costs nothing, so every step does it.
    check_shape: Check
    # Raises ValueError on targets out of range; reads their values, so an accelerator waits for it.
    check_values: Check
    # What the targets are: a key of `metrics.METRICS`.
    kind: str
    # From outputs to what the metrics compare with the targets.
    predict: Function = unchanged


def check_label_shape(name: str, outputs: Tensor, labels: Tensor) -> None:
    """Require one integer label a sample.

    Args:
        name: of the loss, for the message.
        outputs: (batch, outputs).
        labels: (batch,).

    Raises:
        ValueError: another shape or type, such as a column, one-hot rows or floats.
    """
    if labels.shape != outputs.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"{name} needs labels of shape {tuple(outputs.shape[:1])} and type torch.int64, "
            f"not {tuple(labels.shape)} and {labels.dtype}"
        )


def check_class_shape(name: str, outputs: Tensor, labels: Tensor) -> None:
    """Require one integer label a sample, and an output for each of at least two classes; see `check_label_shape`."""
    if outputs.shape[1] < 2:
        raise ValueError(f"{name} needs at least 2 classes, not {outputs.shape[1]}")
    check_label_shape(name, outputs, labels)


def check_label_range(labels: Tensor, classes: int) -> None:
    """Require labels from 0 to classes - 1.

    Raises:
        ValueError: a label outside. Torch itself would skip a label of -100 without a word, and abort the process
            for others on a GPU.
    """
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"label {wrong} is out of range: {classes} classes have labels 0 to {classes - 1}")


def _check_class_range(outputs: Tensor, labels: Tensor) -> None:
    check_label_range(labels, outputs.shape[1])


def check_same_shape(name: str, outputs: Tensor, targets: Tensor) -> None:
    """Require targets of the outputs' own shape and type.

    Args:
        name: of the loss, for the message.
        outputs: (batch, outputs).
        targets: (batch, outputs).

    Raises:
        ValueError: another shape, which torch would broadcast: a column against a vector is a wrong loss.
    """
    if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
        raise ValueError(
            f"{name} needs targets of the outputs' shape {tuple(outputs.shape)} and type {outputs.dtype}, "
            f"not {tuple(targets.shape)} and {targets.dtype}"
        )


def _accept(_outputs: Tensor, _targets: Tensor) -> None:
    """Accept every value: a regression's targets have no range."""


# --- Class labels

OUTPUT_ACTIVATIONS: dict[str, Function] = {
    "identity": lambda a: a,
    "sigmoid": torch.sigmoid,
    "softmax": partial(torch.softmax, dim=-1),
}
# Over a sample's outputs; over the batch it is always the mean. The mean over the outputs, torch's default, makes the
# gradient smaller by their number.
REDUCTIONS: dict[str, Function] = {"mean": partial(torch.mean, dim=-1), "sum": partial(torch.sum, dim=-1)}


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compute softmax and the negative log-likelihood of the labels in one: (…, batch, classes), (…, batch) -> (…)."""
    if outputs.dim() == 2:
        return F.cross_entropy(outputs, labels)
    costs = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none")
    return costs.reshape(labels.shape).mean(-1)


def naive_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compute −log softmax as it is written, e^z / Σ e^z: in float32 it overflows to nan from z = 89 on.

    `cross_entropy` is the same number by −z + log Σ e^z with the largest z taken out. Slide "SoftMax".
    """
    exponentials = outputs.exp()
    shares = exponentials / exponentials.sum(-1, keepdim=True)
    return -shares.gather(-1, labels.unsqueeze(-1)).log().squeeze(-1).mean(-1)


def one_hot_mse(outputs: Tensor, labels: Tensor, *, activate: Function, reduce: Function) -> Tensor:
    """Compute the squared distance between the activated outputs and the label's one-hot vector, mean over the batch.

    Slide "Supervision Multi-Classes".

    Args:
        outputs: (batch, classes).
        labels: (batch,).
        activate: see `OUTPUT_ACTIVATIONS`.
        reduce: over the classes, see `REDUCTIONS`.
    """
    targets = F.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return reduce((activate(outputs) - targets).square()).mean(-1)


# --- Numbers


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean squared error over the batch and the columns, (…, batch, columns) both -> (…)."""
    return (outputs - targets).square().mean((-2, -1))


# The options that each loss uses.
LOSSES: dict[str, tuple[str, ...]] = {
    "cross_entropy": (),
    "naive_cross_entropy": (),
    "one_hot_mse": ("output_activation", "reduction"),
    "bce": ("reduction",),
    "naive_bce": ("reduction",),
    "label_mse": ("reduction",),
    "label_softmax": (),
    "mse": (),
}


def check_unused(name: str, uses: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse the options of a loss that were given (are not None) and that it does not use.

    Raises:
        ValueError: there is one; the message names the losses that use it.
    """
    for option, value in options.items():
        if value is not None and option not in uses:
            users = [loss for loss, used in LOSSES.items() if option in used]
            raise ValueError(f"{name} does not use {option}={value}; these losses do: {', '.join(users)}")


def build_loss(name: str, output_activation: str | None = None, reduction: str | None = None) -> Loss:
    """Build a loss.

    Args:
        name: "cross_entropy" (softmax and negative log-likelihood of integer labels in one), "naive_cross_entropy"
            (the same, numerically unsafe), "one_hot_mse" (squared error of one-hot labels), "bce" (several labels a
            sample), "naive_bce" (the same, numerically unsafe), "label_mse" (several labels a sample, squared error of
            the sigmoid), "label_softmax" (the same, softmax against equal shares) or "mse" (numbers; mean over batch
            and outputs).
        output_activation: one_hot_mse: "identity" (if not given), "sigmoid" or "softmax", applied to the outputs.
        reduction: one_hot_mse, bce, label_mse: "mean" (if not given) or "sum" over the outputs.

    Raises:
        ValueError: a name that does not exist, or an option that the loss would ignore.
    """
    uses = choose("loss", name, LOSSES)
    check_unused(name, uses, {"output_activation": output_activation, "reduction": reduction})
    activate = choose("output_activation", output_activation or "identity", OUTPUT_ACTIVATIONS)
    reduce = choose("reduction", reduction or "mean", REDUCTIONS)
    if name == "mse":
        return Loss(mse, partial(check_same_shape, name), _accept, "numbers")
    if name in ("bce", "naive_bce", "label_mse", "label_softmax"):
        cost, predict = label_cost(name, reduce)
        return Loss(cost, partial(check_same_shape, name), check_binary, "labels", predict)
    of_labels: dict[str, Measure] = {
        "cross_entropy": cross_entropy,
        "naive_cross_entropy": naive_cross_entropy,
        "one_hot_mse": partial(one_hot_mse, activate=activate, reduce=reduce),
    }
    return Loss(of_labels[name], partial(check_class_shape, name), _check_class_range, "classes")
