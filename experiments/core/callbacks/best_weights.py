"""Keeps the weights with the best validation, of one network or of each network of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from experiments.core.callbacks.monitor import SIGNS, monitored
from lightning_modules.stack import Stack

# Prefix of the names of a network's parameters in its module.
PREFIX = "network."


class BestWeights(Checkpoint):
    """Keeps the weights with the best validation in memory, and writes them once, after the fit: `best.ckpt`.

    The file holds weights and hyper-parameters, as `load_from_checkpoint` needs them, and no state of an optimiser.
    Networks that are trained in a stack have their own best, and their own file.

    Args:
        monitor: what is compared after each validation; None for the weights of the last one.
        mode: min or max: which of two values is better.
        dirpath: where the file is written; the default root directory's `checkpoints` if not given.
        filename: without its ending.

    Raises:
        ValueError: another mode; when the fit begins, a value to monitor that is not logged.
    """

    stackable: ClassVar[bool] = True

    def __init__(
        self, monitor: str | None = "val/loss", mode: str = "min", dirpath: str | None = None, filename: str = "best"
    ) -> None:
        if mode not in SIGNS:
            raise ValueError(f"mode must be min or max, not {mode!r}")
        self.monitor = monitor
        self.mode = mode
        self.dirpath = dirpath
        self.filename = filename
        # (networks,); infinite for a network that was never validated.
        self.scores = torch.empty(0)
        self.weights: dict[str, Tensor] = {}
        self.when: dict[int, tuple[int, int]] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the state of an earlier fit."""
        self.scores, self.weights, self.when = torch.empty(0), {}, {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of the networks that have improved."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor is None:
            networks = len(pl_module.plain) if isinstance(pl_module, Stack) else 1
            values = torch.full((networks,), -float(trainer.global_step))
        else:
            values = SIGNS[self.mode] * monitored(trainer, pl_module, self.monitor, self)
        if not len(self.scores):
            self.scores = torch.full_like(values, torch.inf)
        ended = pl_module.finished_at if isinstance(pl_module, Stack) else {}
        better = [k for k in (values < self.scores).nonzero().flatten().tolist() if k not in ended]
        if not better:
            return
        rows = torch.tensor(better, device=values.device)
        self.scores[rows] = values[rows]
        for name, value in _state(pl_module).items():
            if name not in self.weights:
                self.weights[name] = value.clone()
            self.weights[name][rows] = value[rows]
        self.when |= dict.fromkeys(better, (trainer.current_epoch, trainer.global_step))

    def state_of(self, network: int = 0) -> dict[str, Tensor] | None:
        """Return the best weights of a network; None if it was never validated."""
        return {name: value[network] for name, value in self.weights.items()} if network in self.when else None

    def load(self, pl_module: LightningModule, networks: Mapping[int, bool] | None = None) -> list[int]:
        """Load the best weights into the networks that have some.

        Args:
            pl_module: that was fitted.
            networks: which are asked for; all if not given.

        Returns:
            The networks that have got them.
        """
        found = {k: state for k in self.when if (networks or {}).get(k, True) and (state := self.state_of(k))}
        if isinstance(pl_module, Stack):
            pl_module.load_network_states(
                {k: {n.removeprefix(PREFIX): v for n, v in state.items()} for k, state in found.items()}
            )
        elif found:
            pl_module.load_state_dict(found[0])
        return sorted(found)

    def path(self, directory: Path | str) -> Path:
        """Return the path of the file of a network."""
        return Path(self.dirpath or Path(directory) / "checkpoints") / f"{self.filename}.ckpt"

    def write(self, trainer: Trainer, module: LightningModule, directory: Path | str, network: int = 0) -> Path | None:
        """Write the file of a network if it was validated.

        Args:
            trainer: of the fit.
            module: plain, of this network.
            directory: of the run.
            network: its index in the stack.
        """
        state, path = self.state_of(network), self.path(directory)
        if state is None:
            return None
        epoch, step = self.when[network]
        content: dict[str, Any] = {
            "epoch": epoch,
            "global_step": step,
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": state,
            module.CHECKPOINT_HYPER_PARAMS_NAME: "kwargs",
            module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams),
        }
        trainer.strategy.checkpoint_io.save_checkpoint(content, path)
        return path

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file of a plain module; `test_and_write_results` writes those of a stack."""
        if not isinstance(pl_module, Stack) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.write(trainer, pl_module, trainer.default_root_dir)


def _state(pl_module: LightningModule) -> dict[str, Tensor]:
    """Return parameters and buffers, (networks, …), by their names in a plain module."""
    if isinstance(pl_module, Stack):
        return {f"{PREFIX}{name}": value for name, value in pl_module.network.network.state_dict().items()}
    return {name: value.unsqueeze(0) for name, value in pl_module.state_dict().items()}
