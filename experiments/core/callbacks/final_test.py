"""The test sample seen by the weights of the last step, beside the best ones that every run is tested with."""

from __future__ import annotations

import torch
from lightning import LightningDataModule, LightningModule, Trainer

from experiments.core.callbacks.instrument import Instrument
from lightning_modules.base import EpochMeans, LectureModule


class FinalTest(Instrument):
    """Tests the network as training leaves it, once, after the last step.

    `test/…` is about the weights that validation chose, as early stopping would; `final_test/loss` and the others that
    this records are about the weights of the last step, on the same test sample. Their difference is what training on
    cost. No choice can depend on it: nothing is trained afterwards. Slide "Réseau Fully-Connected".
    """

    def __init__(self) -> None:
        super().__init__()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not say what it is tested by."""
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"FinalTest needs a LectureModule, not a {type(pl_module).__name__}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the means over the test sample."""
        datamodule: LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is None or not isinstance(pl_module, LectureModule):
            return
        means, criterion, training = EpochMeans(), pl_module.criterion, pl_module.training
        pl_module.eval()
        with torch.no_grad():
            for batch in datamodule.test_dataloader():
                inputs, targets = (part.to(pl_module.device) for part in batch)
                outputs = pl_module(inputs)
                totals = {name: total(outputs, targets) for name, total in criterion.totals.items()}
                means.add(len(inputs), means={"loss": criterion.mean(outputs, targets)}, totals=totals)
        pl_module.train(training)
        summary = criterion.summarize(means.compute())
        self.record(trainer, [f"final_test/{name}" for name in summary], list(summary.values()))
