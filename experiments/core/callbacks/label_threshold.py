"""Several labels a sample: the score above which a label is predicted, chosen on validation samples."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from experiments.core.callbacks.evaluation import placed
from lightning_modules.base import LectureModule
from lightning_modules.label_losses import label_scores

# The hundredths between 0 and 1.
THRESHOLDS = torch.arange(1, 100) / 100


class LabelThreshold(Callback):
    """Tests again with the threshold that is best on validation samples, for each way of counting its own.

    A loss that is compared with another must not lose by a rule that was made for the other. Scores are the sigmoid of
    the outputs, or their softmax after `label_softmax`; a label is predicted where its score is above the threshold.
    Logged: `test/exact_match/tuned` and `test/micro_f1/tuned`; `test/exact_match/labels=0` and so on, the first among
    the test samples that have so many labels, where there are some; the thresholds, `threshold/exact_match` and
    `threshold/micro_f1`. Slide "Multi-label".
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not learn several labels a sample."""
        if not isinstance(pl_module, LectureModule) or "exact_match" not in pl_module.criterion.totals:
            raise ValueError("LabelThreshold needs a loss of several labels a sample, such as bce")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier pass."""
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the batch."""
        self._outputs.append(pl_module(batch[0]))
        self._targets.append(batch[1])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the thresholds, and log what they give."""
        assert isinstance(pl_module, LectureModule)  # `setup` lets no other pass
        loader: Any = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        batches = [(pl_module(x), y) for x, y in (placed(pl_module, batch) for batch in loader)]
        scores = label_scores(pl_module.loss)
        val_scores, val_targets = (torch.cat(part) for part in zip(*batches, strict=True))
        val_scores, val_targets = scores(val_scores), val_targets > 0.5
        outputs, targets = torch.cat(self._outputs), torch.cat(self._targets)
        thresholds = {count: best_threshold(count, val_scores, val_targets) for count in COUNTS}
        tuned = {name: scores(outputs) > threshold for name, threshold in thresholds.items()}
        logged = {f"test/{name}/tuned": count(tuned[name], targets > 0.5) for name, count in COUNTS.items()}
        logged |= {f"threshold/{name}": torch.tensor(threshold) for name, threshold in thresholds.items()}
        numbers = (targets > 0.5).sum(1)
        for number in range(targets.shape[1] + 1):
            rows = numbers == number
            if rows.any():
                share = exact_match(tuned["exact_match"][rows], targets[rows] > 0.5)
                logged[f"test/exact_match/labels={number}"] = share
        pl_module.log_dict(logged, batch_size=1)


def exact_match(predicted: Tensor, targets: Tensor) -> Tensor:
    """Share of the samples all of whose labels are right: (n, labels) bool each."""
    return (predicted == targets).all(1).float().mean()


def micro_f1(predicted: Tensor, targets: Tensor) -> Tensor:
    """F1 over all labels of all samples, 0 where nothing is predicted and nothing there: (n, labels) bool each."""
    return 2 * (predicted & targets).sum() / (predicted.sum() + targets.sum()).clamp(min=1)


COUNTS = {"exact_match": exact_match, "micro_f1": micro_f1}


def best_threshold(count: str, scores: Tensor, targets: Tensor) -> float:
    """Of `THRESHOLDS`, find the one with the largest exact match or micro-F1; of several, the one in their middle."""
    values = torch.stack([COUNTS[count](scores > threshold, targets) for threshold in THRESHOLDS])
    best = (values == values.max()).nonzero().flatten()
    return float(THRESHOLDS[best[len(best) // 2]])
