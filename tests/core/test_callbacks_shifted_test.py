"""ShiftedTest against the accuracy of the same network on samples that are moved by hand."""

from __future__ import annotations

import lightning
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datamodules import DescriptionTexts, Digits, Iris
from experiments.core.callbacks import ShiftedTest
from lightning_modules import Convolutional, FullyConnected

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def outcome_of(module, data, callback):
    trainer = lightning.Trainer(callbacks=[callback], **QUIET)
    trainer.test(module, data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("by", [1, 3])
def test_images_move_in_four_directions(by):
    data = Digits(batch_size=50, seed=1, num_train=100, num_test=300)
    module = FullyConnected(num_features=64, num_classes=10, hidden=[16], seed=1)
    found = outcome_of(module, data, ShiftedTest(by=by))
    x, y = data.test
    moved = [
        torch.cat([x[:, :, by:], x[:, :, :by]], dim=2),
        torch.cat([x[:, :, -by:], x[:, :, :-by]], dim=2),
        torch.cat([x[..., by:], x[..., :by]], dim=3),
        torch.cat([x[..., -by:], x[..., :-by]], dim=3),
    ]
    with torch.no_grad():
        outputs = [module(image) for image in moved]
    accuracy = np.mean([(o.argmax(1) == y).double().mean().item() for o in outputs])
    loss = np.mean([F.cross_entropy(o, y).item() for o in outputs])
    assert found[f"test/accuracy/shifted={by}"] == pytest.approx(accuracy, abs=1e-6)
    assert found[f"test/loss/shifted={by}"] == pytest.approx(loss, rel=1e-5)
    assert found["test/loss"] != pytest.approx(loss, rel=1e-3)


def test_a_circular_network_does_not_notice():
    data = Digits(batch_size=50, seed=1, num_train=100, num_test=300)
    shape = {"sample_shape": (1, 8, 8), "num_classes": 10, "channels": [4]}
    module = Convolutional(**shape, seed=1, padding="circular", pooling="none", head="average")
    found = outcome_of(module, data, ShiftedTest(by=2))
    assert found["test/loss/shifted=2"] == pytest.approx(found["test/loss"], rel=1e-5)


def test_texts_move_along_their_one_axis():
    data = DescriptionTexts(batch_size=20, seed=1, length=16, num_train=40, num_val=20, num_test=50)
    module = FullyConnected(num_features=48 * 16, num_classes=10, hidden=[16], seed=1)
    found = outcome_of(module, data, ShiftedTest(by=2))
    x, y = data.test
    with torch.no_grad():
        loss = np.mean([F.cross_entropy(module(x.roll(shift, 2)), y).item() for shift in (-2, 2)])
    assert found["test/loss/shifted=2"] == pytest.approx(loss, rel=1e-5)


def test_a_table_has_nothing_to_move():
    module = FullyConnected(num_features=4, num_classes=3, hidden=[4], seed=1)
    with pytest.raises(ValueError, match=r"ShiftedTest needs images or sequences, not samples of shape \(4,\)"):
        outcome_of(module, Iris(batch_size=30, seed=0), ShiftedTest())
    with pytest.raises(ValueError, match="by must be >= 1, not 0"):
        ShiftedTest(by=0)
