"""Checks and measures of `regularization`: they hold, and they fail where dropout or its formula is another one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.regularization import checks, figures, measures
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers.dropout import DROPOUT_MASKS

TOLERANCE = 1e-12


@pytest.mark.parametrize("check", [checks.thinned_networks, checks.moments_over_all_masks])
def test_exact_checks_hold_and_depend_on_the_seed(check):
    found = [check(seed) for seed in (100, 101)]
    assert all(0 < one["error"] < TOLERANCE for one in found)
    assert all(one["draws"] >= 200 for one in found)
    assert found[0] != found[1]
    assert check(100) == found[0]


def test_checks_leave_the_global_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    for check in (checks.thinned_networks, checks.moments_over_all_masks, checks.drawn_moments):
        check(100)
    assert torch.equal(torch.get_rng_state(), state)


class Unscaled(nn.Dropout):
    def forward(self, inputs):
        return super().forward(inputs) * (1 - self.p if self.training else 1)


class Always(nn.Dropout):
    def forward(self, inputs):
        return nn.functional.dropout(inputs, self.p, True)


@pytest.mark.parametrize(
    ("mask", "other"),
    [("sample", Unscaled), ("sample", Always), ("batch", nn.Dropout)],
    ids=["not divided by 1 - p", "in evaluation too", "a mask for each sample"],
)
def test_another_dropout_is_found_out(monkeypatch, mask, other):
    monkeypatch.setitem(DROPOUT_MASKS, mask, other)
    assert checks.thinned_networks(100)["error"] > 0.01


def test_the_masks_of_an_iteration_are_those_that_were_drawn():
    network = FullyConnectedNetwork(6, 3, [50], seed=0, activation="tanh", dropout=0.3, dropout_mask="sample")
    x = torch.ones(200, 6)
    outputs, (kept,) = checks.iteration(network, x, 5)
    torch.manual_seed(5)
    assert torch.equal(outputs, network.train()(x).detach())
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.02)
    assert not torch.equal(kept, checks.iteration(network, x, 6)[1][0])


def test_another_variance_is_found_out(monkeypatch):
    monkeypatch.setattr(checks, "added_variance", lambda w, z, p: p * (1 - p) * (w * z).square().sum())
    assert checks.moments_over_all_masks(100)["error"] > 0.01
    assert abs(checks.drawn_moments(100)["variance_error"]) > 0.1


def test_drawn_moments_are_near_theory_and_another_dropout_is_not(monkeypatch):
    found = checks.drawn_moments(100)
    for p in checks.PROBABILITIES:
        assert found[f"mean/p={p}"] == pytest.approx(1, abs=0.02)
        assert found[f"variance/p={p}"] == pytest.approx(p / (1 - p), rel=0.1)
    assert abs(found["variance_error"]) < 0.02
    monkeypatch.setitem(DROPOUT_MASKS, "sample", Unscaled)
    other = checks.drawn_moments(100)
    assert other["mean/p=0.5"] == pytest.approx(0.5, abs=0.02)
    assert other["variance_error"] < -0.1


def made_up(directory, **recorded):
    named = {name.replace("__", "/"): value for name, value in recorded.items()}
    return Run(Condition(()), 1000, directory, {}, {"status": "ok", "measures": named})


def test_measures_of_hand_made_runs(tmp_path):
    assert measures.gap(made_up(tmp_path, test__loss=0.75, training_test__loss=0.25, train__loss=9.0)) == 0.5
    assert measures.norm_decades(made_up(tmp_path, weight__norm=100.0, initial__weight__norm=1.0)) == 2.0
    assert math.isnan(measures.norm_decades(made_up(tmp_path, weight__norm=0.0)))
    assert math.isnan(measures.gap(made_up(tmp_path, test__loss=0.75)))


def test_the_picture_keeps_inputs_and_outputs_and_draws_anew():
    frames = [figures.kept_units(seed) for seed in range(200)]
    assert all(frame[0].all() and frame[-1].all() for frame in frames)
    assert [len(layer) for layer in frames[0]] == list(figures.LAYERS)
    share = sum(layer.mean() for frame in frames for layer in frame[1:-1]) / (2 * len(frames))
    assert share == pytest.approx(1 - figures.P, abs=0.05)
