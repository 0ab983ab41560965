"""Several labels a sample: the score above which a label is predicted, chosen on validation samples."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from experiments.core.callbacks.evaluation import data_of_each, placed, plain_modules
from experiments.core.callbacks.instrument import Instrument
from lightning_modules.base import LectureModule
from lightning_modules.label_losses import label_scores

# The hundredths between 0 and 1.
THRESHOLDS = torch.arange(1, 100) / 100


class LabelThreshold(Instrument):
    """Tests again with the threshold that is best on validation samples, for each way of counting its own.

    A loss that is compared with another must not lose by a rule that was made for the other. Scores are the sigmoid of
    the outputs, or their softmax after `label_softmax`; a label is predicted where its score is above the threshold.
    Recorded after the test: `test/exact_match/tuned` and `test/micro_f1/tuned`; `test/exact_match/labels=0` and so on,
    the first among the test samples that have so many labels, where there are some; the thresholds,
    `threshold/exact_match` and `threshold/micro_f1`. Slide "Multi-label".
    """

    def __init__(self) -> None:
        super().__init__()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that does not learn several labels a sample."""
        if plain_modules(pl_module, self)[0].criterion.kind != "labels":
            raise ValueError("LabelThreshold needs a loss of several labels a sample, such as bce")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the thresholds, and record what they give."""
        pairs = zip(plain_modules(pl_module, self), data_of_each(trainer), strict=True)
        rows = [_tuned(module, data) for module, data in pairs]
        # Not every test sample has samples of each number of labels.
        names = dict.fromkeys(name for row in rows for name in row)
        nothing = torch.tensor(torch.nan)
        values = [torch.stack([row.get(name, nothing).double() for row in rows]) for name in names]
        self.record(trainer, list(names), values)
        super().on_test_end(trainer, pl_module)


@torch.no_grad()
def _tuned(module: LectureModule, data: Any) -> dict[str, Tensor]:
    module.eval()
    scores = label_scores(module.loss)

    def scored(loader: Any) -> tuple[Tensor, Tensor]:
        batches = [(module(x), y) for x, y in (placed(module, batch) for batch in loader)]
        outputs, targets = (torch.cat(part) for part in zip(*batches, strict=True))
        return scores(outputs), targets > 0.5

    validation = scored(data.val_dataloader())
    tested, targets = scored(data.test_dataloader())
    thresholds = {count: best_threshold(count, *validation) for count in COUNTS}
    tuned = {name: tested > threshold for name, threshold in thresholds.items()}
    found = {f"test/{name}/tuned": count(tuned[name], targets) for name, count in COUNTS.items()}
    found |= {f"threshold/{name}": torch.tensor(threshold) for name, threshold in thresholds.items()}
    numbers = targets.sum(1)
    for number in range(targets.shape[1] + 1):
        rows = numbers == number
        if rows.any():
            found[f"test/exact_match/labels={number}"] = exact_match(tuned["exact_match"][rows], targets[rows])
    return found


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
