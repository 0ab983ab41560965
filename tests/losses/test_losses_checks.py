"""The checks of the experiment `losses`: they hold, and each of them fails when its formula is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from torch.nn import functional as F

from experiments.losses import checks
from lightning_modules import losses

EXACT = (
    "softmax_distribution",
    "softmax_ratio",
    "softmax_scale",
    "softmax_transcription",
    "cross_entropy_identities",
    "cross_entropy_gradient",
    "mean_over_outputs",
    "wrong_gradient",
    "multinomial_likelihood",
    "distance_and_argmax",
    "gradient_share",
)


def points() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(7, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 3, 1, 2, 2, 0, 1])


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_check_holds_to_rounding(name: str) -> None:
    found = getattr(checks, name)(3)
    assert found["error"] <= 1e-13
    assert found["draws"] >= 40
    assert getattr(checks, name)(3) == found


@pytest.mark.parametrize("name", [*EXACT, "naive_overflow"])
def test_another_seed_draws_other_numbers(name: str) -> None:
    drawn = [checks._logits(checks._generator(seed), scale=1.0) for seed in (1, 2)]
    assert not torch.equal(*drawn)
    assert all(math.isfinite(getattr(checks, name)(seed)["error"]) for seed in (1, 2))


def broken_loss(name: str, wrong) -> dict[str, losses.Loss]:
    return {**checks.LOSSES, name: replace(checks.LOSSES[name], mean=wrong)}


@pytest.mark.parametrize(
    ("check", "loss", "wrong"),
    [
        ("cross_entropy_identities", "cross_entropy", lambda z, k: F.cross_entropy(z, k) + 1e-6),
        ("cross_entropy_gradient", "cross_entropy", lambda z, k: F.cross_entropy(1.001 * z, k)),
        ("multinomial_likelihood", "cross_entropy", lambda z, k: F.cross_entropy(z, k, label_smoothing=0.01)),
        ("gradient_share", "cross_entropy", lambda z, k: F.cross_entropy(z, k) + z.square().mean()),
        ("wrong_gradient", "sigmoid_mse", lambda z, k: (z.sigmoid() - F.one_hot(k, z.shape[1])).square().mean()),
        ("mean_over_outputs", "sigmoid_mse", lambda z, k: (z.sigmoid() - F.one_hot(k, z.shape[1])).square().mean()),
        ("distance_and_argmax", "linear_mse", lambda z, k: (1 - z.gather(1, k[:, None])).square().mean()),
    ],
)
def test_a_check_fails_where_the_loss_is_wrong(check: str, loss: str, wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LOSSES", broken_loss(loss, wrong))
    assert getattr(checks, check)(3)["error"] > 1e-9


@pytest.mark.parametrize(
    ("check", "softmax"),
    [
        ("softmax_distribution", lambda z, dim: torch.softmax(z, dim) + 1e-6),
        ("softmax_ratio", lambda z, dim: torch.softmax(0.99 * z, dim)),
        ("softmax_scale", lambda z, dim: torch.softmax(-(z.abs()), dim) * (1 - z.abs().amax(dim, keepdim=True) / 20)),
        ("softmax_transcription", lambda z, dim: torch.softmax(2 * z, dim)),
    ],
)
def test_a_check_fails_where_softmax_is_wrong(check: str, softmax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "softmax", softmax)
    assert getattr(checks, check)(3)["error"] > 1e-9


def test_one_letter_for_two_things_makes_every_output_the_same() -> None:
    found = checks.softmax_transcription(3)
    assert found["counterexamples"] == found["draws"] == 200


@pytest.mark.parametrize("name", checks.LOSSES)
def test_the_closed_form_is_the_derivative_of_the_loss_as_written(name: str) -> None:
    """Against central differences of a loss written out in numpy."""
    z, labels = points()
    one_hot = np.eye(4)[labels]
    written = {
        "cross_entropy": lambda a: logsumexp(a, axis=1) - (one_hot * a).sum(1),
        "linear_mse": lambda a: ((a - one_hot) ** 2).sum(1),
        "sigmoid_mse": lambda a: ((1 / (1 + np.exp(-a)) - one_hot) ** 2).sum(1),
        "softmax_mse": lambda a: ((softmax(a, axis=1) - one_hot) ** 2).sum(1),
    }[name]
    a, step = z.numpy(), 1e-5
    slopes = [(written(a + step * e) - written(a - step * e)) / (2 * step) for e in np.eye(4)]
    assert checks.closed_form(name, z, labels).numpy() == pytest.approx(np.stack(slopes, 1), abs=1e-9)


def test_the_closed_form_survives_saturation() -> None:
    """σ(1 − σ) would be exactly 0 at z = 40, where the derivative is e^−40."""
    z = torch.tensor([[40.0, -40.0]], dtype=torch.float64)
    slope = checks.closed_form("sigmoid_mse", z, torch.tensor([1]))
    assert slope[0, 0].item() == pytest.approx(2 * math.exp(-40), rel=1e-12)


def test_a_sure_and_wrong_output_gets_a_gradient_from_cross_entropy_only() -> None:
    found = checks.wrong_gradient(3)
    assert found["cross_entropy_m20"] == pytest.approx(math.sqrt(2), rel=1e-6)
    # 2 σ′ on each of two outputs, σ′ = e^−20 there.
    assert found["sigmoid_mse_m20"] == pytest.approx(2 * math.sqrt(2) * math.exp(-20), rel=1e-6)
    assert found["softmax_mse_m20"] < 1e-7
    assert found["linear_mse_m20"] == pytest.approx(math.hypot(2 * 20, 2 * 21), rel=1e-12)


def test_overflow_of_the_form_as_written() -> None:
    found = checks.naive_overflow(3)
    assert found["error"] <= 1e-6
    assert 0 < found["counterexamples"] < found["draws"]
    assert found["naive_080"] == pytest.approx(80.0, rel=1e-6)
    assert not math.isfinite(found["naive_096"])
    assert found["stable_120"] == pytest.approx(120.0, rel=1e-6)


def test_the_mean_over_ten_outputs_is_a_tenth() -> None:
    found = checks.mean_over_outputs(3)
    assert found["counterexamples"] == found["draws"]


def test_share_of_the_gradient_beside_the_target() -> None:
    """By the derivative of the squared distance written out, on the draws of the seed."""
    found = checks.gradient_share(3)
    generator = torch.Generator().manual_seed(3)
    for classes in (2, 10, 100):
        z = torch.randn(200, classes, generator=generator, dtype=torch.float64).numpy()
        s = 1 / (1 + np.exp(-z))
        right = z.argmax(1)
        size = np.abs(2 * (s - np.eye(classes)[right]) * s * (1 - s))
        share = 1 - size[np.arange(200), right] / size.sum(1)
        assert found[f"mse_share_{classes:03d}"] == pytest.approx(share.mean(), rel=1e-12)
        assert found[f"mse_more_{classes:03d}"] == pytest.approx(share.mean() - 0.5, rel=1e-12)
