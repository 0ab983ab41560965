"""Training data that stay as their source holds them give the batches that tensors in memory give."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from datamodules import BreastCancer, Digits
from datamodules.base import InMemoryDataModule

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "raw": {"standardize": False},
    "permuted": {"permute": True},
    "noisy labels": {"label_noise": 0.3},
    "duplicates": {"duplicates": 2},
    "augmented": {"augmentation": ["shift", "erase"]},
    "augmented duplicates": {"augmentation": ["shift"], "duplicates": 1, "permute": True},
}


def both(cls: type[InMemoryDataModule], **options: Any) -> list[InMemoryDataModule]:
    """The same data in memory and not."""
    build: Any = cls
    found = [
        build(batch_size=50, seed=3, num_train=220, **options),
        build(batch_size=50, seed=3, num_train=220, in_memory=False, workers=0, **options),
    ]
    for module in found:
        module.setup()
    return found


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_batches_of_two_epochs_are_the_same(options):
    loaders = [module.train_dataloader() for module in both(Digits, **options)]
    for epoch in range(2):
        for loader in loaders:
            loader.order.set_epoch(epoch)
        for (x, y), (streamed, labels) in zip(*loaders, strict=True):
            torch.testing.assert_close(streamed, x, rtol=1e-6, atol=1e-6)
            assert torch.equal(labels, y)


@pytest.mark.parametrize("cls", [Digits, BreastCancer])
def test_statistics_in_parts_are_those_of_the_whole(cls, monkeypatch):
    monkeypatch.setattr("datamodules.streaming.CHUNK", 32)
    monkeypatch.setattr("datamodules.base.CHUNK", 32)
    ours, streamed = both(cls)
    for statistic, truth in zip(streamed._scaling, ours._scaling, strict=True):
        torch.testing.assert_close(statistic, truth, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(streamed.train[0], ours.train[0], rtol=1e-6, atol=1e-6)
    for part in ("val", "test"):
        torch.testing.assert_close(getattr(streamed, part)[0], getattr(ours, part)[0], rtol=1e-6, atol=1e-6)


def test_workers_change_nothing_and_the_middle_of_an_epoch_is_a_place_to_begin():
    module = Digits(batch_size=50, seed=3, num_train=220, in_memory=False, workers=2, augmentation=["shift"])
    module.setup()
    loader = module.train_dataloader()
    loader.order.set_epoch(4)
    first = list(itertools.islice(iter(loader), 2))
    state = loader.state_dict()
    assert state == {"epoch": 4, "position": 2}
    alone = Digits(batch_size=50, seed=3, num_train=220, in_memory=False, workers=0, augmentation=["shift"])
    alone.setup()
    truth = alone.train_dataloader()
    truth.order.set_epoch(4)
    expected = list(truth)
    resumed = module.train_dataloader()
    resumed.load_state_dict(state)
    for (x, y), (other, labels) in zip([*first, *resumed], expected, strict=True):
        assert torch.equal(x, other)
        assert torch.equal(y, labels)


def test_a_value_that_is_not_finite_is_found_in_any_part(monkeypatch):
    source = Digits(batch_size=50, seed=3).load()
    broken = source.x.clone().float()
    module = Digits(batch_size=50, seed=3, num_train=220, in_memory=False)
    broken[module.split().train[100]] = float("nan")
    monkeypatch.setattr(Digits, "load", lambda _: type(source)(broken, source.y))
    with pytest.raises(ValueError, match="has a value that is not finite"):
        module.setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 3}, "workers=3 has no effect"),
        ({"in_memory": False, "workers": -1}, "workers must be >= 0, not -1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Digits(batch_size=50, seed=3, **options)


def test_copies_in_memory_are_refused():
    module = Digits(batch_size=50, seed=3, in_memory=False, augmentation=["autoaugment_svhn(copies=2)"])
    with pytest.raises(ValueError, match="in_memory must be true"):
        module.setup()


def test_a_fit_with_workers_is_a_fit_in_memory(fit, result, base_yaml):
    options = ["--config", base_yaml, "--data.standardize=false"]
    one = fit(*options)
    other = fit(*options, "--data.in_memory=false", "--data.workers=2")
    assert result(other)["measures"] == result(one)["measures"]
