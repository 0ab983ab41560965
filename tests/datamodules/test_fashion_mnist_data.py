"""Fashion-MNIST against arrays decoded and pooled by hand: small files always, the real ones where they are."""

import gzip

import numpy as np
import pytest
import torch

from datamodules import FashionMNIST, images
from datamodules.sources import FASHION_MNIST

# Small enough for ten disjoint test samples in both.
SIZES = {"small": {"num_train": 50, "num_val": 20, "num_test": 4}, "debian": {}}
GENUINE = pytest.mark.skipif(not FASHION_MNIST.system.is_dir(), reason="the files of Debian's package are not here")
KINDS = ["small", pytest.param("debian", marks=[pytest.mark.genuine, GENUINE])]


def decoded(folder, name: str, header: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes())[header:], dtype=np.uint8)


@pytest.fixture(params=KINDS)
def build(request, small_idx):
    """Return how to build the data module, on small files or on the real ones."""

    class Small(FashionMNIST):
        source = small_idx.source

    if request.param == "small":
        small_idx.write(small_idx.source.system)
    kind = Small if request.param == "small" else FashionMNIST
    return lambda seed=1000, **arguments: kind(**{"batch_size": 16, "seed": seed} | SIZES[request.param] | arguments)


@pytest.fixture
def truth(build):
    """Return all images (n, 28, 28) and labels, training files first, decoded without the code under test."""
    folder = build().source.system
    pixels = np.concatenate([decoded(folder, f"{part}-images-idx3-ubyte", 16) for part in ("train", "t10k")])
    labels = np.concatenate([decoded(folder, f"{part}-labels-idx1-ubyte", 8) for part in ("train", "t10k")])
    return pixels.reshape(-1, 28, 28), labels


def pooled_by_hand(pixels: np.ndarray) -> np.ndarray:
    blocks = pixels.astype(np.float64)
    total = blocks[:, ::2, ::2] + blocks[:, 1::2, ::2] + blocks[:, ::2, 1::2] + blocks[:, 1::2, 1::2]
    return (total / 4).reshape(len(pixels), 196)


@pytest.mark.parametrize("size", [14, 28])
@pytest.mark.parametrize("seed", [1000, 1007])
def test_every_sample_is_the_files_own(build, truth, size, seed):
    pixels, labels = truth
    module = build(seed, size=size, standardize=False)
    assert module.num_features == size * size
    module.setup()
    for (x, y), rows in zip((module.train, module.val, module.test), module.indices, strict=True):
        expected = pooled_by_hand(pixels[rows]) if size == 14 else pixels[rows].reshape(len(rows), 784)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert x.shape == (len(rows), *module.sample_shape) == (len(rows), 1, size, size)
        np.testing.assert_allclose(x.flatten(1), expected / 255, atol=1e-7)
        np.testing.assert_array_equal(y, labels[rows])


def test_one_mean_and_deviation_for_all_pixels_of_the_training_split(build, truth):
    module = build()
    module.setup()
    parts = [pooled_by_hand(truth[0][rows]) / 255 for rows in module.indices]
    for (x, _), expected in zip((module.train, module.val, module.test), parts, strict=True):
        np.testing.assert_allclose(x.flatten(1), (expected - parts[0].mean()) / parts[0].std(), atol=1e-6)


def test_ten_seeds_have_disjoint_test_samples_from_the_test_files(build):
    modules = [build(seed) for seed in range(1000, 1010)]
    assert all(module.disjoint_test for module in modules)
    rows = torch.cat([module.split().test for module in modules])
    assert len(set(rows.tolist())) == len(rows) == 10 * modules[0].num_test
    source = modules[0].source
    assert source.num_train <= rows.min() <= rows.max() < source.num_train + source.num_test
    # One block in file order would be too: the labels of a sorted file are not a sample.
    assert not torch.equal(rows, rows.sort().values)


def test_more_seeds_than_blocks_share_a_block(build):
    module = build(1000)
    again = build(1000 + module.num_disjoint_tests)
    assert torch.equal(module.split().test, again.split().test)
    half = build(num_test=module.source.num_test // 2)
    assert (half.num_disjoint_tests, half.disjoint_test) == (2, False)


@pytest.mark.parametrize("seed", [0, 1000, 1001])
def test_training_and_validation_are_disjoint_draws_from_the_training_files(build, seed):
    module = build(seed)
    train, val, _ = module.split()
    rows = torch.cat([train, val])
    assert len(set(rows.tolist())) == module.num_train + module.num_val
    assert rows.max() < module.source.num_train
    everything = build(num_train=module.source.num_train - module.num_val).split()
    assert len(set(torch.cat([everything.train, everything.val]).tolist())) == module.source.num_train


def test_same_seed_same_bytes_and_another_seed_another_split(build):
    a, b, other = build(1000), build(1000), build(1001)
    for module in (a, b, other):
        module.setup()
    for one, two, three in zip(
        (a.train, a.val, a.test), (b.train, b.val, b.test), (other.train, other.val, other.test), strict=True
    ):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
        assert not torch.equal(one[0], three[0])


@pytest.mark.parametrize("change", [{"size": 28}, {"batch_size": 3}, {"standardize": False}])
def test_what_is_not_about_the_split_does_not_move_it(build, change):
    for a, b in zip(build().split(), build(**change).split(), strict=True):
        assert torch.equal(a, b)


def test_a_larger_training_split_contains_the_smaller(build):
    small, large = build(num_train=16).split(), build().split()
    assert torch.equal(small.train, large.train[:16])
    assert torch.equal(small.val, large.val)
    assert torch.equal(small.test, large.test)


def test_files_are_read_once(build):
    images._load.cache_clear()
    assert build(1000).load() is build(1001).load()
    assert build(1000).sha256 == build(1001, size=28).sha256


def test_it_trains_under_a_trainer(build, recorder, make_trainer):
    module = build()
    network = recorder(module.num_features)
    make_trainer(max_epochs=1).fit(network, module)
    assert sum(len(rows) for _, rows in network.seen) == module.num_train


def test_the_root_given_is_read(small_idx, tmp_path):
    class Small(FashionMNIST):
        source = small_idx.source

    small_idx.write(tmp_path / "mine" / "FashionMNIST" / "raw", compressed=False)
    module = Small(batch_size=4, seed=0, num_train=8, num_val=4, num_test=4, root=str(tmp_path / "mine"))
    np.testing.assert_array_equal(module.load().y[:120], small_idx.arrays["train-labels-idx1-ubyte"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 20}, "size must be 14 or 28, not 20"),
        (
            {"num_train": 59_001},
            r"num_train \+ num_val must be <= 60000, the training images there are, not 60001",
        ),
        ({"num_test": 10_001}, "num_test must be <= 10000, the test images there are, not 10001"),
        ({"num_val": 0}, "num_val must be >= 1, not 0"),
        ({"batch_size": 5001}, "batch_size must be <= num_train = 5000, not 5001"),
    ],
)
def test_bad_sizes_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        FashionMNIST(**{"batch_size": 64, "seed": 1000} | arguments)
