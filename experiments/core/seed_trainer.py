"""One seed of a stack: what it brings, and what its callbacks and loggers take for their trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from datamodules.base import InMemoryDataModule
from experiments.core.dashboards import log_scalars
from lightning_modules.base import LectureModule


@dataclass(frozen=True)
class Member:
    """What one seed brings into a stack."""

    callbacks: list[Callback]
    loggers: list[Logger]
    module: LectureModule
    data: InMemoryDataModule
    directory: Path


class SeedTrainer:
    """What a seed's callbacks and loggers take for their trainer: their own results, and for the rest the real one.

    Args:
        lead: the trainer that trains the stack.
        member: of this seed.
        metrics: of this seed, as the stack logs them.
    """

    def __init__(self, lead: Trainer, member: Member, metrics: dict[str, Tensor]) -> None:
        self._lead = lead
        self.callbacks = list(member.callbacks)
        self.loggers = list(member.loggers)
        self.default_root_dir = str(member.directory)
        self.lightning_module = member.module
        self.datamodule = member.data
        self.callback_metrics = metrics
        # What callbacks log through the module, which has no trainer.
        member.module.log_dict = lambda logged, **_: metrics.update(logged)  # type: ignore[method-assign]
        self.should_stop = False
        # Epoch and step at which this seed's training ended before that of the others.
        self.ended: tuple[int, int] | None = None
        self.checkpoints: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lead, name)

    @property
    def current_epoch(self) -> int:
        """Epochs that this seed has been through."""
        return self.ended[0] if self.ended else self._lead.current_epoch

    @property
    def global_step(self) -> int:
        """Steps that this seed has made."""
        return self.ended[1] if self.ended else self._lead.global_step

    @property
    def logger(self) -> Any:
        """The first logger."""
        return self.loggers[0] if self.loggers else None

    def save_checkpoint(self, filepath: str | Path, weights_only: bool | None = None, **_storage: Any) -> None:
        """Keep what a checkpoint of this seed holds; it is written once, at the end."""
        module = self.lightning_module
        self.checkpoints[str(filepath)] = {
            "epoch": self.current_epoch,
            "global_step": self.global_step,
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": {name: value.clone() for name, value in module.state_dict().items()},
            "hparams_name": "kwargs",
            "hyper_parameters": dict(module.hparams),
        }

    def write_checkpoints(self) -> None:
        """Write the checkpoints that are kept."""
        for path, content in self.checkpoints.items():
            self._lead.strategy.checkpoint_io.save_checkpoint(content, path)

    def load_weights(self, path: Path) -> None:
        """Give the module the weights of a checkpoint that is kept."""
        self.lightning_module.load_state_dict(self.checkpoints[str(path)]["state_dict"])

    def log(self, names: Callable[[str], bool], step: int) -> None:
        """Hand the metrics of the module to the loggers."""
        chosen = {name: float(value) for name, value in self.callback_metrics.items() if names(name)}
        log_scalars(self.loggers, {**chosen, "epoch": self.current_epoch}, step)
