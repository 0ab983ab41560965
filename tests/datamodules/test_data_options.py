"""The options of every data module against their definitions, on made-up data and on every bundled data set."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import datamodules
from datamodules import Digits
from datamodules.base import InMemoryDataModule, Source
from datamodules.points import Moons
from datamodules.splits import stratified
from datamodules.synthetic import LeastSquares, MultiLabel


class Made(InMemoryDataModule):
    """A data set from two tensors; a feature of sample i is i plus the feature's number, counted in thousandths."""

    name = "made"

    def __init__(self, x=None, y=None, *, n: int = 60, shape=(4,), num_classes: int = 3, **options) -> None:
        sizes = {"num_train": 30, "num_val": 10, "num_test": 20}
        super().__init__(**{"batch_size": 5, "seed": 1000, "standardize": False} | sizes | options)
        self.sample_shape = shape
        self.num_classes = num_classes
        size = int(np.prod(shape))
        x = torch.arange(n).unsqueeze(1) + torch.arange(size) / 1000 if x is None else x
        self.source = Source(x.reshape(-1, *shape), torch.arange(len(x)) % num_classes if y is None else y)

    def load(self) -> Source:
        return self.source

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()


def ready(module: InMemoryDataModule) -> InMemoryDataModule:
    module.setup()
    return module


def parts(module: InMemoryDataModule):
    return module.train, module.val, module.test


# Stratified split


@st.composite
def labels_and_sizes(draw):
    """Labels of up to 6 classes, some of them rare or absent, and three parts that need not use all samples."""
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 20))
    num_val, num_test = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    num_train = draw(st.integers(len(sizes), sum(sizes) - num_val - num_test))
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    return labels, {"num_train": num_train, "num_val": num_val, "num_test": num_test}


@settings(max_examples=80)
@given(case=labels_and_sizes(), seed=st.integers(0, 10**6))
def test_stratified_parts_hold_every_class_in_proportion(case, seed):
    labels, sizes = case
    x, num_classes = torch.zeros(len(labels), 1), int(labels.max()) + 1
    module = ready(
        Made(x, labels, shape=(1,), num_classes=num_classes, seed=seed, stratify=True, batch_size=1, **sizes)
    )
    shares = labels.bincount() / len(labels)
    # The training split begins where the validation split ends, and both ends are rounded.
    for (_, y), rounding in zip(parts(module), (2, 1, 1), strict=True):
        assert (y.bincount(minlength=num_classes) - len(y) * shares).abs().max() < rounding
    rows = torch.cat(list(module.indices))
    assert len(set(rows.tolist())) == len(rows)


@settings(max_examples=80)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_every_beginning_and_end_of_a_stratified_order_is_in_proportion(labels, random):
    order = random.sample(range(len(labels)), len(labels))
    labels = torch.tensor(labels)
    result = stratified(torch.tensor(order), labels)
    assert sorted(result.tolist()) == list(range(len(labels)))
    members = torch.nn.functional.one_hot(labels[result]).double()
    ideal = torch.arange(1, len(labels) + 1).unsqueeze(1) * members.mean(0)
    assert (members.cumsum(0) - ideal).abs().max() < 1  # what is missing at the front is too much at the end
    for label in range(8):
        assert [row for row in order if labels[row] == label] == result[labels[result] == label].tolist()


def test_equal_parts_of_equal_classes_are_equal():
    module = ready(Made(n=600, stratify=True, num_train=300, num_val=120, num_test=180))
    assert [y.bincount().tolist() for _, y in parts(module)] == [[100] * 3, [40] * 3, [60] * 3]
    plain = ready(Made(n=600, num_train=300, num_val=120, num_test=180))
    assert any(len(set(y.bincount().tolist())) > 1 for _, y in parts(plain))


def test_real_digits_are_stratified():
    module = ready(Digits(batch_size=64, seed=1000, stratify=True))
    shares = module.load().y.bincount() / 1797
    for (_, y), rounding in zip(parts(module), (2, 1, 1), strict=True):
        assert (y.bincount() - len(y) * shares).abs().max() < rounding


# Subsets


@settings(max_examples=30)
@given(
    small=st.integers(3, 20),
    more=st.integers(0, 10),
    stratify=st.booleans(),
    noise=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_a_larger_training_split_begins_with_the_smaller_and_moves_nothing_else(small, more, stratify, noise, seed):
    options = {"stratify": stratify, "label_noise": noise, "seed": seed, "batch_size": 1}
    one, other = (ready(Made(num_train=n, **options)) for n in (small, small + more))
    for a, b in zip(one.train, other.train, strict=True):
        assert torch.equal(a, b[:small])
    for a, b in zip((*one.val, *one.test), (*other.val, *other.test), strict=True):
        assert torch.equal(a, b)


def test_a_larger_test_sample_holds_the_smaller_and_moves_nothing_else():
    one, other = ready(Made(num_test=5)), ready(Made(num_test=20))
    assert torch.equal(one.test[0], other.test[0][-5:])
    assert torch.equal(one.train[0], other.train[0])
    assert torch.equal(one.val[0], other.val[0])


# Classes whose default parts coincide on purpose are asked for disjoint ones.
DISJOINT = {"Boolean": {"noise": 0.3}}
CLASSES = [getattr(datamodules, name) for name in datamodules.__all__]
BUNDLED = [cls for cls in CLASSES if getattr(cls, "info", None) is not None and not cls.info.download]


def test_some_data_sets_need_no_download():
    assert Digits in BUNDLED


@pytest.mark.parametrize("cls", BUNDLED, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("seed", [0, 1000])
def test_bundled_data_are_ready_whole_disjoint_and_repeatable(cls, seed):
    module, again = (ready(cls(batch_size="full", seed=seed, **DISJOINT.get(cls.__name__, {}))) for _ in range(2))
    rows = torch.cat(list(module.indices))
    assert len(set(rows.tolist())) == len(rows) == module.num_train + module.num_val + module.num_test
    assert 0 <= rows.min() <= rows.max() < len(module.load().x)
    for (x, y), (x_again, y_again) in zip(parts(module), parts(again), strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)
        assert x.shape == (len(y), *module.sample_shape)
        assert x.dtype == torch.float32
        if cls.info.outputs == "classes":
            assert (y.dtype, y.shape) == (torch.int64, (len(x),))
            assert 0 <= y.min() <= y.max() < module.num_classes
        else:
            assert (y.dtype, y.shape) == (torch.float32, (len(x), module.num_classes))
    assert module.sha256 == again.sha256
    assert module.num_disjoint_tests >= 1


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_constructors_hand_the_shared_options_on(cls):
    with pytest.raises(TypeError, match="unexpected keyword argument 'shuffel'"):
        cls(batch_size=1, seed=0, shuffel=True)
    assert all(p.kind is not p.POSITIONAL_OR_KEYWORD for p in list(inspect.signature(cls).parameters.values()))


# Standardisation


@pytest.mark.parametrize("stratify", [False, True])
def test_statistics_come_from_the_training_split_only(stratify):
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    first = ready(Made(x, standardize=True, stratify=stratify))
    moved = x.clone()
    moved[torch.cat([first.indices.val, first.indices.test])] += 1e4
    second = ready(Made(moved, standardize=True, stratify=stratify))
    assert torch.equal(first.train[0], second.train[0])
    assert second.val[0].min() > 1000
    torch.testing.assert_close(first.train[0].mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(first.train[0].std(0, correction=0), torch.ones(4), atol=1e-6, rtol=0)


def test_duplicates_and_permutation_leave_the_statistics_alone():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 100, 1000])
    plain = ready(Made(x, standardize=True))
    assert torch.equal(ready(Made(x, standardize=True, duplicates=2)).test[0], plain.test[0])
    permuted = ready(Made(x, standardize=True, permute=True))
    assert torch.equal(permuted.test[0].sort().values, plain.test[0].sort().values)


# Label noise


def noisy(label_noise: float, seed: int = 1000, **options) -> Made:
    sizes = {"num_train": 20_000, "num_val": 500, "num_test": 500}
    return ready(Made(n=21_000, shape=(1,), num_classes=5, seed=seed, label_noise=label_noise, **sizes, **options))


@pytest.mark.parametrize("label_noise", [0.1, 0.5, 1.0])
def test_the_share_of_changed_labels_is_the_one_asked_for(label_noise):
    clean, changed = noisy(0.0).train[1], noisy(label_noise).train[1]
    # A replaced label is the old one again once in five times; five standard deviations of a share of 20,000.
    expected = label_noise * 4 / 5
    share = (clean != changed).double().mean().item()
    assert abs(share - expected) < 5 * (expected * (1 - expected) / 20_000) ** 0.5
    for old in range(5):
        drawn = changed[(clean == old) & (changed != old)].bincount(minlength=5)
        others = drawn[drawn > 0]
        assert len(others) == 4
        assert (others / others.sum() - 1 / 4).abs().max() < 5 * (3 / 16 / others.sum()) ** 0.5


def test_no_noise_changes_nothing_and_full_noise_forgets_the_label():
    module = Made(label_noise=0.0, duplicates=0)
    module.setup()
    assert torch.equal(module.train[1], module.load().y[module.indices.train])
    clean, forgotten = noisy(0.0).train[1], noisy(1.0).train[1]
    table = torch.zeros(5, 5).index_put_((clean, forgotten), torch.ones(20_000), accumulate=True)
    assert (table / 20_000 - 1 / 25).abs().max() < 5 * (24 / 625 / 20_000) ** 0.5


def test_more_noise_changes_the_same_labels_and_some_more():
    clean, some, more, all_ = (noisy(share).train[1] for share in (0.0, 0.2, 0.6, 1.0))
    changed = some != clean
    assert torch.equal(some[changed], more[changed])
    assert (more != clean).sum() > changed.sum() > 0
    again = more != clean
    assert torch.equal(more[again], all_[again])


def test_label_noise_leaves_inputs_and_other_parts_alone_and_differs_by_seed():
    clean, changed, other = noisy(0.0), noisy(0.5), noisy(0.5, seed=1001)
    assert torch.equal(clean.train[0], changed.train[0])
    for a, b in zip((*clean.val, *clean.test), (*changed.val, *changed.test), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(noisy(0.0).train[1] != changed.train[1], noisy(0.0, seed=1001).train[1] != other.train[1])


@pytest.mark.parametrize("cls", [LeastSquares, MultiLabel])
@pytest.mark.parametrize("options", [{"label_noise": 0.1}, {"stratify": True}])
def test_options_about_labels_need_labels(cls, options):
    (option,) = options
    with pytest.raises(ValueError, match=f"^{option} needs one label a sample, which {cls.__name__} does not have$"):
        cls(batch_size=10, seed=0, **options).setup()


# Duplicates


@settings(max_examples=20)
@given(duplicates=st.integers(0, 4), noise=st.sampled_from([0.0, 0.5]), shape=st.sampled_from([(3,), (2, 2, 2)]))
def test_every_training_sample_is_there_as_often_as_asked_for(duplicates, noise, shape):
    plain = ready(Made(shape=shape, label_noise=noise))
    module = ready(Made(shape=shape, duplicates=duplicates, label_noise=noise, batch_size="full"))
    assert module.train[0].shape == (30 * (1 + duplicates), *shape)
    samples, counts = module.train[0].unique(dim=0, return_counts=True)
    assert len(samples) == 30
    assert set(counts.tolist()) == {1 + duplicates}
    label = {row.numpy().tobytes(): int(y) for row, y in zip(*plain.train, strict=True)}
    assert all(label[row.numpy().tobytes()] == int(y) for row, y in zip(*module.train, strict=True))
    for a, b in zip((*plain.val, *plain.test), (*module.val, *module.test), strict=True):
        assert torch.equal(a, b)
    ((x, _),) = module.train_dataloader()
    assert len(x) == 30 * (1 + duplicates)


def test_columns_of_targets_are_duplicated_as_well():
    module = ready(LeastSquares(batch_size=7, seed=0, num_train=10, duplicates=1))
    assert torch.equal(module.train[1][:10], module.train[1][10:])
    assert module.train[1].shape == (20, 1)


# Permutation


@settings(max_examples=30)
@given(
    shape=st.sampled_from([(1,), (6,), (1, 4, 5), (3, 4, 5), (2, 7)]),
    seed=st.integers(0, 10**6),
)
def test_a_permutation_rearranges_all_samples_and_channels_alike(shape, seed):
    plain, permuted = (ready(Made(shape=shape, seed=seed, permute=permute)) for permute in (False, True))
    channels = shape[0] if len(shape) > 1 else 1
    before, after = (torch.cat([x for x, _ in parts(module)]).reshape(60, channels, -1) for module in (plain, permuted))
    # Found from one sample's first channel, whose values differ: it must explain all samples and channels.
    source = {value: place for place, value in enumerate(before[0, 0].tolist())}
    places = [source[value] for value in after[0, 0].tolist()]
    assert sorted(places) == list(range(before.shape[2]))
    assert torch.equal(before[:, :, places], after)
    assert torch.equal(after[:, :, np.argsort(places)], before)
    assert permuted.train[0].shape[1:] == shape


def test_permutations_differ_by_seed_and_move_most_pixels():
    rows = [ready(Made(n=60, shape=(1, 8, 8), seed=seed, permute=True)).train[0] % 1 for seed in range(5)]
    orders = {tuple((sample[0].flatten() * 1000).round().long().tolist()) for sample in rows}
    assert len(orders) == 5
    for order in orders:
        assert sum(place == value for place, value in enumerate(order)) < 10


# Batch sizes


@pytest.mark.parametrize("duplicates", [0, 2])
def test_a_full_batch_is_the_whole_training_split(duplicates):
    module = ready(Made(batch_size="full", duplicates=duplicates))
    assert module.batch_size == 30 * (1 + duplicates)
    ((x, y),) = module.train_dataloader()
    assert len(x) == len(y) == 30 * (1 + duplicates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 31}, "batch_size must be <= num_train = 30, not 31"),
        (
            {"batch_size": 61, "duplicates": 1},
            r"batch_size must be <= num_train \* \(1 \+ duplicates\) = 60, not 61",
        ),
        ({"batch_size": "half"}, "batch_size must be >= 1 or 'full', not half"),
    ],
)
def test_a_batch_that_cannot_be_filled_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Made(**options)


def test_batch_size_and_duplicates_move_no_draw():
    for a, b in zip(Moons(batch_size=1, seed=3).load().x, Moons(batch_size="full", seed=3).load().x, strict=True):
        assert torch.equal(a, b)


# Bad data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_a_value_that_is_no_number_is_an_error_that_names_the_sample(value, part, where):
    row = int(getattr(ready(Made()).indices, part)[3])
    x, y = torch.ones(60, 4), torch.ones(60, 2)
    (x if where == "inputs" else y)[row, 1] = value
    with pytest.raises(ValueError, match=f"^Made: sample {row} has a value that is not finite$"):
        Made(x, y).setup()


def test_a_broken_sample_that_is_not_used_is_no_error():
    x = torch.ones(60, 4)
    module = Made(x, num_train=10)
    x[sorted(set(range(60)) - set(torch.cat(list(module.split())).tolist()))] = float("nan")
    module.setup()


def test_fewer_samples_than_classes_are_an_error_with_both_numbers():
    with pytest.raises(ValueError, match=r"^num_train must be >= 10, the number of classes of Digits, not 9$"):
        Digits(batch_size=1, seed=0, num_train=9).setup()
    Digits(batch_size=1, seed=0, num_train=10).setup()
    # Columns of targets are no classes: one sample teaches something about each.
    MultiLabel(batch_size=1, seed=0, num_train=2).setup()
