"""The loader against the definition of an epoch: every sample once, in an order of (seed, epoch) alone."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules import stack
from datamodules.loader import TensorLoader, generator
from datamodules.stack import StackedLoader


def make(n: int = 10, batch_size: int = 3, seed: int = 1000, shuffle: bool = True) -> TensorLoader:
    x = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    return TensorLoader((x, torch.arange(n)), batch_size=batch_size, seed=seed, shuffle=shuffle)


def samples(loader: TensorLoader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [i for batch in batches for i in batch]


def test_streams_are_pinned_for_ever():
    # random.Random("1000/split").getrandbits(63) in Python 3.11; another value would move every result ever reported.
    assert generator(1000, "split").initial_seed() == 8136978655771761660


def test_seeds_and_purposes_have_streams_of_their_own():
    first = {
        (seed, purpose): torch.rand(1, generator=generator(seed, purpose)).item()
        for seed in range(1000, 1030)
        for purpose in ("split", "test", "order/0", "order/1", "order/10")
    }
    assert len(set(first.values())) == len(first)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 99))
def test_an_epoch_holds_every_sample_once(n, batch_size, seed, epoch):
    loader = make(n, batch_size, seed)
    loader.set_epoch(epoch)
    batches = samples(loader)
    assert sorted(flat(batches)) == list(range(n))
    assert len(batches) == len(loader)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


def test_inputs_and_targets_stay_together():
    for x, y in make():
        assert torch.equal(x[:, 0].long(), y)


def test_order_depends_on_seed_and_epoch_only():
    orders = {(seed, epoch): tuple(make(50, seed=seed).order(epoch).tolist()) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(set(orders.values())) == 6
    loader = make(50, batch_size=7, seed=1)
    torch.manual_seed(5)
    loader.set_epoch(2)
    list(loader)
    assert tuple(flat(samples(loader))) == orders[1, 2]


def test_the_first_epoch_is_shuffled():
    assert flat(samples(make(50))) != list(range(50))


def test_without_shuffling_samples_come_as_they_lie():
    loader = make(shuffle=False)
    loader.set_epoch(4)
    assert samples(loader) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_global_generators_are_left_alone():
    torch.manual_seed(0)
    random.seed(0)
    expected = torch.rand(1), random.random()
    torch.manual_seed(0)
    random.seed(0)
    loader = make()
    loader.set_epoch(3)
    list(loader)
    assert (torch.rand(1), random.random()) == expected


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_changed_in_place_leaves_the_data_alone(shuffle):
    loader = make(shuffle=shuffle)
    for x, _ in loader:
        x.add_(100)
    assert loader.tensors[0].max() == 9


@given(n=st.integers(1, 30), batch_size=st.integers(1, 12), epoch=st.integers(0, 5), data=st.data())
def test_resume_continues_after_the_last_batch(n, batch_size, epoch, data):
    whole = make(n, batch_size)
    whole.set_epoch(epoch)
    expected = samples(whole)
    stop = data.draw(st.integers(0, len(whole)))

    interrupted = make(n, batch_size)
    interrupted.set_epoch(epoch)
    iterator = iter(interrupted)
    before = [next(iterator)[1].tolist() for _ in range(stop)]
    state = interrupted.state_dict()

    resumed = make(n, batch_size)
    resumed.load_state_dict(state)
    iterator = iter(resumed)
    resumed.set_epoch(epoch)  # in Lightning's order
    after = [y.tolist() for _, y in iterator]
    assert before + after == expected
    assert resumed.state_dict() == {"epoch": epoch, "position": len(whole)}
    assert samples(resumed) == expected  # a second pass begins anew


def test_the_epoch_after_a_resumed_one_is_whole():
    loader = make()
    loader.load_state_dict({"epoch": 2, "position": 3})
    loader.set_epoch(3)
    assert loader.state_dict() == {"epoch": 3, "position": 0}
    assert flat(samples(loader)) == make().order(3).tolist()


def test_an_abandoned_pass_does_not_shorten_the_next():
    loader = make()
    next(iter(loader))
    assert len(samples(loader)) == 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make(batch_size=0), "batch_size must be >= 1, not 0"),
        (lambda: TensorLoader((torch.ones(3), torch.ones(4)), batch_size=1, seed=0), r"same length, not \[3, 4\]"),
        (lambda: make().load_state_dict({"epoch": 0, "position": 5}), "after batch 5: an epoch has 4 batches"),
    ],
)
def test_bad_input_is_one_clear_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("most_copied", [0, 2**28], ids=["apart", "side by side"])
@pytest.mark.parametrize("augmented", [False, True], ids=["as they are", "augmented"])
def test_a_stack_reads_what_each_loader_reads(monkeypatch, most_copied, augmented):
    monkeypatch.setattr(stack, "MOST_COPIED", most_copied)

    def loaders() -> list[TensorLoader]:
        made = [make(seed=seed) for seed in (1000, 1001, 1002)]
        for k, loader in enumerate(made):
            # Samples of its own, of three axes.
            loader.tensors = (torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(k)), loader.tensors[1])
            loader.inputs = (lambda rows, epoch, x=loader.tensors[0]: x[rows] + epoch) if augmented else None
        return made

    together, alone = StackedLoader(loaders()), loaders()
    for epoch in (0, 1):
        for loader in (together, *alone):
            loader.set_epoch(epoch)
        batches = list(together)
        assert [len(y[0]) for _, y in batches] == [3, 3, 3, 1]
        for k, loader in enumerate(alone):
            for (x, y), (own_x, own_y) in zip(batches, loader, strict=True):
                assert torch.equal(x[k], own_x)
                assert torch.equal(y[k], own_y)
