"""The digits against scikit-learn's own arrays."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from datamodules import Digits

SEEDS = (0, 1000, 1001, 2**32 - 1)


def ready(seed: int = 1000, batch_size: int = 64, **arguments) -> Digits:
    module = Digits(batch_size=batch_size, seed=seed, **arguments)
    module.setup()
    return module


@pytest.mark.parametrize("seed", SEEDS)
def test_every_sample_is_scikit_learns(seed):
    x, y = load_digits(return_X_y=True)
    module = ready(seed, standardize=False)
    for (inputs, targets), rows in zip((module.train, module.val, module.test), module.indices, strict=True):
        assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
        assert inputs.shape == (len(rows), *module.sample_shape) == (len(rows), 1, 8, 8)
        np.testing.assert_array_equal(inputs.flatten(1) * 16, x[rows])
        np.testing.assert_array_equal(targets, y[rows])


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_never_overlap(seed):
    rows = torch.cat(list(Digits(batch_size=64, seed=seed).split()))
    assert sorted(rows.tolist()) == list(range(1797))
    train, val, test = Digits(batch_size=8, seed=seed, num_train=100, num_val=50, num_test=30).split()
    assert (len(train), len(val), len(test)) == (100, 50, 30)
    assert len(set(torch.cat([train, val, test]).tolist())) == 180


def test_one_mean_and_deviation_for_all_pixels_of_the_training_split():
    x, _ = load_digits(return_X_y=True)
    module = ready()
    train = x[module.indices.train] / 16
    for (inputs, _), rows in zip((module.train, module.val, module.test), module.indices, strict=True):
        np.testing.assert_allclose(inputs.flatten(1), (x[rows] / 16 - train.mean()) / train.std(), atol=1e-6)


def test_same_seed_same_bytes():
    a, b = ready(), ready()
    for one, other in zip((a.train, a.val, a.test), (b.train, b.val, b.test), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_another_seed_is_another_split():
    one, other = ready(1000).indices, ready(1001).indices
    for a, b in zip(one, other, strict=True):
        assert sorted(a.tolist()) != sorted(b.tolist())
    assert set(one.test.tolist()) & set(other.test.tolist())  # hence disjoint_test is false


@pytest.mark.parametrize("change", [{"batch_size": 7}, {"standardize": False}])
def test_what_is_not_about_the_split_does_not_move_it(change):
    for a, b in zip(ready().indices, ready(**change).indices, strict=True):
        assert torch.equal(a, b)


def test_a_size_moves_no_other_part():
    small, large = (ready(num_train=n, num_val=100, num_test=200).indices for n in (100, 1000))
    assert torch.equal(small.train, large.train[:100])
    assert torch.equal(small.val, large.val)
    assert torch.equal(small.test, large.test)
    fewer_tests = ready(num_train=100, num_val=100, num_test=50).indices
    assert torch.equal(fewer_tests.train, small.train)
    assert set(fewer_tests.test.tolist()) < set(small.test.tolist())


def test_digest_is_the_same_for_every_split_and_pinned():
    # Of the 1,797 digits as scikit-learn 1.9 bundles them; the UCI data they come from date from 1998.
    assert ready(1000).sha256 == ready(1001).sha256 == PINNED


PINNED = "229b8cb08bd65095983d42a1236d0089d3e549a7763457e149cec6b44ada6a8a"
