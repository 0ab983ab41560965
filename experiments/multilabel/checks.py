"""Checks of losses for several labels: pure functions of a seed that return the largest error of many draws."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from lightning_modules.label_losses import by_share, label_scores
from lightning_modules.losses import build_loss

DRAWS = 300
LABELS = 6


def bce_is_bernoulli(seed: int) -> dict[str, float]:
    """Compare a sample's binary cross-entropy with −log of the probability of its labels, if they are independent."""
    outputs, targets = _draws(seed)
    loss = build_loss("bce", reduction="sum").mean
    value = torch.stack([loss(row[None], target[None]) for row, target in zip(outputs, targets, strict=True)])
    return _error(value, _likelihood(torch.sigmoid(outputs), targets))


def softmax_predicts_something(seed: int) -> dict[str, float]:
    """Verify that some softmax output is >= 1 / labels, and that its prediction rule always predicts a label."""
    outputs, _ = _draws(seed)
    highest = label_scores("label_softmax")(outputs).amax(1)
    lacking = (1 / LABELS - highest).clamp(min=0) + (~by_share(outputs).any(1)).double()
    return _error(lacking, torch.zeros_like(lacking))


def as_transcribed(probability: Tensor, targets: Tensor) -> Tensor:
    """Compute −Σ y log ŷ + (1 − y) log(1 − ŷ), where the minus applies to the first term only: (n, labels) to (n,)."""
    return -(targets * probability.log()).sum(1) + ((1 - targets) * (1 - probability).log()).sum(1)


def with_parentheses(probability: Tensor, targets: Tensor) -> Tensor:
    """Compute −Σ (y log ŷ + (1 − y) log(1 − ŷ)): (n, labels) to (n,)."""
    return -(targets * probability.log() + (1 - targets) * (1 - probability).log()).sum(1)


def parentheses(seed: int) -> dict[str, float]:
    """Compare both readings of the formula, with and without parentheses, with the negative log-likelihood.

    `counterexamples` counts the draws on which the transcribed formula, without parentheses, differs: all draws with an
    absent label.
    """
    outputs, targets = _draws(seed)
    probability = torch.sigmoid(outputs)
    truth = _likelihood(probability, targets)
    wrong = (as_transcribed(probability, targets) - truth).abs() > 1e-6
    return {**_error(with_parentheses(probability, targets), truth), "counterexamples": float(wrong.sum())}


def _likelihood(probability: Tensor, targets: Tensor) -> Tensor:
    """Compute −log of the probability of a sample's labels with `torch.distributions`: (n, labels) to (n,)."""
    log_probability: Tensor = Bernoulli(probability).log_prob(targets)  # type: ignore[no-untyped-call]
    return -log_probability.sum(1)


def _draws(seed: int) -> tuple[Tensor, Tensor]:
    """Draw logits and labels, (DRAWS, LABELS) each."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(DRAWS, LABELS, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(2, (DRAWS, LABELS), generator=generator).double()


def _error(value: Tensor, truth: Tensor) -> dict[str, float]:
    error = ((value - truth).abs() / (1 + truth.abs())).max()
    return {"error": float(error), "draws": float(len(truth))}
