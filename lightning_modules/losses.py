"""Losses, with the validation of their targets and the predictions made from their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.label_losses import label_cost, validate_binary
from lightning_modules.layers import choose

LossFunction = Callable[[Tensor, Tensor], Tensor]
TargetValidator = Callable[[Tensor, Tensor], None]
Function = Callable[[Tensor], Tensor]


def unchanged(outputs: Tensor) -> Tensor:
    """Return the outputs unchanged: class scores, or numbers."""
    return outputs


@dataclass(frozen=True)
class Loss:
    """A loss, the validation of its targets and its predictions; functions of two tensors take (outputs, targets)."""

    # Mean over the batch; leading axes before the batch axis are kept.
    mean: LossFunction
    # Raises ValueError on targets of the wrong shape or type; cheap, so it runs at every step.
    validate_shape: TargetValidator
    # Raises ValueError on targets out of range; reads values, which synchronizes with an accelerator.
    validate_values: TargetValidator
    # Kind of the targets: a key of `metrics.METRICS`.
    kind: str
    # From outputs to the predictions that metrics compare with the targets.
    predict: Function = unchanged


def validate_label_shape(name: str, outputs: Tensor, labels: Tensor) -> None:
    """Require one integer label per sample.

    Args:
        name: name of the loss, for the message.
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


def validate_class_shape(name: str, outputs: Tensor, labels: Tensor) -> None:
    """Require one integer label per sample and at least two outputs, one per class; see `validate_label_shape`."""
    if outputs.shape[1] < 2:
        raise ValueError(f"{name} needs at least 2 classes, not {outputs.shape[1]}")
    validate_label_shape(name, outputs, labels)


def validate_label_range(labels: Tensor, classes: int) -> None:
    """Require labels from 0 to classes - 1.

    Raises:
        ValueError: a label out of range. Torch ignores the label -100 without a message, and aborts the process for
            others on a GPU.
    """
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"label {wrong} is out of range: {classes} classes have labels 0 to {classes - 1}")


def _validate_class_range(outputs: Tensor, labels: Tensor) -> None:
    validate_label_range(labels, outputs.shape[1])


def validate_same_shape(name: str, outputs: Tensor, targets: Tensor) -> None:
    """Require targets of the shape and type of the outputs.

    Args:
        name: name of the loss, for the message.
        outputs: (batch, outputs).
        targets: (batch, outputs).

    Raises:
        ValueError: another shape or type. Torch would broadcast a column against a vector and give a wrong loss.
    """
    if targets.shape != outputs.shape or targets.dtype != outputs.dtype:
        raise ValueError(
            f"{name} needs targets of the outputs' shape {tuple(outputs.shape)} and type {outputs.dtype}, "
            f"not {tuple(targets.shape)} and {targets.dtype}"
        )


def _accept(_outputs: Tensor, _targets: Tensor) -> None:
    """Accept all values: regression targets have no range."""


# --- Class labels

OUTPUT_ACTIVATIONS: dict[str, Function] = {
    "identity": lambda a: a,
    "sigmoid": torch.sigmoid,
    "softmax": partial(torch.softmax, dim=-1),
}
# Reduction over the outputs of a sample; the reduction over the batch is always the mean. The mean over the outputs,
# torch's default, divides the gradient by their number.
REDUCTIONS: dict[str, Function] = {"mean": partial(torch.mean, dim=-1), "sum": partial(torch.sum, dim=-1)}


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compute the negative log-likelihood of the labels from logits: (…, batch, classes), (…, batch) to (…)."""
    if outputs.dim() == 2:
        return F.cross_entropy(outputs, labels)
    costs = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none")
    return costs.reshape(labels.shape).mean(-1)


def naive_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compute −log softmax literally from e^z / Σ e^z; in float32 it overflows to nan from z = 89 on.

    `cross_entropy` computes the same number as −z + log Σ e^z after subtracting the largest z. Slide "SoftMax".
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
        activate: function applied to the outputs, see `OUTPUT_ACTIVATIONS`.
        reduce: reduction over the classes, see `REDUCTIONS`.
    """
    targets = F.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return reduce((activate(outputs) - targets).square()).mean(-1)


# --- Numbers


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean squared error over the batch and the columns: two (…, batch, columns) to (…)."""
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


def validate_unused(name: str, uses: Sequence[str], options: Mapping[str, object]) -> None:
    """Refuse options that a loss does not use.

    Args:
        name: name of the loss, for the message.
        uses: options that the loss uses.
        options: options by name; None if not given.

    Raises:
        ValueError: an unused option is given; the message names the losses that use it.
    """
    for option, value in options.items():
        if value is not None and option not in uses:
            users = [loss for loss, used in LOSSES.items() if option in used]
            raise ValueError(f"{name} does not use {option}={value}; these losses do: {', '.join(users)}")


def build_loss(name: str, output_activation: str | None = None, reduction: str | None = None) -> Loss:
    """Build a loss.

    Args:
        name: for integer labels "cross_entropy" (softmax included), "naive_cross_entropy" (the same, numerically
            unstable) or "one_hot_mse" (squared error of one-hot labels); for several labels per sample "bce",
            "naive_bce" (the same, numerically unstable), "label_mse" (squared error of the sigmoid) or "label_softmax"
            (softmax with equal target shares); for numbers "mse" (mean over batch and outputs).
        output_activation: one_hot_mse: "identity" (default), "sigmoid" or "softmax", applied to the outputs.
        reduction: one_hot_mse, bce, naive_bce, label_mse: "mean" (default) or "sum" over the outputs.

    Raises:
        ValueError: unknown name, or an option that the loss does not use.
    """
    uses = choose("loss", name, LOSSES)
    validate_unused(name, uses, {"output_activation": output_activation, "reduction": reduction})
    activate = choose("output_activation", output_activation or "identity", OUTPUT_ACTIVATIONS)
    reduce = choose("reduction", reduction or "mean", REDUCTIONS)
    if name == "mse":
        return Loss(mse, partial(validate_same_shape, name), _accept, "numbers")
    if name in ("bce", "naive_bce", "label_mse", "label_softmax"):
        cost, predict = label_cost(name, reduce)
        return Loss(cost, partial(validate_same_shape, name), validate_binary, "labels", predict)
    of_labels: dict[str, LossFunction] = {
        "cross_entropy": cross_entropy,
        "naive_cross_entropy": naive_cross_entropy,
        "one_hot_mse": partial(one_hot_mse, activate=activate, reduce=reduce),
    }
    return Loss(of_labels[name], partial(validate_class_shape, name), _validate_class_range, "classes")
