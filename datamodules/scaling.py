"""Mean and standard deviation of the training split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from datamodules.streaming import LazyInputs


def standardization(x: Tensor, *, per_feature: bool) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (divided by n); the deviation of constant features is 1.

    Args:
        x: inputs of the training split, (n, features) or (n, channels, …).
        per_feature: whether each feature has its own statistics, shaped like a sample; otherwise each channel has,
            (channels, 1, …), or all features together if a sample has one axis.
    """
    groups, shape = statistic_groups(x.shape[1:], per_feature)
    # In double precision, so that the rounded result does not depend on the order of addition in threads.
    columns = x.double().reshape(len(x), groups, -1).transpose(0, 1).reshape(groups, -1)
    std = columns.std(dim=1, correction=0).where(columns.amax(dim=1) > columns.amin(dim=1), 1.0)
    return columns.mean(dim=1).float().reshape(shape), std.float().reshape(shape)


def statistic_groups(sample: Sequence[int], per_feature: bool) -> tuple[int, tuple[int, ...]]:
    """Return the number of groups with separate statistics, and the shape of the statistics."""
    if per_feature:
        return math.prod(sample), tuple(sample)
    channels = sample[0] if len(sample) > 1 else 1
    return channels, (channels, *[1] * (len(sample) - 1))


def streamed_standardization(inputs: LazyInputs, columns: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation (divided by n) in two passes over inputs that do not fit in memory.

    Args:
        inputs: inputs of the training split.
        columns: function from inputs to (rows, columns), in double precision; each column has separate statistics.

    Returns:
        Mean and standard deviation of each column; the deviation of a constant column is 0.
    """
    count, total = 0, torch.zeros(())
    for part in map(columns, inputs.chunks()):
        count, total = count + len(part), total + part.sum(0)
    mean = total / count
    squares = sum((part - mean).square().sum(0) for part in map(columns, inputs.chunks()))
    assert isinstance(squares, Tensor)
    return mean, (squares / count).sqrt()
