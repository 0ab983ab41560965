"""Measures of a run, and a contrast of two runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.core.grid.runs import Run

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "checkpoints/last.ckpt"


def loss_decades(run: Run) -> float:
    """log10 of the training loss of the last epoch."""
    loss = run["train/loss"]
    return math.log10(loss) if loss > 0 else math.nan


def weight_norm(run: Run) -> float:
    """Euclidean norm of all parameters in the last checkpoint."""
    return float(sum(float(tensor.double().square().sum()) for tensor in _weights(run).values()) ** 0.5)


def weight_difference(points: Sequence[tuple[Run, float]]) -> float:
    """Contrast: largest difference of any parameter between two runs' last checkpoints; 0 if they are equal."""
    (one, _), (other, _) = points
    theirs = _weights(other)
    return max(float((tensor - theirs[name]).abs().max()) for name, tensor in _weights(one).items())


def _weights(run: Run) -> Mapping[str, Tensor]:
    from experiments.core.files.checkpoints import read_checkpoint

    weights: Mapping[str, Tensor] = read_checkpoint(run.directory / CHECKPOINT)["state_dict"]
    return weights
