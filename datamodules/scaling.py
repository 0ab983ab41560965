"""Mean and standard deviation of the training split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from datamodules.streaming import Unread


def standardization(x: Tensor, *, per_feature: bool) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (divided by n) to standardise with; 1 where nothing varies.

    Args:
        x: inputs of the training split, (n, features) or (n, channels, …).
        per_feature: one pair a feature, shaped like a sample; otherwise one a channel, (channels, 1, …), which is one
            for all features where a sample has a single axis.
    """
    groups, shape = groups_of(x.shape[1:], per_feature)
    # Double precision: the rounded result must not depend on the order in which threads add.
    columns = x.double().reshape(len(x), groups, -1).transpose(0, 1).reshape(groups, -1)
    std = columns.std(dim=1, correction=0).where(columns.amax(dim=1) > columns.amin(dim=1), 1.0)
    return columns.mean(dim=1).float().reshape(shape), std.float().reshape(shape)


def groups_of(sample: Sequence[int], per_feature: bool) -> tuple[int, tuple[int, ...]]:
    """How many groups of numbers have statistics of their own, and the shape of these."""
    if per_feature:
        return math.prod(sample), tuple(sample)
    channels = sample[0] if len(sample) > 1 else 1
    return channels, (channels, *[1] * (len(sample) - 1))


def standardization_of(inputs: Unread, columns: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation (divided by n) in two passes over inputs that are never all in memory.

    Args:
        inputs: of the training split.
        columns: turns inputs into numbers whose columns have statistics of their own, (rows, columns), in double
            precision.

    Returns:
        Mean and standard deviation of each column; the latter 0 where nothing varies.
    """
    count, total = 0, torch.zeros(())
    for part in map(columns, inputs.chunks()):
        count, total = count + len(part), total + part.sum(0)
    mean = total / count
    squares = sum((part - mean).square().sum(0) for part in map(columns, inputs.chunks()))
    assert isinstance(squares, Tensor)
    return mean, (squares / count).sqrt()
