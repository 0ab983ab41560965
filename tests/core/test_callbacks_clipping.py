"""GradientClipping: bit-equal to the Trainer's, and honest about what it did."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from heard import rows_of

from experiments.core.callbacks import GradientClipping


def weights(module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def gradient_norms(module, x, y, size: int) -> list[float]:
    """Euclidean norm of the mean loss's gradient of each batch."""
    norms = []
    for a, b in zip(x.split(size), y.split(size), strict=True):
        gradients = torch.autograd.grad(F.cross_entropy(module(a), b), list(module.parameters()))
        norms.append(sum((g**2).sum() for g in gradients).sqrt().item())
    return norms


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adam", "lr": 1e-2}])
def test_bit_equal_to_the_trainers_clipping(network, samples, train, batches, optimizer):
    # 60 samples: the last batch is partial, and with two batches a step the last step has one.
    ours, lightnings, free = (network(**optimizer) for _ in range(3))
    options = {"max_epochs": 3, "accumulate_grad_batches": batches}
    train(ours, samples(60), GradientClipping(max_norm=0.05), **options)
    train(lightnings, samples(60), gradient_clip_val=0.05, **options)
    train(free, samples(60), **options)
    assert all(torch.equal(a, b) for a, b in zip(weights(ours), weights(lightnings), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(ours), weights(free), strict=True))


def test_norm_before_and_after(network, samples, train):
    module, data = network(lr=1e-12), samples(40)
    before = gradient_norms(copy.deepcopy(module), *data, size=8)
    limit = sorted(before)[2]
    rows = rows_of(train(module, data, GradientClipping(max_norm=limit, every_n_steps=1)))
    found = [row.value for row in rows if row.name == "gradient/norm_before"]
    after = [row.value for row in rows if row.name == "gradient/norm_after"]
    assert found == pytest.approx(before, rel=1e-9)
    # torch divides by the norm + 1e-6.
    assert after == pytest.approx([min(norm, limit) for norm in before], rel=1e-4)
    assert max(after) <= limit


def test_share_of_clipped_steps_over_all_steps_so_far(network, samples, train):
    module, data = network(lr=1e-12), samples(40)
    before = gradient_norms(copy.deepcopy(module), *data, size=8)
    limit = (sorted(before)[2] + sorted(before)[3]) / 2  # two of five are above
    rows = rows_of(train(module, data, GradientClipping(max_norm=limit, every_n_steps=100), max_epochs=2))
    shares = [(row.epoch, row.value) for row in rows if row.name == "gradient/clipped_share"]
    assert shares == [(0, pytest.approx(0.4)), (1, pytest.approx(0.4))]


def test_only_recorded_steps_have_norms(network, samples, train):
    rows = rows_of(train(network(), samples(64), GradientClipping(max_norm=1.0, every_n_steps=3)))
    assert [row.step for row in rows if row.name == "gradient/norm_before"] == [0, 3, 6]


def test_refused_together_with_the_trainers(network, samples, train):
    with pytest.raises(ValueError, match="both clip the gradient: give one of them"):
        train(network(), samples(8), GradientClipping(max_norm=1.0), gradient_clip_val=1.0)


@pytest.mark.parametrize("max_norm", [0, -1.0, float("nan")])
def test_a_norm_must_be_positive(max_norm):
    with pytest.raises(ValueError, match="max_norm must be greater than 0; it is"):
        GradientClipping(max_norm=max_norm)
