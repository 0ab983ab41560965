"""The checks of `normalization`: they pass on the layers as they are, and fail on layers that are subtly wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from experiments.normalization import checks
from experiments.normalization.experiment import experiment


@pytest.fixture(autouse=True)
def one_thread():
    """As in the workers: for tensors this small a second thread took 17 s of busy cores, one thread 0.3 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


EXACT = {claim.check: claim.tolerance for claim in experiment.claims if claim.kind == "exact"}


@pytest.mark.parametrize("name", EXACT)
def test_holds_on_enough_draws(name):
    result = getattr(checks, name)(7)
    assert result["error"] <= EXACT[name]
    assert result["draws"] >= 200


def test_the_gap_between_the_modes_falls_with_the_root():
    for seed in (1, 2, 3):
        result = checks.mode_gap_slope(seed)
        assert set(result) == {"slope_error"}
        assert abs(result["slope_error"]) < 0.03


class UnbiasedInTraining(nn.BatchNorm1d):
    """Divides by n - 1 in training as well."""

    def forward(self, x):
        normal = super().forward(x)
        return normal * math.sqrt((len(x) - 1) / len(x)) if self.training else normal


class BiasedInEvaluation(nn.BatchNorm1d):
    """Averages the variances divided by n."""

    def forward(self, x):
        before = self.running_var.clone()
        out = super().forward(x)
        if self.training:
            self.running_var = before + (self.running_var - before)
            self.running_var -= self.momentum * x.var(0) / len(x)
        return out


class BatchForLayer(nn.BatchNorm1d):
    """Normalises over the batch where each sample should be alone."""

    def forward(self, x):
        return super().forward(x) if len(x) > 1 else x


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("running_averages", BiasedInEvaluation),
        ("running_averages", lambda n: nn.BatchNorm1d(n, momentum=0.11)),
        ("running_averages", lambda n: nn.BatchNorm1d(n, eps=1e-3)),
        ("running_averages", lambda n: nn.BatchNorm1d(n, momentum=None)),
        ("batch_of_two", UnbiasedInTraining),
        ("batch_of_two", nn.LayerNorm),
        ("sample_alone", BatchForLayer),
    ],
)
def test_fails_where_the_layer_is_wrong(monkeypatch, check, wrong):
    monkeypatch.setattr(checks, "normalization", lambda _, features: wrong(features))
    assert getattr(checks, check)(7)["error"] > 10 * EXACT[check]


def test_the_slope_is_wrong_if_the_gap_does_not_shrink(monkeypatch):
    class Noisy(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x) + 0.5 * self.training

    monkeypatch.setattr(checks, "normalization", lambda _, features: Noisy(features))
    assert checks.mode_gap_slope(1)["slope_error"] > 0.1


def test_two_samples_by_hand():
    layer = checks._layer("batch", 1)
    out = layer(torch.tensor([[3.0], [7.0]], dtype=torch.float64)).detach()
    # Mean 5, variance 4 divided by n.
    assert out.flatten().tolist() == pytest.approx([-2 / math.sqrt(4 + 1e-5), 2 / math.sqrt(4 + 1e-5)], rel=1e-12)
