"""TimeToTarget against the loss computed by hand after every step of the same training."""

from __future__ import annotations

import math
from typing import Any

import lightning
import pytest
import torch
from heard import Heard, rows_of
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import Digits
from experiments.core.callbacks import TimeToTarget
from lightning_modules import FullyConnected

QUIET = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
    "limit_val_batches": 0,
}
SAMPLES = 70


class Watch(lightning.Callback):
    """The loss on the first samples of the training split, in evaluation mode, before and after every step."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}
        self.used: dict[int, int] = {0: 0}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.total = getattr(self, "total", 0) + len(batch[0])
        if trainer.global_step not in self.losses:
            self.used[trainer.global_step] = self.total
            self._look(trainer, pl_module)

    def _look(self, trainer: Any, pl_module: Any) -> None:
        x, y = trainer.datamodule.train
        pl_module.eval()
        with torch.no_grad():
            self.losses[trainer.global_step] = F.cross_entropy(pl_module(x[:SAMPLES]), y[:SAMPLES]).item()
        pl_module.train()


def fit(callback: TimeToTarget, steps: int = 60, batch_size: int | str = 7, **options: Any):
    # 100 samples in batches of 7: the last of an epoch has 2.
    data = Digits(batch_size=batch_size, seed=3, num_train=100)
    network = {key: options.pop(key) for key in ("dropout",) if key in options}
    model = FullyConnected(
        num_features=64, num_classes=10, depth=1, width=8, seed=0, optimizer="sgd", lr=0.2, **network
    )
    watch = Watch()
    settings = {**QUIET, "logger": Heard(), **options}
    trainer = lightning.Trainer(max_steps=steps, max_epochs=-1, callbacks=[callback, watch], **settings)
    trainer.fit(model, datamodule=data)
    return watch, {(row.name, row.step): row.value for row in rows_of(trainer)}, trainer


def outcome(rows: dict[tuple[str, int], float]) -> dict[str, float]:
    return {name.removeprefix("target/"): value for (name, _), value in rows.items() if name.startswith("target/")}


def looks(rows: dict[tuple[str, int], float]) -> dict[int, float]:
    return {step: value for (name, step), value in rows.items() if name == "sample/loss"}


def test_it_ends_with_the_epoch_of_the_first_step_at_or_below_the_target() -> None:
    watch, _, _ = fit(TimeToTarget(target=-1.0, samples=SAMPLES))
    target = watch.losses[40]
    first = min(step for step, loss in watch.losses.items() if loss <= target)
    _, rows, trainer = fit(TimeToTarget(target=target, resolution=1e-9, samples=SAMPLES))
    # An epoch has 15 steps.
    assert trainer.global_step == math.ceil(first / 15) * 15
    assert outcome(rows) == {"arrived": 1.0, "steps": first, "samples": watch.used[first]}
    expected = {step: watch.losses[step] for step in range(trainer.global_step + 1)}
    assert looks(rows) == pytest.approx(expected, rel=1e-6)


def test_a_target_that_never_comes_costs_the_whole_budget() -> None:
    watch, rows, trainer = fit(TimeToTarget(target=-1.0, samples=SAMPLES))
    assert trainer.global_step == 60
    assert outcome(rows) == {"arrived": 0.0, "steps": 60.0, "samples": watch.used[60]}
    # Four epochs of 100 samples in 15 steps each.
    assert watch.used[60] == 400


def test_without_stopping_the_run_goes_on_and_the_first_arrival_counts() -> None:
    watch, _, _ = fit(TimeToTarget(target=-1.0, samples=SAMPLES))
    target = watch.losses[20]
    first = min(step for step, loss in watch.losses.items() if loss <= target)
    _, rows, trainer = fit(TimeToTarget(target=target, resolution=1e-9, samples=SAMPLES, stop=False))
    assert trainer.global_step == 60
    assert outcome(rows) == {"arrived": 1.0, "steps": first, "samples": watch.used[first]}
    assert max(looks(rows)) == 60


@pytest.mark.parametrize("resolution", [0.02, 0.1, 0.5])
def test_steps_between_looks_grow_with_the_steps_taken(resolution: float) -> None:
    watch, rows, _ = fit(TimeToTarget(target=-1.0, resolution=resolution, samples=SAMPLES))
    steps = [0]
    while steps[-1] < 60:
        steps.append(min(60, max(steps[-1] + 1, math.ceil(round(steps[-1] * (1 + resolution), 9)))))
    assert sorted(looks(rows)) == steps
    assert looks(rows) == pytest.approx({step: watch.losses[step] for step in steps}, rel=1e-6)


def test_under_accumulation_steps_are_those_of_the_optimiser() -> None:
    _, rows, trainer = fit(TimeToTarget(target=-1.0, resolution=1e-9, samples=SAMPLES), 10, accumulate_grad_batches=2)
    assert trainer.global_step == 10
    assert sorted(looks(rows)) == list(range(11))
    # Seven steps an epoch of two batches of 7, and one of the last 2 samples.
    assert outcome(rows)["samples"] == 100 + 2 * 14


def test_looking_changes_nothing_even_under_dropout() -> None:
    ends = []
    for resolution in (1e-9, 50.0):
        torch.manual_seed(0)
        *_, trainer = fit(TimeToTarget(target=-1.0, resolution=resolution, samples=SAMPLES), 20, dropout=0.5)
        assert trainer.lightning_module.training
        ends.append([p.detach().clone() for p in trainer.lightning_module.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_second_fit_counts_anew() -> None:
    callback = TimeToTarget(target=-1.0, samples=SAMPLES)
    for _ in range(2):
        _, rows, _ = fit(callback, 5)
        assert outcome(rows) == {"arrived": 0.0, "steps": 5.0, "samples": 35.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": math.nan}, "target must be a finite number; it is nan"),
        ({"target": 0.3, "resolution": 0.0}, "resolution must be greater than 0; it is 0.0"),
        ({"target": 0.3, "resolution": math.inf}, "resolution must be greater than 0; it is inf"),
        ({"target": 0.3, "samples": 0}, "samples must be at least 1; it is 0"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimeToTarget(**arguments)


def test_it_needs_a_loss_and_samples() -> None:
    trainer = lightning.Trainer(max_steps=1, logger=False, callbacks=[TimeToTarget(target=0.3)], **QUIET)
    with pytest.raises(ValueError, match="TimeToTarget needs a LectureModule, not a LightningModule"):
        trainer.callbacks[0].setup(trainer, lightning.LightningModule(), "fit")
    model = FullyConnected(num_features=64, num_classes=10, depth=1, width=8, seed=0)
    loader = DataLoader(TensorDataset(torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64)))
    with pytest.raises(ValueError, match="TimeToTarget needs a training split in memory"):
        trainer.fit(model, loader)
