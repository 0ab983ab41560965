"""Identities of the losses of several labels: pure functions of a seed that return the largest error of many draws."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from lightning_modules.label_losses import by_share, label_scores
from lightning_modules.losses import build_loss

DRAWS = 300
LABELS = 6


def bce_is_bernoulli(seed: int) -> dict[str, float]:
    """Binary cross-entropy of a sample is −log of the probability of its labels if they are independent."""
    outputs, targets = _draws(seed)
    loss = build_loss("bce", reduction="sum").mean
    value = torch.stack([loss(row[None], target[None]) for row, target in zip(outputs, targets, strict=True)])
    return _error(value, _likelihood(torch.sigmoid(outputs), targets))


def softmax_predicts_something(seed: int) -> dict[str, float]:
    """Softmax gives some label an equal share or more, and the rule after it always predicts one; sigmoids need not."""
    outputs, _ = _draws(seed)
    highest = label_scores("label_softmax")(outputs).amax(1)
    lacking = (1 / LABELS - highest).clamp(min=0) + (~by_share(outputs).any(1)).double()
    return _error(lacking, torch.zeros_like(lacking))


def as_transcribed(probability: Tensor, targets: Tensor) -> Tensor:
    """Compute −Σ y log ŷ + (1 − y) log(1 − ŷ) with the minus before the first term only: (n, labels) to (n,)."""
    return -(targets * probability.log()).sum(1) + ((1 - targets) * (1 - probability).log()).sum(1)


def with_parentheses(probability: Tensor, targets: Tensor) -> Tensor:
    """Compute −Σ (y log ŷ + (1 − y) log(1 − ŷ)): (n, labels) to (n,)."""
    return -(targets * probability.log() + (1 - targets) * (1 - probability).log()).sum(1)


def parentheses(seed: int) -> dict[str, float]:
    """The minus must cover both terms: without parentheses the loss rewards what it should punish.

    `counterexamples` are the draws where the formula as transcribed is not the negative log-likelihood: all whose
    labels are not all there.
    """
    outputs, targets = _draws(seed)
    probability = torch.sigmoid(outputs)
    truth = _likelihood(probability, targets)
    wrong = (as_transcribed(probability, targets) - truth).abs() > 1e-6
    return {**_error(with_parentheses(probability, targets), truth), "counterexamples": float(wrong.sum())}


def _likelihood(probability: Tensor, targets: Tensor) -> Tensor:
    """−log of the probability of a sample's labels, by torch's own law: (n, labels) to (n,)."""
    log_probability: Tensor = Bernoulli(probability).log_prob(targets)  # type: ignore[no-untyped-call]
    return -log_probability.sum(1)


def _draws(seed: int) -> tuple[Tensor, Tensor]:
    """Logits and labels, (DRAWS, LABELS) each."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(DRAWS, LABELS, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(2, (DRAWS, LABELS), generator=generator).double()


def _error(value: Tensor, truth: Tensor) -> dict[str, float]:
    error = ((value - truth).abs() / (1 + truth.abs())).max()
    return {"error": float(error), "draws": float(len(truth))}
