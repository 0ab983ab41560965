"""A run whose loss is no longer a number ends, with a status: that is a result, not a crash."""

from __future__ import annotations

import json

import pytest
import torch
from one_fit import run_stack
from torchmetrics.classification import MulticlassAccuracy

from experiments.core.callbacks import Divergence
from lightning_modules import FullyConnected


class Breaks(FullyConnected):
    """A network whose loss is infinite in one of the batches of step `at`."""

    at, batch_of_step = 0, 0

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        here = self.global_step == self.at and batch_idx % self.trainer.accumulate_grad_batches == self.batch_of_step
        return loss + torch.inf if here else loss


def broken(at: int, batch_of_step: int = 0) -> Breaks:
    module = Breaks(num_features=6, num_classes=3, seed=0, depth=1, width=4, optimizer="sgd", lr=1e-9).double()
    module.at, module.batch_of_step = at, batch_of_step
    return module


@pytest.mark.parametrize("at", [0, 1, 9, 10, 25])
def test_the_first_bad_step_is_remembered_and_the_run_ends_with_its_epoch(samples, train, at):
    divergence = Divergence()
    trainer = train(broken(at), samples(80), divergence, max_epochs=5)
    assert divergence.diverged_at() == at
    assert trainer.global_step == (at // 10 + 1) * 10


@pytest.mark.parametrize("batch_of_step", [0, 1])
@pytest.mark.parametrize("at", [0, 2])
def test_the_step_is_right_under_accumulation(samples, train, at, batch_of_step):
    divergence = Divergence()
    train(broken(at, batch_of_step), samples(80), divergence, accumulate_grad_batches=2)
    assert divergence.diverged_at() == at


def test_a_sound_run_goes_on_to_its_end(network, samples, train):
    divergence = Divergence()
    trainer = train(network(), samples(80), divergence, max_epochs=3)
    assert divergence.diverged_at() is None
    assert trainer.global_step == 30


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_a_huge_learning_rate_is_a_result_with_exit_code_0(fit, base_yaml, result, activation):
    directory = fit("--config", base_yaml, "--model.lr=1e30", f"--model.activation={activation}", "--model.depth=2")
    content = result(directory)
    assert content["status"] == "diverged"
    # The first step's loss is finite: it is taken before any update. 256 samples are 4 steps of 64.
    assert content["diverged_at_step"] == 1
    assert content["measures"]["train/loss"] is None
    assert "test/accuracy" not in content["measures"]
    assert "NaN" not in (directory / "result.json").read_text()


def test_weights_that_break_in_the_last_step_are_seen_by_validation(fit, base_yaml, result):
    directory = fit("--config", base_yaml, "--model.lr=1e30", "--model.activation=relu", "--data.batch_size=256")
    content = result(directory)
    assert (content["status"], content["diverged_at_step"]) == ("diverged", 1)
    assert json.loads((directory / "result.json").read_text())["measures"]["val/loss"] is None


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_gradient_that_is_no_number_ends_the_run_even_in_its_last_step(monkeypatch, fit, base_yaml, result, at):
    step = FullyConnected.training_step

    def poisoned(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        if self.global_step == at:
            loss.register_hook(lambda gradient: gradient * torch.nan)
        return loss

    monkeypatch.setattr(FullyConnected, "training_step", poisoned)
    # 256 samples are 4 steps of 64; without validation only the test sees what the last one did.
    content = result(fit("--config", base_yaml, "--trainer.limit_val_batches=0"))
    assert (content["status"], content["diverged_at_step"]) == ("diverged", at + 1)


def test_a_metric_that_is_no_number_makes_a_run_a_diverged_one(monkeypatch, fit, base_yaml, result):
    monkeypatch.setattr(MulticlassAccuracy, "compute", lambda _: torch.tensor(torch.nan))
    content = result(fit("--config", base_yaml))
    assert (content["status"], content["diverged_at_step"]) == ("diverged", content["steps"])
    assert content["measures"]["train/loss"] is not None


def test_weights_of_a_stack_that_break_in_the_last_step_are_seen_without_validation(tmp_path, base_yaml, result):
    args = [f"--config={base_yaml}", "--model.lr=1e39", "--model.optimizer=sgd", "--trainer.logger=false"]
    args += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=0"]
    directories = [tmp_path / f"seed={seed}" for seed in (1000, 1001)]
    assert run_stack(args, [1000, 1001], directories) == ""
    for directory in directories:
        content = result(directory)
        assert (content["stack"], content["status"], content["diverged_at_step"]) == (2, "diverged", 1)
