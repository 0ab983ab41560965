"""Checks of softmax and cross-entropy identities, and of failures of the squared distance: pure functions of a seed."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from lightning_modules.losses import Loss, build_loss

DRAWS = 200
# Fewer than DRAWS, because each needs a likelihood from scipy and three gradients.
SETS_OF_COUNTS = 40
CLASSES = 10
# Logits of the figure of overflow; e^z overflows float32 between 88 and 89.
OVERFLOW_LOGITS = tuple(range(0, 121, 8))
# Margins of the wrong output in the figure.
MARGINS = tuple(range(0, 21))
CLASS_COUNTS = (2, 10, 100)
SCALES = torch.arange(0.0, 5.01, 0.25, dtype=torch.float64)

LOSSES: dict[str, Loss] = {
    "cross_entropy": build_loss("cross_entropy"),
    "sigmoid_mse": build_loss("one_hot_mse", "sigmoid", "sum"),
    "softmax_mse": build_loss("one_hot_mse", "softmax", "sum"),
    "linear_mse": build_loss("one_hot_mse", "identity", "sum"),
}


def softmax_distribution(seed: int) -> dict[str, float]:
    """Compare softmax with e^z / Σ e^z, and verify that it is positive and sums to 1."""
    z = _logits(_generator(seed), scale=5.0)
    p = z.softmax(1)
    written = z.exp() / z.exp().sum(1, keepdim=True)
    positive = (p <= 0).double()
    return _worst([(p, written), (p.sum(1), torch.ones(len(p), dtype=p.dtype)), (positive, torch.zeros_like(p))])


def softmax_ratio(seed: int) -> dict[str, float]:
    """Compare the ratio of two softmax outputs with e to the difference of their logits."""
    z = _logits(_generator(seed), scale=2.0)
    p = z.softmax(1)
    return _worst([(p[:, 0] / p[:, 1], (z[:, 0] - z[:, 1]).exp())])


def softmax_scale(seed: int) -> dict[str, float]:
    """Verify that the largest softmax output starts at 1/K and never falls when all logits grow by a common factor."""
    z = _logits(_generator(seed), scale=2.0)
    largest = (SCALES[:, None, None] * z).softmax(2).amax(2)
    falls = (largest[:-1] - largest[1:]).clamp(min=0)
    return _worst([(falls, torch.zeros_like(falls)), (largest[0], torch.full_like(largest[0], 1 / z.shape[1]))])


def softmax_transcription(seed: int) -> dict[str, float]:
    """Compare softmax with the transcribed formula, whose sum repeats the output's own term and gives 1/K."""
    z = _logits(_generator(seed), scale=1.0)
    literal = z.exp() / (z.shape[1] * z.exp())
    with_two_letters = z.exp() / z.exp().sum(1, keepdim=True)
    wrong = (literal - z.softmax(1)).abs().amax(1) > 1e-3
    return {**_worst([(with_two_letters, z.softmax(1))]), "counterexamples": float(wrong.sum())}


def cross_entropy_identities(seed: int) -> dict[str, float]:
    """Compare the cross-entropy of a one-hot target with −log ŷ_k and −z_k + log Σ e^z."""
    generator = _generator(seed)
    z, k = _logits(generator, scale=3.0), _labels(generator)
    mean = LOSSES["cross_entropy"].mean
    loss = torch.stack([mean(row[None], label[None]) for row, label in zip(z, k, strict=True)])
    target = z.gather(1, k[:, None])[:, 0]
    one_hot = torch.eye(CLASSES, dtype=z.dtype)[k]
    return _worst(
        [
            (loss, -(one_hot * z.softmax(1).log()).sum(1)),
            (loss, -z.softmax(1).gather(1, k[:, None])[:, 0].log()),
            (loss, -target + z.exp().sum(1).log()),
        ]
    )


def cross_entropy_gradient(seed: int) -> dict[str, float]:
    """Compare the gradient of cross-entropy in the logits with softmax minus the one-hot vector."""
    generator = _generator(seed)
    z, k = _logits(generator, scale=3.0), _labels(generator)
    return _worst([(_gradient("cross_entropy", z, k), z.softmax(1) - torch.eye(CLASSES, dtype=z.dtype)[k])])


def naive_overflow(seed: int) -> dict[str, float]:
    """Count the overflows of e^z / Σ e^z in float32, and compare the stable form with double precision.

    The stable form is −z_k + log Σ e^z after subtracting the largest logit. `naive_088` and `stable_088` are the losses
    of a single wrong logit of 88.
    """
    generator = _generator(seed)
    z, k = _logits(generator, scale=60.0).float(), _labels(generator)
    naive = build_loss("naive_cross_entropy")
    rows = list(zip(z, k, strict=True))
    written = torch.stack([naive.mean(row[None], label[None]) for row, label in rows])
    stable = torch.stack([LOSSES["cross_entropy"].mean(row[None], label[None]) for row, label in rows])
    exact = -z.double().log_softmax(1).gather(1, k[:, None])[:, 0]
    curves = {}
    for logit in OVERFLOW_LOGITS:
        point, target = torch.tensor([[float(logit), 0.0]]), torch.tensor([1])
        curves[f"naive_{logit:03d}"] = float(naive.mean(point, target))
        curves[f"stable_{logit:03d}"] = float(LOSSES["cross_entropy"].mean(point, target))
    overflown = (~written.isfinite()).sum()
    return {**_worst([(stable.double(), exact)]), "counterexamples": float(overflown), **curves}


def mean_over_outputs(seed: int) -> dict[str, float]:
    """Verify that the mean over the K outputs, torch's default, divides the gradient of the squared distance by K."""
    generator = _generator(seed)
    z, k = _logits(generator, scale=2.0), _labels(generator)
    mean = _gradient_of(build_loss("one_hot_mse", "sigmoid", "mean"), z, k)
    total = _gradient("sigmoid_mse", z, k)
    smaller = (mean.norm(dim=1) < 0.5 * total.norm(dim=1)).sum()
    return {**_worst([(CLASSES * mean, total)]), "counterexamples": float(smaller)}


def wrong_gradient(seed: int) -> dict[str, float]:
    """Compare the gradient for a confident wrong output with its closed form.

    The wrong logit is m and the target's is −m; the other logits are random for `error`. With other logits of 0,
    `sigmoid_mse_m10` and the like are the norm of the gradient over these two outputs at margin m = 10.
    """
    generator = _generator(seed)
    z, k = _logits(generator, scale=1.0), _labels(generator)
    margins = 20 * torch.rand(DRAWS, generator=generator, dtype=z.dtype)
    z = _confidently_wrong(z, k, margins)
    pairs = [(_gradient(name, z, k), closed_form(name, z, k)) for name in LOSSES]
    measured = {}
    for name in LOSSES:
        for margin in MARGINS:
            label = torch.tensor([1])
            point = _confidently_wrong(torch.zeros(1, CLASSES, dtype=z.dtype), label, torch.tensor([float(margin)]))
            measured[f"{name}_m{margin:02d}"] = float(_gradient(name, point, label)[0, :2].norm())
    return {**_worst(pairs), **measured}


def closed_form(name: str, z: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient of each sample's loss in its logits from formulas: (n, K), (n,) to (n, K).

    Args:
        name: a key of `LOSSES`.
        z: logits.
        labels: the targets.
    """
    y = torch.eye(z.shape[1], dtype=z.dtype)[labels]
    if name == "cross_entropy":
        return z.softmax(1) - y
    if name == "linear_mse":
        return 2 * (z - y)
    if name == "sigmoid_mse":
        # σ(z) σ(−z), because σ (1 − σ) is 0 where σ rounds to 1.
        return 2 * (z.sigmoid() - y) * z.sigmoid() * (-z).sigmoid()
    p = z.softmax(1)
    return 2 * p * ((p - y) - ((p - y) * p).sum(1, keepdim=True))


def multinomial_likelihood(seed: int) -> dict[str, float]:
    """Compare N times the mean cross-entropy with the multinomial −log likelihood without its coefficient.

    The coefficient does not depend on the logits, so both have the same minimum, where softmax equals the class
    frequencies. The check verifies that the gradient is 0 there and that other logits have a larger loss.
    """
    rng = np.random.default_rng(seed)
    pairs: list[tuple[Tensor, Tensor]] = []
    for _ in range(SETS_OF_COUNTS):
        counts = rng.multinomial(97, rng.dirichlet(np.full(5, 3.0))) + 1
        labels = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
        best = torch.tensor(counts / counts.sum()).log()
        other = best + torch.tensor(rng.normal(size=5))
        at_best, at_other = (_mean_cross_entropy(z, labels) for z in (best, other))
        coefficient = math.lgamma(counts.sum() + 1) - sum(math.lgamma(c + 1) for c in counts)
        likelihood = stats.multinomial.logpmf(counts, counts.sum(), other.softmax(0).numpy())
        free = best.clone().requires_grad_()
        (slope,) = torch.autograd.grad(_mean_cross_entropy(free, labels), free)
        pairs += [
            (counts.sum() * at_other, torch.tensor(coefficient - likelihood)),
            (slope, torch.zeros_like(slope)),
            ((at_best - at_other).clamp(min=0), torch.zeros_like(at_best)),
        ]
    return {**_worst(pairs), "draws": float(SETS_OF_COUNTS)}


def distance_and_argmax(seed: int) -> dict[str, float]:
    """Verify that, of two outputs, the one nearer to the one-hot vector can have the wrong arg max.

    In the near output another class is slightly above the target; in the far output all classes are slightly below it.
    `error` is 1 if distance and arg max agree for any pair.
    """
    generator = _generator(seed)
    failures = 0
    loss = LOSSES["linear_mse"]
    for index in range(DRAWS):
        classes = CLASS_COUNTS[index % len(CLASS_COUNTS)]
        label = torch.randint(classes, (1,), generator=generator)
        other = (label + 1 + torch.randint(classes - 1, (1,), generator=generator)) % classes
        hair = 0.05 * torch.rand(1, generator=generator, dtype=torch.float64) + 0.01
        near, far = torch.zeros(1, classes, dtype=torch.float64), torch.ones(1, classes, dtype=torch.float64)
        near[0, label], near[0, other] = 0.5, 0.5 + hair
        far[0] -= hair
        far[0, label] = 1.0
        is_nearer = loss.mean(near, label) < loss.mean(far, label)
        right = [bool(outputs.argmax(-1) == label) for outputs in (near, far)]
        failures += not (is_nearer and right == [False, True])
    return {"error": float(failures > 0), "draws": float(DRAWS)}


def gradient_share(seed: int) -> dict[str, float]:
    """Measure the share of the gradient in the logits, in absolute values, on the outputs other than the target.

    Logits are standard normal, as in a new network, and the target is their arg max. `mse_share_010` is the mean share
    of sigmoid + MSE for K = 10, and `mse_more_010` is that share minus the share of cross-entropy, which is always ½;
    `error` is its deviation from ½.
    """
    generator = _generator(seed)
    found: dict[str, float] = {}
    pairs = []
    for classes in CLASS_COUNTS:
        z = torch.randn(DRAWS, classes, generator=generator, dtype=torch.float64)
        labels = z.argmax(1)
        mse = _share_beside(_gradient("sigmoid_mse", z, labels), labels)
        entropy = _share_beside(_gradient("cross_entropy", z, labels), labels)
        pairs.append((entropy, torch.full_like(entropy, 0.5)))
        found[f"mse_share_{classes:03d}"] = float(mse.mean())
        found[f"mse_more_{classes:03d}"] = float((mse - entropy).mean())
    return {**_worst(pairs), **found}


def _share_beside(gradient: Tensor, labels: Tensor) -> Tensor:
    size = gradient.abs()
    return 1 - size.gather(1, labels[:, None])[:, 0] / size.sum(1)


def _mean_cross_entropy(z: Tensor, labels: Tensor) -> Tensor:
    return LOSSES["cross_entropy"].mean(z.expand(len(labels), -1), labels)


def _confidently_wrong(z: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
    """Set the logit of the target to −m and the logit of the previous class to m."""
    z = z.clone()
    z.scatter_(1, labels[:, None], -margins[:, None].to(z.dtype))
    return z.scatter_(1, ((labels - 1) % z.shape[1])[:, None], margins[:, None].to(z.dtype))


def _gradient(name: str, z: Tensor, labels: Tensor) -> Tensor:
    return _gradient_of(LOSSES[name], z, labels)


def _gradient_of(loss: Loss, z: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient of each sample's loss; the factor undoes the mean over the batch."""
    point = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(len(z) * loss.mean(point, labels), point)
    return gradient


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _logits(generator: torch.Generator, scale: float) -> Tensor:
    return scale * torch.randn(DRAWS, CLASSES, generator=generator, dtype=torch.float64)


def _labels(generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (DRAWS,), generator=generator)


def _worst(pairs: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Compute the largest error of pairs (value, truth), relative to 1 + |truth|."""
    errors = [((value - truth).abs() / (1 + truth.abs())).max() for value, truth in pairs]
    return {"error": float(torch.stack([error.double() for error in errors]).max()), "draws": float(DRAWS)}
