"""The perceptron, its cost, its algorithm as gradient descent on single samples, and Novikoff's bound on updates."""

from dataclasses import dataclass
from functools import partial

import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from lightning_modules.base import FlatSamples, LectureModule, not_none
from lightning_modules.layers import choose
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.losses import Loss, validate_label_range, validate_label_shape, validate_unused

TIES = {"mistakes": torch.le, "correct": torch.lt}
DIRECTIONS = {"descent": 1, "ascent": -1}


class PerceptronNetwork(nn.Module):
    """A linear function f(x) = w0 + ⟨w, x⟩, whose sign is the decision. Slide "Le perceptron".

    Args:
        in_features: size of a flattened sample.
        seed: seed of the initial weights.
        bias: whether there is a bias w0.
        initialization: see `layers.initialization`.
    """

    def __init__(self, in_features: int, *, seed: int, bias: bool = True, initialization: str = "zero") -> None:
        super().__init__()
        self.output = linear(in_features, 1, bias)
        initialize_linear(self.output, initialization, 1.0, weight_generator(seed, "output"))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …) to (batch, 1)."""
        outputs: Tensor = self.output(inputs.flatten(1))
        return outputs


def signs(labels: Tensor) -> Tensor:
    """Map labels 0 and 1 to y = −1 and +1."""
    return 2 * labels - 1


def mistakes(outputs: Tensor, labels: Tensor, ties: str = "mistakes") -> Tensor:
    """Return which samples are mistakes: y f(x) < 0 or, depending on `ties`, y f(x) <= 0.

    Args:
        outputs: f(x), (…, batch, 1).
        labels: 0 or 1, (…, batch).
        ties: whether samples with f(x) = 0 count as "mistakes" or as "correct".

    Returns:
        Booleans, (…, batch).
    """
    wrong: Tensor = TIES[ties](signs(labels) * outputs[..., 0], 0)
    return wrong


def perceptron_cost(outputs: Tensor, labels: Tensor, ties: str = "mistakes", direction: str = "descent") -> Tensor:
    """Compute max(0, −y f(x)), mean over the batch; the gradient is −y x for a mistake, else 0.

    Slide "Le perceptron". The cost is not differentiable at f(x) = 0, where `ties` chooses one of the one-sided
    gradients.

    Args:
        outputs: f(x), (…, batch, 1).
        labels: 0 or 1, (…, batch).
        ties: see `mistakes`.
        direction: "descent", or "ascent", which negates the gradient but not the cost.
    """
    cost = -(signs(labels) * outputs[..., 0] * mistakes(outputs, labels, ties)).mean(-1)
    return cost if DIRECTIONS[direction] == 1 else 2 * cost.detach() - cost


def _validate_shape(outputs: Tensor, labels: Tensor) -> None:
    validate_label_shape("perceptron", outputs, labels)


def _validate_values(_outputs: Tensor, labels: Tensor) -> None:
    validate_label_range(labels, 2)


def by_sign(outputs: Tensor) -> Tensor:
    """Predict class 1 where f(x) > 0, else class 0: (…, batch, 1) to (…, batch)."""
    return (outputs[..., 0] > 0).long()


class MistakeRate(MeanMetric):
    """Share of the samples that are mistakes; see `mistakes`."""

    # torchmetrics leaves this None for a mean.
    higher_is_better = False  # type: ignore[assignment]

    def __init__(self, ties: str) -> None:
        super().__init__()
        self.ties = ties

    def update(self, outputs: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add f(x), (batch, 1), and labels, (batch,)."""
        super().update(mistakes(outputs, target, self.ties).double())


@dataclass(kw_only=True, eq=False, repr=False)
class Perceptron(FlatSamples, LectureModule):
    """Perceptron: one linear output f(x) whose sign is the class; each mistake updates the weights.

    Slides "Le perceptron" and "Algorithme du perceptron". With the defaults and batches of one sample, training is the
    perceptron's algorithm, w ← w + lr·y·x for each mistake, as in scikit-learn's Perceptron without a penalty. Larger
    batches descend their mean cost. The data have two classes: label 0 is y = −1, label 1 is y = +1. The algorithm
    stops after an epoch without a mistake: use EarlyStopping with monitor train/error, stopping_threshold 1e-9 and
    patience 1000000. On data that are not linearly separable, training stops at max_epochs.

    The module logs `train/loss`, the mean cost; `train/error`, the share of mistakes at the time of their step (with
    batches of one sample, the share of updates); `train/accuracy`, where f(x) = 0 predicts class 0 as in scikit-learn;
    and the same values as `val/…` and `test/…`.

    Raises:
        ValueError: unknown name, number out of range, an option of another loss, or data with other than two classes.
    """

    bias: bool = True
    """Whether f(x) has a constant term w0."""
    ties: str = "mistakes"
    """Whether samples with f(x) = 0 count as mistakes or as correct. With correct, weights of zero stay zero."""
    direction: str = "descent"
    """descent or ascent of the cost; ascent learns wrong classes."""
    initialization: str = "zero"
    """zero, default, xavier, he or orthogonal."""
    loss: str = "perceptron"
    """perceptron, the only choice."""
    optimizer: str = "sgd"
    """The same choices as for all models. Default: sgd."""
    lr: float = 1.0
    """Learning rate, > 0. Default: 1. With plain sgd and weights of zero, all values make the same mistakes."""

    def configure_network(self) -> PerceptronNetwork:
        """Build the network."""
        if self.num_classes != 2:
            raise ValueError(f"a perceptron tells 2 classes apart, not {self.num_classes}")
        features, seed = not_none(self.num_features), not_none(self.seed)
        return PerceptronNetwork(features, seed=seed, bias=self.bias, initialization=self.initialization)

    def configure_losses(self) -> Loss:
        """Build the perceptron cost with the chosen ties and direction."""
        choose("ties", self.ties, TIES)
        choose("direction", self.direction, DIRECTIONS)
        choose("loss of a perceptron", self.loss, {"perceptron": None})
        validate_unused("perceptron", (), {"output_activation": self.output_activation, "reduction": self.reduction})
        cost = partial(perceptron_cost, ties=self.ties, direction=self.direction)
        return Loss(cost, _validate_shape, _validate_values, "classes", by_sign)

    def configure_metrics(self) -> dict[str, Metric]:
        """Build the metrics, including the share of mistakes."""
        return {"error": MistakeRate(self.ties), **super().configure_metrics()}


def novikoff_bound(x: Tensor, y: Tensor, bias: bool = True) -> float:
    """Compute (R/γ)², Novikoff's upper bound on the updates of the perceptron's algorithm from weights of zero.

    R is the largest norm of a sample and γ the largest margin of a hyperplane through the origin (Novikoff 1962). With
    a bias, both refer to the points (x, 1). 1/γ is the least ‖w‖ with y ⟨w, x⟩ >= 1 for every sample. This
    least-distance problem is solved exactly as non-negative least squares (Lawson & Hanson 1974, chapter 23).

    Args:
        x: inputs, (n, …).
        y: labels 0 or 1, (n,).
        bias: whether the perceptron has a bias.

    Raises:
        ValueError: the samples are not linearly separable in double precision, or x and y do not match.
    """
    rows = x.detach().flatten(1).double().cpu()
    validate_label_shape("novikoff_bound", rows, y)
    validate_label_range(y, 2)
    if bias:
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    radius = rows.norm(dim=1).max().clamp_min(torch.finfo(torch.float64).tiny)
    # Scaled by the radius, so that the bound is ‖w‖².
    rows = signs(y.cpu())[:, None] * rows / radius
    system = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1).T
    target = torch.eye(len(system), dtype=torch.float64)[-1]
    multipliers, _ = nnls(system.numpy(), target.numpy())
    residual = system @ torch.from_numpy(multipliers) - target
    w = -residual[:-1] / residual[-1]
    margin = (rows @ w).min()
    # The margin is 1 up to rounding if the samples are separable, and at most 0 otherwise.
    if not margin > 0.5:
        raise ValueError(f"the {len(rows)} samples are not linearly separable {'with' if bias else 'without'} a bias")
    # Dividing by the actual margin of w gives a valid bound even if rounding makes w suboptimal.
    return float(w.square().sum() / margin.square())
