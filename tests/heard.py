"""What callbacks hand to the trainer's loggers, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import lightning
from torch import Tensor

from experiments.core.callbacks.loggers import NetworkLogger


class Row(NamedTuple):
    """One number of one network."""

    epoch: int
    step: int
    name: str
    value: float


class Heard(NetworkLogger):
    """Keeps the numbers of the instruments, of the first network."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def log_networks(self, names: Sequence[str], values: Tensor, *, epoch: int, step: int, final: bool) -> None:
        self.rows += [Row(epoch, step, *pair) for pair in zip(names, values[0].tolist(), strict=True)]


def rows_of(trainer: lightning.Trainer) -> list[Row]:
    """All rows that a trainer's logger has heard."""
    (logger,) = trainer.loggers
    assert isinstance(logger, Heard)
    return logger.rows


def at_step(trainer: lightning.Trainer, step: int) -> dict[str, float]:
    """The numbers of one step."""
    return {row.name: row.value for row in rows_of(trainer) if row.step == step}
