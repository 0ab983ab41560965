"""FinalTest: the test sample seen by the last weights, recorded once, without a change to the run."""

from __future__ import annotations

import copy

import lightning
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from experiments.core.callbacks import FinalTest


class TwoParts(lightning.LightningDataModule):
    """Training and test samples of the fixtures; the last test batch is partial."""

    def __init__(self, train, test) -> None:
        super().__init__()
        self.parts = {"train": train, "test": test}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.parts["train"]), batch_size=8)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.parts["test"]), batch_size=8)


def fit(module, data, callback) -> None:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=2, callbacks=[callback], enable_model_summary=False, **quiet
    )
    trainer.fit(module, datamodule=data)


def test_loss_and_accuracy_of_the_last_weights_in_evaluation_mode(network, samples) -> None:
    module = network(dropout=0.5)
    test = samples(21, seed=7)
    callback = FinalTest()
    fit(module, TwoParts(samples(24), test), callback)
    rows = callback.drain()
    assert {row.name for row in rows} == {"final_test/loss", "final_test/accuracy"}
    assert {row.step for row in rows} == {6}
    x, y = test
    found = {row.name: row.value for row in rows}
    with torch.no_grad():
        outputs = module.eval()(x)
    assert found["final_test/loss"] == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-12)
    assert found["final_test/accuracy"] == pytest.approx((outputs.argmax(1) == y).double().mean().item(), rel=1e-12)


def test_it_leaves_weights_and_mode_as_they_are(network, samples) -> None:
    module = network()
    fit(module, TwoParts(samples(24), samples(21)), FinalTest())
    other = network()
    fit(other, TwoParts(samples(24), samples(21)), lightning.Callback())
    assert module.training == other.training
    states = [copy.deepcopy(m.state_dict()) for m in (module, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_module_without_a_loss_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="FinalTest needs a LectureModule, not a LightningModule"):
        FinalTest().setup(lightning.Trainer(logger=False, accelerator="cpu"), lightning.LightningModule(), "fit")
