"""What is counted beside the loss: torchmetrics, by the names that a config gives them."""

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
    """Mean loss over the samples of an epoch; a loss that is not finite stays in it."""

    # torchmetrics declares that of a mean nobody knows.
    higher_is_better = False  # type: ignore[assignment]

    def update(self, losses: Tensor, sizes: Tensor) -> None:  # type: ignore[override]
        """Add the mean losses of batches, (…, batches), and the numbers of their samples, (batches,)."""
        # Not by the update of `MeanMetric`: it drops NaN or, told not to, the weights (torchmetrics 1.9).
        self.mean_value = self.mean_value + (losses.to(self.mean_value) * sizes).sum(-1)
        self.weight = self.weight + sizes.sum()


class MeanPenalty(MeanLoss):
    """Mean penalty over the steps of an epoch, weighted like the loss."""

    def update(self, penalties: Tensor, sizes: Tensor) -> None:  # type: ignore[override]
        """Add the penalties of steps, (…, batches), and the numbers of their samples, (batches,)."""
        super().update(losses=penalties, sizes=sizes)


class R2(R2Score):
    """Coefficient of determination, the mean over the columns; 0 of a column that does not vary, or of one sample."""

    def compute(self) -> Tensor:
        """Give R², a scalar."""
        # `R2Score` gives 1 where the squared errors sum to less than 1e-4, whatever the unit (torchmetrics 1.9).
        variation = self.sum_squared_error - self.sum_error.square() / self.total
        # Of equal targets, rounding can leave a little more than 0.
        varies = variation > 100 * torch.finfo(variation.dtype).eps * self.sum_squared_error
        return torch.where(varies, 1 - self.residual / variation, 0.0).mean()


class CalibrationError(MulticlassCalibrationError):
    """Expected calibration error of the softmax of the outputs, in 15 bins."""

    def update(self, outputs: Tensor, target: Tensor) -> None:
        """Count outputs, (batch, classes), against labels, (batch,)."""
        # The metric's own softmax leaves out scores that all lie in [0, 1].
        super().update(_precise(outputs).softmax(-1), target)


# By the kind of targets, what a config can ask for; each is built for a number of outputs.
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
USUAL = {"classes": ["accuracy"], "labels": ["exact_match", "micro_f1"], "numbers": ["r2"]}


def build_metrics(kind: str, outputs: int, names: Sequence[str] | None = None) -> dict[str, Metric]:
    """Build the metrics of a kind of targets.

    Args:
        kind: classes, labels (several a sample) or numbers.
        outputs: of the network.
        names: which of `METRICS`; the usual ones if not given.

    Raises:
        ValueError: a name that does not exist for this kind, or is given twice.
    """
    return {name: METRICS[kind][name](outputs) for name in check_metrics(kind, names)}


def check_metrics(kind: str, names: Sequence[str] | None) -> list[str]:
    """Give the names of the metrics that are asked for; see `build_metrics`."""
    chosen = USUAL[kind] if names is None else list(names)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"metrics must differ from each other, not {chosen}")
    for name in chosen:
        choose(f"metric of {kind}", name, METRICS[kind])
    return chosen


def mode_of(metric: Metric) -> str | None:
    """Which of two values of a metric is better: `min`, `max`, or None where it does not say."""
    return {True: "max", False: "min"}.get(metric.higher_is_better)  # type: ignore[arg-type]


@functools.cache
def modes() -> dict[str, str | None]:
    """Which of two values is better, by the names in a config, which stand behind `train/`, `val/` or `test/`."""
    built = {name: build(2) for kind in METRICS.values() for name, build in kind.items()}
    return {name: mode_of(metric) for name, metric in {"loss": MeanLoss(), "penalty": MeanPenalty(), **built}.items()}


@dataclass
class Epoch:
    """The losses, outputs and targets of an epoch, kept on their device until they are counted at its end.

    An update of a metric at every step costs a tenth of a small step; one update an epoch gives the same value.
    Where several networks are trained as one, every tensor leads with their axis.
    """

    sizes: list[int] = field(init=False, default_factory=list)
    losses: list[Tensor] = field(init=False, default_factory=list)
    penalties: list[Tensor] = field(init=False, default_factory=list)
    outputs: list[Tensor] = field(init=False, default_factory=list)
    targets: list[Tensor] = field(init=False, default_factory=list)

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor, penalty: Tensor | None = None) -> None:
        """Keep a batch.

        Args:
            loss: mean over the batch, () or (networks,).
            outputs: (batch, …) or (networks, batch, …).
            targets: with the same leading axes.
            penalty: like the loss; None where there is none.
        """
        self.sizes.append(targets.shape[loss.dim()])
        self.losses.append(loss.detach())
        self.outputs.append(outputs.detach())
        self.targets.append(targets)
        if penalty is not None:
            self.penalties.append(penalty.detach())

    def clear(self) -> None:
        """Begin an epoch."""
        for kept in vars(self).values():
            kept.clear()

    def columns(self, predict: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Join the batches, by the names that the `update` of a metric uses; but for `sizes`, networks lead.

        Args:
            predict: turns outputs into predictions.
        """
        axis = self.losses[0].dim()
        outputs, target = torch.cat(self.outputs, axis), torch.cat(self.targets, axis)
        columns = {"losses": torch.stack(self.losses, axis), "outputs": outputs, "target": _precise(target)}
        columns["preds"] = _precise(predict(outputs))
        if self.penalties:
            columns["penalties"] = torch.stack(self.penalties, axis)
        return {**columns, "sizes": torch.tensor(self.sizes, device=outputs.device)}


def count_networks(metrics: MetricCollection, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute metrics of one network for each of several: losses and accuracy at once, others one after the other.

    Args:
        metrics: of one network; they are reset.
        columns: as `Epoch` joins them, led by the axis of the networks.

    Returns:
        (networks,) for each name.
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
            found[name] = torch.stack([_of_one(metric, columns, index) for index in range(len(columns["losses"]))])
    return {str(name): value for name, value in found.items()}


def _micro_accuracies(metric: MulticlassAccuracy, columns: Mapping[str, Tensor]) -> Tensor:
    # The function takes the classes for the second axis, and keeps the first apart.
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


def _of_one(metric: Metric, columns: Mapping[str, Tensor], network: int) -> Tensor:
    alone = MetricCollection({"it": metric}, compute_groups=False)
    alone.reset()
    alone.update(**{name: value if name == "sizes" else value[network] for name, value in columns.items()})
    value: Tensor = alone.compute()["it"]
    return value


def collection(stage: str, metrics: Mapping[str, Metric]) -> MetricCollection:
    """Collect the metrics of a stage under names such as `val/accuracy`."""
    # A group shares the states of metrics that agree after their first update, also where they do so by accident.
    found = MetricCollection(dict(metrics), prefix=f"{stage}/", compute_groups=False)
    return found.set_dtype(_precision())


def _precision() -> torch.dtype:
    # MPS knows no double precision.
    return torch.float32 if torch.backends.mps.is_available() else torch.float64


def _precise(values: Tensor) -> Tensor:
    return values.to(_precision()) if values.is_floating_point() else values
