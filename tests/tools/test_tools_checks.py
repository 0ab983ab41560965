"""The checks of `tools`: the mistakes show, the right way holds, and a wrong right way is found."""

from __future__ import annotations

import math
import time

import pytest
import torch
from torch import nn

from datamodules.loader import Order, OrderedLoader
from experiments.core.definitions import CHECKED
from experiments.core.grid import catalogue
from experiments.tools import checks, pitfalls, promises
from lightning_modules.metrics import MeanLoss

CLAIMS = [claim for claim in catalogue.load("tools").claims if claim.check]
TOLERANCE = {claim.check: claim.tolerance for claim in CLAIMS if claim.kind in CHECKED}
# A seed that no run uses.
SEED = 7


def test_the_claims_use_every_check_and_ten_seeds() -> None:
    assert {claim.check for claim in CLAIMS} == set(checks.__all__)
    assert {claim.n for claim in CLAIMS} == {10}


@pytest.mark.parametrize("name", sorted(TOLERANCE))
def test_every_check_passes_and_is_a_function_of_its_seed(name: str) -> None:
    found = getattr(checks, name)(SEED)
    assert found["error"] <= TOLERANCE[name]
    assert 10 * found["draws"] >= 200
    assert found == getattr(checks, name)(SEED)


@pytest.mark.parametrize("name", sorted({claim.check for claim in CLAIMS if claim.kind == "pitfall"}))
def test_a_mistake_shows_on_most_draws(name: str) -> None:
    found = getattr(checks, name)(SEED)
    assert found["counterexamples"] >= 0.75 * found["draws"]
    assert abs(found["right"] - found["wrong"]) > 0.1


# What the two numbers of the gallery are


def test_the_best_line_over_all_pairs_is_the_mean_of_the_targets() -> None:
    """By torch's own broadcast loss: no line does better than the constant mean."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(15, generator=generator, dtype=torch.float64)
    y = 2 * x + torch.randn(15, generator=generator, dtype=torch.float64)

    def loss(slope: float, offset: float) -> float:
        with pytest.warns(UserWarning, match="broadcasting"):
            return float(nn.functional.mse_loss((slope * x + offset)[:, None], y))

    best = loss(0.0, float(y.mean()))
    assert best == pytest.approx(float(y.var(correction=0)))
    assert all(loss(slope, float(y.mean())) > best for slope in (-1e-3, 1e-3, 2.0))
    assert all(loss(0.0, float(y.mean()) + by) > best for by in (-1e-3, 1e-3))
    assert pitfalls.column_against_row(SEED)["wrong"] == pytest.approx(0, abs=1e-12)


def test_a_second_softmax_keeps_the_loss_above_its_floor() -> None:
    assert pitfalls.softmax_twice(SEED)["wrong"] >= math.log(1 + 9 / math.e)
    assert pitfalls.softmax_twice(SEED)["right"] < 0.1


def test_the_mean_of_batch_means_by_hand() -> None:
    """64 ones and a single 66: the mean is 2, that of the batch means 33.5."""
    losses = torch.ones(65)
    losses[-1] = 66
    epoch = MeanLoss()
    for batch in losses.split(64):
        epoch.update(batch.mean()[None], torch.tensor([len(batch)]))
    assert float(epoch.compute()) == pytest.approx(2.0)
    assert float(torch.tensor([1.0, 66.0]).mean()) == 33.5


def test_names_of_log_directories() -> None:
    monday = time.gmtime(1_736_121_600)  # 6 January 2025
    assert pitfalls._sortable(monday) == "2025-01-06T00-00-00"
    assert pitfalls._is_one_safe_word("logs/model-2025-01-06T00-00-00")
    assert not pitfalls._is_one_safe_word(f"logs/model-{time.asctime(monday)}")
    assert not pitfalls._is_one_safe_word("logs/model-00:00")
    assert not pitfalls._is_one_safe_word("logs/model 1")


def test_selection_without_the_test_labels_is_at_chance() -> None:
    found = [pitfalls.leaked_selection(seed) for seed in range(2)]
    assert sum(check["right"] for check in found) / 2 == pytest.approx(0.5, abs=0.05)
    assert all(check["wrong"] > 0.7 for check in found)
    assert all(check["gain"] == pytest.approx(check["wrong"] - check["right"]) for check in found)


def test_reads_of_an_epoch() -> None:
    assert promises._reads(130, 64) == (130, 3)


# Wrong right ways


def forget_sizes(self, losses, sizes) -> None:
    self.mean_value += losses.sum()
    self.weight += len(losses)


def twice_the_first(self):
    index = torch.arange(self.order.n)
    index[-1] = index[0]
    for rows in index.split(self.order.batch_size):
        yield tuple(tensor[rows] for tensor in self.samples.tensors)


def always_in_training(self, mode: bool = True):
    for module in self.modules():
        module.training = True
    return self


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "check"),
    [
        (MeanLoss, "update", forget_sizes, "batch_means"),
        (pitfalls, "_sortable", time.asctime, "log_path"),
        (pitfalls, "_sortable", lambda moment: time.strftime("%d-%m-%Y", moment), "log_path"),
        (pitfalls.FullyConnected, "train", always_in_training, "evaluation_mode"),
        (nn.functional, "cross_entropy", lambda z, y: nn.functional.nll_loss(z, y), "softmax_twice"),
        (nn.functional, "mse_loss", lambda z, y: (z - y).abs().mean(), "column_against_row"),
        (nn.functional, "mse_loss", lambda z, y: (z - y).square().sum(), "view_of_several_outputs"),
        (nn.Sequential, "forward", lambda self, x: self[2](self[0](x)), "list_in_sequential"),
        (OrderedLoader, "__iter__", twice_the_first, "data_loader"),
        (Order, "rows", lambda self, _: torch.arange(self.n), "data_loader"),
        (promises.SummaryWriter, "add_scalar", lambda *_: None, "logged_scalars"),
    ],
)
def test_a_wrong_right_way_is_found(monkeypatch, owner, name, wrong, check) -> None:
    monkeypatch.setattr(owner, name, wrong)
    try:
        error = getattr(checks, check)(SEED)["error"]
    except KeyError:  # TensorBoard finds no such scalar
        error = math.inf
    assert error > 1e-3


def test_a_rounded_scalar_is_found(monkeypatch) -> None:
    real = promises.SummaryWriter.add_scalar
    monkeypatch.setattr(
        promises.SummaryWriter, "add_scalar", lambda self, tag, value, step: real(self, tag, round(value, 3), step)
    )
    assert promises.logged_scalars(SEED)["error"] == 1.0
