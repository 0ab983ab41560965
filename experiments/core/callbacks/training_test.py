"""The training samples seen by the trained network as test samples are: without dropout, and unchanged."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer

from datamodules.base import InMemoryDataModule
from datamodules.loader import TensorLoader
from experiments.core.callbacks.instrument import Instrument
from lightning_modules.base import EpochMeans, LectureModule

BATCH_SIZE = 1024


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
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"TrainingTest needs a LectureModule, not a {type(pl_module).__name__}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the means over the training samples."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, InMemoryDataModule) or not isinstance(pl_module, LectureModule):
            return
        means, criterion, training = EpochMeans(), pl_module.criterion, pl_module.training
        pl_module.eval()
        with torch.no_grad():
            for batch in TensorLoader(datamodule.train, batch_size=BATCH_SIZE, seed=0, shuffle=False):
                inputs, targets = (part.to(pl_module.device) for part in batch)
                outputs = pl_module(inputs)
                totals = {name: total(outputs, targets) for name, total in criterion.totals.items()}
                means.add(len(inputs), means={"loss": criterion.mean(outputs, targets)}, totals=totals)
        pl_module.train(training)
        summary = criterion.summarize(means.compute())
        self.record(trainer, [f"training_test/{name}" for name in summary], list(summary.values()))
