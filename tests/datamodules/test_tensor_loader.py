"""The loader against the definition of an epoch: every sample once, in an order of (seed, epoch) alone."""

import random
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.loader import Order, OrderedLoader, Samples, generator, ordered_loader
from datamodules.stack import StackedData


def make(n: int = 10, batch_size: int = 3, seed: int = 1000, shuffle: bool = True) -> OrderedLoader:
    x = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    return ordered_loader(Samples((x, torch.arange(n))), Order(n, batch_size=batch_size, seed=seed, shuffle=shuffle))


def samples(loader: OrderedLoader) -> list[list[int]]:
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
    loader.order.set_epoch(epoch)
    batches = samples(loader)
    assert sorted(flat(batches)) == list(range(n))
    assert len(batches) == len(loader)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


def test_inputs_and_targets_stay_together():
    for x, y in make():
        assert torch.equal(x[:, 0].long(), y)


def test_order_depends_on_seed_and_epoch_only():
    orders = {
        (seed, epoch): tuple(make(50, seed=seed).order.rows(epoch).tolist()) for seed in (0, 1) for epoch in (0, 1, 2)
    }
    assert len(set(orders.values())) == 6
    loader = make(50, batch_size=7, seed=1)
    torch.manual_seed(5)
    loader.order.set_epoch(2)
    list(loader)
    assert tuple(flat(samples(loader))) == orders[1, 2]


def test_the_first_epoch_is_shuffled():
    assert flat(samples(make(50))) != list(range(50))


def test_without_shuffling_samples_come_as_they_lie():
    loader = make(shuffle=False)
    loader.order.set_epoch(4)
    assert samples(loader) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_global_generators_are_left_alone():
    torch.manual_seed(0)
    random.seed(0)
    expected = torch.rand(1), random.random()
    torch.manual_seed(0)
    random.seed(0)
    loader = make()
    loader.order.set_epoch(3)
    list(loader)
    assert (torch.rand(1), random.random()) == expected


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_changed_in_place_leaves_the_data_alone(shuffle):
    loader = make(shuffle=shuffle)
    for x, _ in loader:
        x.add_(100)
    assert loader.samples.tensors[0].max() == 9


@given(n=st.integers(1, 30), batch_size=st.integers(1, 12), epoch=st.integers(0, 5), data=st.data())
def test_resume_continues_after_the_last_batch(n, batch_size, epoch, data):
    whole = make(n, batch_size)
    whole.order.set_epoch(epoch)
    expected = samples(whole)
    stop = data.draw(st.integers(0, len(whole)))

    interrupted = make(n, batch_size)
    interrupted.order.set_epoch(epoch)
    iterator = iter(interrupted)
    before = [next(iterator)[1].tolist() for _ in range(stop)]
    state = interrupted.state_dict()

    resumed = make(n, batch_size)
    resumed.load_state_dict(state)
    iterator = iter(resumed)
    resumed.order.set_epoch(epoch)  # in Lightning's order
    after = [y.tolist() for _, y in iterator]
    assert before + after == expected
    assert resumed.state_dict() == {"epoch": epoch, "position": len(whole)}
    assert samples(resumed) == expected  # a second pass begins anew


def test_the_epoch_after_a_resumed_one_is_whole():
    loader = make()
    loader.load_state_dict({"epoch": 2, "position": 3})
    loader.order.set_epoch(3)
    assert loader.state_dict() == {"epoch": 3, "position": 0}
    assert flat(samples(loader)) == make().order.rows(3).tolist()


def test_an_abandoned_pass_does_not_shorten_the_next():
    loader = make()
    next(iter(loader))
    assert len(samples(loader)) == 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make(batch_size=0), "batch_size must be >= 1, not 0"),
        (lambda: Samples((torch.ones(3), torch.ones(4))), r"same length, not \[3, 4\]"),
        (lambda: make().load_state_dict({"epoch": 0, "position": 5}), "after batch 5: an epoch has 4 batches"),
    ],
)
def test_bad_input_is_one_clear_line(build, message):
    with pytest.raises(ValueError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


class Parts:
    """What a stack asks of a data module."""

    hparams: ClassVar[dict[str, Any]] = {"batch_size": 3}
    scaled_inputs = None

    def __init__(self, seed: int, augmented: bool, n: int = 10) -> None:
        # Samples of its own, of three axes.
        self.x = torch.rand(n, 2, 3, generator=torch.Generator().manual_seed(seed))
        self.y = torch.arange(n)
        self.seed, self.augmented = seed, augmented

    def train_dataloader(self) -> OrderedLoader:
        whole, targets = Samples((self.x, self.y)), Samples((self.y,), lambda rows, epoch: self.x[rows] + epoch)
        return ordered_loader(targets if self.augmented else whole, Order(len(self.y), batch_size=3, seed=self.seed))


@pytest.mark.parametrize("augmented", [False, True], ids=["as they are", "augmented"])
def test_a_stack_reads_what_each_loader_reads(augmented):
    seeds = (1000, 1001, 1002)
    together = StackedData([Parts(seed, augmented) for seed in seeds]).train_dataloader()
    alone = [Parts(seed, augmented).train_dataloader() for seed in seeds]
    for epoch in (0, 1):
        for loader in (together, *alone):
            loader.order.set_epoch(epoch)
        batches = list(together)
        assert [len(y[0]) for _, y in batches] == [3, 3, 3, 1]
        for k, loader in enumerate(alone):
            for (x, y), (own_x, own_y) in zip(batches, loader, strict=True):
                assert torch.equal(x[k], own_x)
                assert torch.equal(y[k], own_y)


def test_a_stack_goes_on_in_the_middle_of_an_epoch():
    def stack() -> StackedData:
        return StackedData([Parts(seed, augmented=False) for seed in (1000, 1001)])

    data = stack()
    assert data.hparams == Parts.hparams
    loader = data.train_dataloader()
    loader.order.set_epoch(1)
    whole = list(loader)
    iterator = iter(loader)
    next(iterator)
    assert data.state_dict() == {"epoch": 1, "position": 1}
    resumed = stack()
    resumed.load_state_dict(data.state_dict())
    for (x, y), (own_x, own_y) in zip(resumed.train_dataloader(), whole[1:], strict=True):
        assert torch.equal(x, own_x)
        assert torch.equal(y, own_y)


def test_a_stack_keeps_each_sample_once():
    parts = [Parts(seed, augmented=False) for seed in (1000, 1001, 1002)]
    before = [part.x.clone() for part in parts]
    StackedData(parts).train_dataloader()
    assert len({part.x.untyped_storage().data_ptr() for part in parts}) == 1
    assert all(torch.equal(part.x, x) for part, x in zip(parts, before, strict=True))


def test_a_stack_made_in_inference_mode_leaves_tensors_to_train_with():
    parts = [Parts(seed, augmented=False) for seed in (1000, 1001)]
    with torch.inference_mode():
        next(iter(StackedData(parts).train_dataloader()))
    assert not any(tensor.is_inference() for part in parts for tensor in (part.x, part.y))


def test_loaders_of_different_sizes_are_not_stacked():
    with pytest.raises(ValueError, match=r"different sizes cannot be stacked: \[\(8, 3\), \(10, 3\)\]"):
        StackedData([Parts(0, augmented=False), Parts(1, augmented=False, n=8)]).train_dataloader()
