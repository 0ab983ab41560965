"""The training samples seen by the trained network as test samples are: without dropout, and unchanged."""

from __future__ import annotations

from lightning import LightningModule, Trainer

from datamodules.base import InMemoryDataModule
from experiments.core.callbacks.evaluation import evaluate, lecture_module
from experiments.core.callbacks.instrument import Instrument


class TrainingTest(Instrument):
    """Evaluates the network of the last step on its own training samples, once, after that step.

    `train/loss` and `train/accuracy` are taken while the weights change, under dropout, and on augmented images; a gap
    to the test sample built on them rewards whatever makes training hard. `training_test/loss` and the others that this
    records are in evaluation mode and on the samples as they are, with the labels that were learnt.
    """

    def __init__(self) -> None:
        super().__init__()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not say what it is tested by."""
        lecture_module(pl_module, self)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the means over the training samples."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, InMemoryDataModule):
            return
        summary = evaluate(lecture_module(pl_module, self), datamodule.evaluation_loader(datamodule.train))
        self.record(trainer, [f"training_test/{name}" for name in summary], list(summary.values()))
