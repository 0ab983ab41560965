"""What the tested network still knows when all it sees has moved a little."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lightning_modules.base import EpochMeans, LectureModule


class ShiftedTest(Callback):
    """Tests the network again on shifted test samples, beside the test it has anyway: `test/accuracy/shifted=2`.

    Images move along either axis, texts along their one, in both directions; what leaves on one side comes back on the
    other, so that nothing is lost and no grey has to be made up. The mean is over all directions. Slide "Réseau
    Fully-Connected".

    Args:
        by: pixels or characters, >= 1.

    Raises:
        ValueError: a number out of range, or, once the data are known, samples that have no axes to move along.
    """

    def __init__(self, by: int = 2) -> None:
        if by < 1:
            raise ValueError(f"by must be >= 1, not {by}")
        self.by = by
        self._means = EpochMeans()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not say what it is tested by."""
        if not isinstance(pl_module, LectureModule):
            raise ValueError(f"ShiftedTest needs a LectureModule, not a {type(pl_module).__name__}")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier pass."""
        self._means.reset()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Test the batch shifted in each direction."""
        assert isinstance(pl_module, LectureModule)  # `setup` lets no other pass
        inputs, targets = batch
        if inputs.dim() < 3:
            raise ValueError(f"ShiftedTest needs images or sequences, not samples of shape {tuple(inputs.shape[1:])}")
        for axis in range(2, inputs.dim()):
            for shift in (-self.by, self.by):
                shifted = pl_module(inputs.roll(shift, axis))
                self._means.count(pl_module.criterion, shifted, targets)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means, which the recorder keeps as measures of the run."""
        assert isinstance(pl_module, LectureModule)
        summary = pl_module.criterion.summarize(self._means.compute())
        pl_module.log_dict({f"test/{name}/shifted={self.by}": value for name, value in summary.items()}, batch_size=1)
