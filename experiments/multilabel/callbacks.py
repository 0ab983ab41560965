"""Several labels a sample: prediction thresholds chosen on the validation sample."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from experiments.core.callbacks.evaluation import data_of_each, placed, plain_modules
from experiments.core.callbacks.instrument import Instrument
from lightning_modules.base import LectureModule
from lightning_modules.label_losses import label_scores

# Candidate thresholds: .01 to .99.
THRESHOLDS = torch.arange(1, 100) / 100


class LabelThreshold(Instrument):
    """Tests again with the threshold that is best on the validation sample, separately for each metric.

    This makes the comparison of losses independent of their default prediction rules. Scores are the sigmoid of the
    outputs, or their softmax for `label_softmax`; a label is predicted if its score exceeds the threshold. Recorded
    after the test: `test/exact_match/tuned` and `test/micro_f1/tuned`; `test/exact_match/labels=0` and so on, the exact
    match among the test samples with that number of labels, if there are any; and the thresholds,
    `threshold/exact_match` and `threshold/micro_f1`. Slide "Multi-label".
    """

    def __init__(self) -> None:
        super().__init__()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module whose loss is not for several labels per sample."""
        if plain_modules(pl_module, self)[0].criterion.kind != "labels":
            raise ValueError("LabelThreshold needs a loss of several labels a sample, such as bce")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the thresholds, and record the test metrics with them."""
        pairs = zip(plain_modules(pl_module, self), data_of_each(trainer), strict=True)
        rows = [_tuned(module, data) for module, data in pairs]
        # Not every seed has test samples with each number of labels.
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
    """Compute the share of the samples whose labels are all correct: two (n, labels) bool to ()."""
    return (predicted == targets).all(1).float().mean()


def micro_f1(predicted: Tensor, targets: Tensor) -> Tensor:
    """Compute F1 over all labels of all samples, 0 if no label is predicted or present: two (n, labels) bool to ()."""
    return 2 * (predicted & targets).sum() / (predicted.sum() + targets.sum()).clamp(min=1)


COUNTS = {"exact_match": exact_match, "micro_f1": micro_f1}


def best_threshold(count: str, scores: Tensor, targets: Tensor) -> float:
    """Return the element of `THRESHOLDS` with the largest metric; the middle one if several are equal."""
    values = torch.stack([COUNTS[count](scores > threshold, targets) for threshold in THRESHOLDS])
    best = (values == values.max()).nonzero().flatten()
    return float(THRESHOLDS[best[len(best) // 2]])
