"""The perceptron, its cost, its algorithm as an online descent, and Novikoff's bound on the number of updates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from lightning_modules.base import LectureModule
from lightning_modules.layers import check_count, choose
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


def _count_correct(outputs: Tensor, labels: Tensor) -> Tensor:
    return ((outputs[..., 0] > 0) == (labels == 1)).sum(-1)


class Perceptron(LectureModule):
    """Perceptron: one linear output f(x), whose sign is the class, corrected by every mistake.

    Slides "Le perceptron" and "Algorithme du perceptron". With the defaults and batches of one sample this is the
    algorithm, w ← w + lr·y·x for each mistake, and scikit-learn's Perceptron without a penalty; larger batches descend
    their mean cost. The algorithm ends with an epoch without a mistake: EarlyStopping with monitor train/error,
    stopping_threshold 1e-9 and patience 1000000 ends the training there. On data that are not linearly separable there
    is no such epoch, and max_epochs ends it.

    Logged: `train/loss`, the mean cost; `train/error`, the share of samples that were mistakes when their turn came;
    `train/updates`, their number in the epoch (of updates, in batches of one); `train/accuracy`, the share whose class
    the sign of f(x) told, f(x) = 0 telling class 0, which is what scikit-learn predicts. All but the updates also as
    `val/…` and `test/…`.

    Args:
        num_features: size of a flattened sample; the data module knows it.
        num_classes: of the data, 2: label 0 is y = −1, label 1 is y = +1; the data module knows it.
        bias: whether f(x) has a constant term w0.
        ties: what a sample with f(x) = 0 is: mistakes, or correct, the strict inequality y f(x) < 0, with which weights
            of zero stay zero.
        direction: descent, or ascent of the cost, which learns to be wrong.
        initialization: zero, default, xavier, he or orthogonal.
        loss: perceptron; a perceptron has no other.
        optimizer: of `LectureModule`, but sgd if not given.
        lr: of `LectureModule`, but 1 if not given; from weights of zero, plain sgd makes the same mistakes with any.
        training: of `LectureModule`.

    Raises:
        ValueError: a name that does not exist, a number out of range, an option of another loss, or data of other than
            two classes.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_classes: int,
        bias: bool = True,
        ties: str = "mistakes",
        direction: str = "descent",
        initialization: str = "zero",
        loss: str = "perceptron",
        optimizer: str = "sgd",
        lr: float = 1.0,
        **training: Any,
    ) -> None:
        check_count("num_features", num_features)
        if num_classes != 2:
            raise ValueError(f"a perceptron tells 2 classes apart, not {num_classes}")
        choose("ties", ties, TIES)
        choose("direction", direction, DIRECTIONS)
        self.num_features = num_features
        self.bias = bias
        self.ties = ties
        self.direction = direction
        self.initialization = initialization
        super().__init__(loss=loss, optimizer=optimizer, lr=lr, **training)

    def configure_network(self) -> PerceptronNetwork:
        """Build the network."""
        return PerceptronNetwork(self.num_features, seed=self.seed, bias=self.bias, initialization=self.initialization)

    def configure_losses(self) -> Loss:
        """Build the perceptron cost, with the variants asked for."""
        choose("loss of a perceptron", self.loss, {"perceptron": None})
        check_unused("perceptron", (), {"output_activation": self.output_activation, "reduction": self.reduction})

        def count_mistakes(outputs: Tensor, labels: Tensor) -> Tensor:
            return mistakes(outputs, labels, self.ties).sum(-1)

        cost = partial(perceptron_cost, ties=self.ties, direction=self.direction)
        return Loss(cost, _check_shape, _check_values, {"error": count_mistakes, "accuracy": _count_correct})

    def more_measures(self, stage: str, means: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Count the epoch's updates."""
        return {"updates": (means["error"] * samples).round()} if stage == "train" else {}


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
