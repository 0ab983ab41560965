"""Metrics from torchmetrics, by the names used in configs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanMetric, Metric, MetricCollection, R2Score
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MultilabelAccuracy,
    MultilabelExactMatch,
    MultilabelF1Score,
)
from torchmetrics.functional.classification import multiclass_stat_scores

from lightning_modules.layers import choose

Build = Callable[[int], Metric]


class MeanLoss(MeanMetric):
    """Mean loss over the samples of an epoch; includes losses that are not finite."""

    # torchmetrics leaves this None for a mean.
    higher_is_better = False  # type: ignore[assignment]

    def update(self, losses: Tensor, sizes: Tensor) -> None:  # type: ignore[override]
        """Add the mean losses of batches, (…, batches), with the batch sizes, (batches,)."""
        # `MeanMetric.update` drops NaN values or, with that disabled, the weights (torchmetrics 1.9).
        self.mean_value = self.mean_value + (losses.to(self.mean_value) * sizes).sum(-1)
        self.weight = self.weight + sizes.sum()


class MeanPenalty(MeanLoss):
    """Mean penalty over the steps of an epoch, weighted like the loss."""

    def update(self, penalties: Tensor, sizes: Tensor) -> None:  # type: ignore[override]
        """Add the penalties of steps, (…, batches), with the batch sizes, (batches,)."""
        super().update(losses=penalties, sizes=sizes)


class R2(R2Score):
    """Coefficient of determination, mean over the columns; 0 for a constant column or a single sample."""

    def compute(self) -> Tensor:
        """Return R², a scalar."""
        # `R2Score` returns 1 if the squared errors sum to less than 1e-4, whatever the unit (torchmetrics 1.9).
        variation = self.sum_squared_error - self.sum_error.square() / self.total
        # Rounding can make the variation of equal targets slightly positive.
        varies = variation > 100 * torch.finfo(variation.dtype).eps * self.sum_squared_error
        return torch.where(varies, 1 - self.residual / variation, 0.0).mean()


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error of the softmax of the outputs, in 15 bins."""

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Add outputs, (batch, classes), and labels, (batch,)."""
        # The metric applies no softmax to outputs that all lie in [0, 1].
        super().update(_precise(outputs).softmax(-1), target)


# Metrics by the kind of targets; each is built for a number of outputs.
METRICS: dict[str, dict[str, Build]] = {
    "classes": {
        "accuracy": lambda n: MulticlassAccuracy(n, average="micro", validate_args=False),
        "macro_accuracy": lambda n: MulticlassAccuracy(n, average="macro", validate_args=False),
        "macro_f1": lambda n: MulticlassF1Score(n, average="macro", validate_args=False),
        "micro_f1": lambda n: MulticlassF1Score(n, average="micro", validate_args=False),
        "calibration_error": lambda n: CalibrationError(n, validate_args=False),
    },
    "labels": {
        "exact_match": lambda n: MultilabelExactMatch(n, validate_args=False),
        "micro_f1": lambda n: MultilabelF1Score(n, average="micro", validate_args=False),
        "macro_f1": lambda n: MultilabelF1Score(n, average="macro", validate_args=False),
        "label_accuracy": lambda n: MultilabelAccuracy(n, average="micro", validate_args=False),
    },
    "numbers": {"r2": lambda _: R2(), "mean_absolute_error": lambda _: MeanAbsoluteError()},
}
DEFAULT_METRICS = {"classes": ["accuracy"], "labels": ["exact_match", "micro_f1"], "numbers": ["r2"]}


def build_metrics(kind: str, outputs: int, names: Sequence[str] | None = None) -> dict[str, Metric]:
    """Build the metrics of a kind of targets.

    Args:
        kind: classes, labels (several per sample) or numbers.
        outputs: number of outputs of the network.
        names: keys of `METRICS`; None for the default ones.

    Raises:
        ValueError: a name that is unknown for this kind, or given twice.
    """
    return {name: METRICS[kind][name](outputs) for name in validate_metrics(kind, names)}


def validate_metrics(kind: str, names: Sequence[str] | None) -> list[str]:
    """Validate the names of metrics and return them; see `build_metrics`."""
    chosen = DEFAULT_METRICS[kind] if names is None else list(names)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"metrics must differ from each other, not {chosen}")
    for name in chosen:
        choose(f"metric of {kind}", name, METRICS[kind])
    return chosen


def metric_mode(metric: Metric) -> str | None:
    """Return `min` or `max` for the better direction of a metric, or None if it declares none."""
    return {True: "max", False: "min"}.get(metric.higher_is_better)  # type: ignore[arg-type]


@functools.cache
def metric_modes() -> dict[str, str | None]:
    """Return the better direction of each metric, by its name without `train/`, `val/` or `test/`."""
    built = {name: build(2) for kind in METRICS.values() for name, build in kind.items()}
    return {
        name: metric_mode(metric) for name, metric in {"loss": MeanLoss(), "penalty": MeanPenalty(), **built}.items()
    }


@dataclass
class EpochOutputs:
    """Losses, outputs and targets of an epoch, kept on their device until the metrics are computed at its end.

    Updating a metric at every step costs a tenth of a small step; one update per epoch gives the same value. In a
    stack, every tensor has a leading network axis.
    """

    sizes: list[int] = field(init=False, default_factory=list)
    losses: list[Tensor] = field(init=False, default_factory=list)
    penalties: list[Tensor] = field(init=False, default_factory=list)
    outputs: list[Tensor] = field(init=False, default_factory=list)
    targets: list[Tensor] = field(init=False, default_factory=list)

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor, penalty: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            loss: mean over the batch, () or (networks,).
            outputs: (batch, …) or (networks, batch, …).
            targets: targets with the same leading axes.
            penalty: shaped like the loss; None if there is none.
        """
        self.sizes.append(targets.shape[loss.dim()])
        self.losses.append(loss.detach())
        self.outputs.append(outputs.detach())
        self.targets.append(targets)
        if penalty is not None:
            self.penalties.append(penalty.detach())

    def clear(self) -> None:
        """Remove all batches."""
        for batches in vars(self).values():
            batches.clear()

    def metric_inputs(self, predict: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Concatenate the batches, by the argument names of the metrics' `update`.

        All tensors but `sizes` have a leading network axis in a stack.

        Args:
            predict: function from outputs to predictions.
        """
        axis = self.losses[0].dim()
        outputs, target = torch.cat(self.outputs, axis), torch.cat(self.targets, axis)
        columns = {"losses": torch.stack(self.losses, axis), "outputs": outputs, "target": _precise(target)}
        columns["preds"] = _precise(predict(outputs))
        if self.penalties:
            columns["penalties"] = torch.stack(self.penalties, axis)
        return {**columns, "sizes": torch.tensor(self.sizes, device=outputs.device)}


def compute_per_network(metrics: MetricCollection, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute metrics for each network: losses and accuracy in one call, other metrics network by network.

    Args:
        metrics: metrics of one network; they are reset.
        columns: see `EpochOutputs.metric_inputs`, with a leading network axis.

    Returns:
        Values (networks,) by metric name.
    """
    found = {}
    for name, metric in metrics.items(copy_state=False):
        metric.reset()
        if isinstance(metric, MeanLoss):
            metric.update(columns["penalties" if isinstance(metric, MeanPenalty) else "losses"], columns["sizes"])
            found[name] = metric.compute()
        elif type(metric) is MulticlassAccuracy and metric.average == "micro" and columns["preds"].dim() == 3:
            found[name] = _micro_accuracies(metric, columns)
        else:
            found[name] = torch.stack([_of_network(metric, columns, index) for index in range(len(columns["losses"]))])
    return {str(name): value for name, value in found.items()}


def _micro_accuracies(metric: MulticlassAccuracy, columns: Mapping[str, Tensor]) -> Tensor:
    # `multiclass_stat_scores` expects the classes on the second axis and keeps the first axis.
    preds = columns["preds"].transpose(1, 2)
    right, _, _, wrong, _ = multiclass_stat_scores(
        preds,
        columns["target"],
        preds.shape[1],
        average="micro",
        top_k=metric.top_k,
        ignore_index=metric.ignore_index,
        multidim_average="samplewise",
        validate_args=False,
    ).unbind(-1)
    return right.to(_precision()) / (right + wrong)


def _of_network(metric: Metric, columns: Mapping[str, Tensor], network: int) -> Tensor:
    alone = MetricCollection({"it": metric}, compute_groups=False)
    alone.reset()
    alone.update(**{name: value if name == "sizes" else value[network] for name, value in columns.items()})
    value: Tensor = alone.compute()["it"]
    return value


def collection(stage: str, metrics: Mapping[str, Metric]) -> MetricCollection:
    """Build the metric collection of a stage, with names such as `val/accuracy`."""
    # Compute groups merge metrics whose states agree after the first update, even if only by chance.
    found = MetricCollection(dict(metrics), prefix=f"{stage}/", compute_groups=False)
    return found.set_dtype(_precision())


def _precision() -> torch.dtype:
    # MPS has no double precision.
    return torch.float32 if torch.backends.mps.is_available() else torch.float64


def _precise(values: Tensor) -> Tensor:
    return values.to(_precision()) if values.is_floating_point() else values
