"""The perceptron, its cost, its algorithm as an online descent, and Novikoff's bound on the number of updates."""

from dataclasses import dataclass
from functools import partial

import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from lightning_modules.base import FlatSamples, LectureModule, known
from lightning_modules.layers import choose
from lightning_modules.layers.initialization import initialize_linear, linear, weight_generator
from lightning_modules.losses import Loss, check_label_range, check_label_shape, check_unused

TIES = {"mistakes": torch.le, "correct": torch.lt}
DIRECTIONS = {"descent": 1, "ascent": -1}


class PerceptronNetwork(nn.Module):
    """A linear function f(x) = w0 + ⟨w, x⟩, whose sign is the decision. Slide "Le perceptron".

    Args:
        in_features: size of a flattened sample.
        seed: seed of the initial weights.
        bias: whether there is a w0; without it f is 0 at the origin.
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
    """Turn labels 0 and 1 into y = −1 and +1."""
    return 2 * labels - 1


def mistakes(outputs: Tensor, labels: Tensor, ties: str = "mistakes") -> Tensor:
    """Say which samples call for an update: those with y f(x) < 0 and, depending on `ties`, = 0.

    Args:
        outputs: f(x), (…, batch, 1).
        labels: 0 or 1, (…, batch).
        ties: "mistakes" or "correct": what a sample with f(x) = 0 is.

    Returns:
        Booleans, (…, batch).
    """
    wrong: Tensor = TIES[ties](signs(labels) * outputs[..., 0], 0)
    return wrong


def perceptron_cost(outputs: Tensor, labels: Tensor, ties: str = "mistakes", direction: str = "descent") -> Tensor:
    """Compute max(0, −y f(x)), mean over the batch, with the gradient of the algorithm: −y x for a mistake, else 0.

    Slide "Le perceptron". At f(x) = 0 the cost has a kink, and `ties` chooses between its two one-sided gradients.

    Args:
        outputs: f(x), (…, batch, 1).
        labels: 0 or 1, (…, batch).
        ties: see `mistakes`.
        direction: "ascent" turns the gradient round, but not the cost: who goes down the gradient goes up the cost.
    """
    cost = -(signs(labels) * outputs[..., 0] * mistakes(outputs, labels, ties)).mean(-1)
    return cost if DIRECTIONS[direction] == 1 else 2 * cost.detach() - cost


def _check_shape(outputs: Tensor, labels: Tensor) -> None:
    check_label_shape("perceptron", outputs, labels)


def _check_values(_outputs: Tensor, labels: Tensor) -> None:
    check_label_range(labels, 2)


def by_sign(outputs: Tensor) -> Tensor:
    """Predict class 1 where f(x) > 0, else class 0: (…, batch, 1) to (…, batch)."""
    return (outputs[..., 0] > 0).long()


class MistakeRate(MeanMetric):
    """Share of the samples that call for an update; see `mistakes`."""

    # torchmetrics declares that of a mean nobody knows.
    higher_is_better = False  # type: ignore[assignment]

    def __init__(self, ties: str) -> None:
        super().__init__()
        self.ties = ties

    def update(self, outputs: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Count f(x), (batch, 1), against labels, (batch,)."""
        super().update(mistakes(outputs, target, self.ties).double())


@dataclass(kw_only=True, eq=False, repr=False)
class Perceptron(FlatSamples, LectureModule):
    """Perceptron: one linear output f(x), whose sign is the class, corrected by every mistake.

    Slides "Le perceptron" and "Algorithme du perceptron". With the defaults and batches of one sample this is the
    algorithm, w ← w + lr·y·x for each mistake, and scikit-learn's Perceptron without a penalty; larger batches descend
    their mean cost. The data have two classes: label 0 is y = −1, label 1 is y = +1. The algorithm ends with an epoch
    without a mistake: EarlyStopping with monitor train/error, stopping_threshold 1e-9 and patience 1000000 ends the
    training there. On data that are not linearly separable there is no such epoch, and max_epochs ends it.

    Logged: `train/loss`, the mean cost; `train/error`, the share of samples that were mistakes when their turn came (in
    batches of one, each is an update); `train/accuracy`, the share whose class the sign of f(x) told, f(x) = 0 telling
    class 0, which is what scikit-learn predicts. All also as `val/…` and `test/…`.

    Raises:
        ValueError: a name that does not exist, a number out of range, an option of another loss, or data of other than
            two classes.
    """

    bias: bool = True
    """Whether f(x) has a constant term w0."""
    ties: str = "mistakes"
    """What a sample with f(x) = 0 is: mistakes, or correct, the strict inequality y f(x) < 0, with which weights of
    zero stay zero."""
    direction: str = "descent"
    """descent, or ascent of the cost, which learns to be wrong."""
    initialization: str = "zero"
    """zero, default, xavier, he or orthogonal."""
    loss: str = "perceptron"
    """perceptron; a perceptron has no other."""
    optimizer: str = "sgd"
    """As for every model, but sgd if not given."""
    lr: float = 1.0
    """As for every model, but 1 if not given; from weights of zero, plain sgd makes the same mistakes with any."""

    def configure_network(self) -> PerceptronNetwork:
        """Build the network."""
        if self.num_classes != 2:
            raise ValueError(f"a perceptron tells 2 classes apart, not {self.num_classes}")
        features, seed = known(self.num_features), known(self.seed)
        return PerceptronNetwork(features, seed=seed, bias=self.bias, initialization=self.initialization)

    def configure_losses(self) -> Loss:
        """Build the perceptron cost, with the variants asked for."""
        choose("ties", self.ties, TIES)
        choose("direction", self.direction, DIRECTIONS)
        choose("loss of a perceptron", self.loss, {"perceptron": None})
        check_unused("perceptron", (), {"output_activation": self.output_activation, "reduction": self.reduction})
        cost = partial(perceptron_cost, ties=self.ties, direction=self.direction)
        return Loss(cost, _check_shape, _check_values, "classes", by_sign)

    def configure_metrics(self) -> dict[str, Metric]:
        """Count the mistakes too."""
        return {"error": MistakeRate(self.ties), **super().configure_metrics()}


def novikoff_bound(x: Tensor, y: Tensor, bias: bool = True) -> float:
    """Compute (R/γ)², the largest number of updates that the perceptron's algorithm can need from weights of zero.

    R is the largest norm of a sample, γ the largest margin of a hyperplane through the origin; with a bias, both of the
    points (x, 1), which is where the algorithm works. Novikoff 1962. 1/γ is the least ‖w‖ with y ⟨w, x⟩ >= 1 for every
    sample: a least-distance problem, solved without iterating to a tolerance as one of non-negative least squares
    (Lawson & Hanson 1974, chapter 23).

    Args:
        x: inputs, (n, …).
        y: labels 0 or 1, (n,).
        bias: whether the perceptron has a bias.

    Raises:
        ValueError: the samples are not linearly separable, in double precision; or x and y do not fit together.
    """
    rows = x.detach().flatten(1).double().cpu()
    check_label_shape("novikoff_bound", rows, y)
    check_label_range(y, 2)
    if bias:
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)
    radius = rows.norm(dim=1).max().clamp_min(torch.finfo(torch.float64).tiny)
    # In units of the radius, so that the answer is ‖w‖².
    rows = signs(y.cpu())[:, None] * rows / radius
    system = torch.cat([rows, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1).T
    target = torch.eye(len(system), dtype=torch.float64)[-1]
    multipliers, _ = nnls(system.numpy(), target.numpy())
    residual = system @ torch.from_numpy(multipliers) - target
    w = -residual[:-1] / residual[-1]
    margin = (rows @ w).min()
    # Where there is a solution, w is one and the margin 1, up to rounding; where there is none, no w has one above 0.
    if not margin > 0.5:
        raise ValueError(f"the {len(rows)} samples are not linearly separable {'with' if bias else 'without'} a bias")
    # Divided by the margin that w has, it is a bound even where rounding keeps w from being the best.
    return float(w.square().sum() / margin.square())
