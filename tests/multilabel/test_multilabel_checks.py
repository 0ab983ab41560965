"""The checks of several labels, with right formulas and with wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.core.definitions import CHECKED
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.multilabel import checks, measures
from lightning_modules.losses import build_loss

EXPERIMENT = catalogue.load("multilabel")


@pytest.mark.parametrize("claim", [c for c in EXPERIMENT.claims if c.kind in CHECKED], ids=lambda c: c.id)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_checks_pass(claim, seed):
    found = getattr(checks, claim.check)(seed)
    assert found["draws"] >= 200
    assert found["error"] <= claim.tolerance


def test_the_formula_as_transcribed_fails_unless_all_labels_are_there():
    found = checks.parentheses(0)
    _, targets = checks._draws(0)
    assert found["counterexamples"] == float((~targets.bool().all(1)).sum())
    assert 250 < found["counterexamples"] < 300


def test_one_sample_by_hand():
    probability, targets = torch.tensor([[0.9, 0.2]]).double(), torch.tensor([[1.0, 0.0]]).double()
    one, other = -torch.tensor(0.9).double().log(), torch.tensor(0.8).double().log()
    assert checks.with_parentheses(probability, targets).item() == pytest.approx((one - other).item())
    assert checks.as_transcribed(probability, targets).item() == pytest.approx((one + other).item())


def test_without_parentheses_the_form_that_holds_would_not(monkeypatch):
    monkeypatch.setattr(checks, "with_parentheses", checks.as_transcribed)
    assert checks.parentheses(0)["error"] > 0.1


@pytest.mark.parametrize("wrong", ["label_mse", "bce"])
def test_another_loss_is_no_likelihood(wrong, monkeypatch):
    # The mean over the labels instead of their sum, or another cost.
    monkeypatch.setattr(checks, "build_loss", lambda *_, **__: build_loss(wrong, reduction="mean"))
    assert checks.bce_is_bernoulli(0)["error"] > 0.1


def test_sigmoids_can_predict_nothing(monkeypatch):
    monkeypatch.setattr(checks, "by_share", lambda outputs: outputs > 0)
    assert checks.softmax_predicts_something(0)["error"] > 0.1
    monkeypatch.undo()
    monkeypatch.setattr(checks, "label_scores", lambda _: lambda outputs: outputs.sigmoid() / 6)
    assert checks.softmax_predicts_something(0)["error"] > 0.01


def test_what_a_threshold_gains():
    recorded = {"test/exact_match": 0.4, "test/exact_match/tuned": 0.45}
    run = Run(Condition(()), 1000, Path("nowhere"), {}, {"status": "ok", "measures": recorded})
    assert measures.test_exact_match_gain(run) == pytest.approx(0.05)
