"""The threshold that validation samples choose, and what is tested with it, against scikit-learn on the same scores."""

from __future__ import annotations

import lightning
import numpy as np
import pytest
import torch
from heard import Heard, rows_of
from sklearn.metrics import accuracy_score, f1_score

from datamodules import Digits, MultiLabel
from experiments.multilabel.callbacks import THRESHOLDS, LabelThreshold, best_threshold
from lightning_modules import FullyConnected, LinearModel

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def outcome_of(loss, seed=3):
    data = MultiLabel(batch_size=50, seed=seed, num_train=100, num_val=120, num_test=1500, labels=4)
    data.setup()
    sizes = {"num_features": data.num_features, "num_classes": 4}
    module = LinearModel(**sizes, seed=seed, loss=loss, lr=0.1)
    trainer = lightning.Trainer(callbacks=[LabelThreshold()], max_epochs=3, **{**QUIET, "logger": Heard()})
    trainer.fit(module, data)
    trainer.test(module, data, verbose=False)
    with torch.no_grad():
        parts = {name: (module(x), y.numpy() > 0.5) for name, (x, y) in {"val": data.val, "test": data.test}.items()}
    return {row.name: row.value for row in rows_of(trainer)}, parts


@pytest.mark.parametrize(
    ("loss", "scores"),
    [
        ("bce", torch.sigmoid),
        ("label_mse", torch.sigmoid),
        ("label_softmax", lambda outputs: outputs.softmax(1)),
    ],
)
def test_thresholds_are_chosen_on_validation_samples_and_used_on_test_samples(loss, scores):
    found, parts = outcome_of(loss)
    (val, val_targets), (test, targets) = [(scores(outputs).numpy(), y) for outputs, y in parts.values()]
    counts = {
        "exact_match": accuracy_score,
        "micro_f1": lambda y, predicted: f1_score(y, predicted, average="micro", zero_division=0),
    }
    for name, count in counts.items():
        of_each = [count(val_targets, val > float(threshold)) for threshold in THRESHOLDS]
        threshold = found[f"threshold/{name}"]
        place = int(np.argmin(np.abs(THRESHOLDS.numpy() - threshold)))
        assert of_each[place] == pytest.approx(max(of_each), abs=1e-6)
        assert found[f"test/{name}/tuned"] == pytest.approx(count(targets, test > threshold), abs=1e-6)
    predicted = test > found["threshold/exact_match"]
    for number in range(5):
        rows = targets.sum(1) == number
        key = f"test/exact_match/labels={number}"
        assert (key in found) == rows.any()
        if rows.any():
            assert found[key] == pytest.approx(accuracy_score(targets[rows], predicted[rows]), abs=1e-6)
    # 1,500 samples fill more than one batch of the evaluation.
    assert len(targets) == 1500
    assert "test/exact_match/labels=0" in found


def test_the_best_threshold_is_in_the_middle_of_equally_good_ones():
    scores = torch.tensor([[0.205, 0.8], [0.1, 0.605]])
    targets = torch.tensor([[False, True], [False, True]])
    # Everything from .21 to .60 is right.
    assert best_threshold("exact_match", scores, targets) == pytest.approx(0.41, abs=1e-6)
    assert best_threshold("micro_f1", scores, targets) == pytest.approx(0.41, abs=1e-6)


def test_each_count_has_a_threshold_of_its_own():
    scores = torch.tensor([[0.605, 0.1]] + 5 * [[0.405, 0.1]])
    targets = torch.tensor([[True, False]] + 3 * [[False, False]] + 2 * [[True, False]])
    # Exactly right are four samples between .41 and .60, and three below; F1 is 2/4 there and 6/9 below.
    assert best_threshold("exact_match", scores, targets) == pytest.approx(0.51, abs=1e-6)
    assert 0.1 < best_threshold("micro_f1", scores, targets) < 0.4


def test_one_label_a_sample_is_refused():
    data = Digits(batch_size=50, seed=0)
    module = FullyConnected(num_features=64, num_classes=10, hidden=[4], seed=0)
    trainer = lightning.Trainer(callbacks=[LabelThreshold()], max_epochs=1, **QUIET)
    with pytest.raises(ValueError, match="LabelThreshold needs a loss of several labels a sample, such as bce"):
        trainer.test(module, data, verbose=False)
