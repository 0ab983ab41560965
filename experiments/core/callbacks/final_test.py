"""The test sample seen by the weights of the last step, beside the best ones that every run is tested with."""

from __future__ import annotations

from lightning import LightningDataModule, LightningModule, Trainer

from experiments.core.callbacks.evaluation import evaluate, lecture_module
from experiments.core.callbacks.instrument import Instrument


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
        lecture_module(pl_module, self)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the means over the test sample."""
        datamodule: LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is None:
            return
        summary = evaluate(lecture_module(pl_module, self), datamodule.test_dataloader())
        self.record(trainer, [f"final_test/{name}" for name in summary], list(summary.values()))
