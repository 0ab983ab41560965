"""Records the optimisation that was applied, from optimiser, loader and trainer."""

from __future__ import annotations

import math
from typing import Any

from lightning import LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from datamodules.base import InMemoryDataModule
from datamodules.loader import OrderedLoader
from experiments.core.callbacks.evaluation import data_of_each
from experiments.core.callbacks.gradient_clipping import GradientClipping
from experiments.core.callbacks.instrument import callbacks_of
from lightning_modules.stack import Stack

# Arguments that change how torch computes a step, not its result.
HOW = ("foreach", "fused", "capturable", "differentiable")


class OptimizationRecord:
    """Records the learning rate of every optimiser step, and the section `applied` of `result.json`.

    The rates are read when the optimiser steps, whatever schedule or callback has set them; `first` and `last` are
    those of the first and the last step.
    """

    def __init__(self) -> None:
        # Optimiser steps of this fit, including those before it was resumed.
        self.steps = 0
        self._first: float | None = None
        self.last: float | None = None
        self._section: dict[str, Any] = {}
        self._seeds: list[dict[str, Any]] = []
        self._handle: RemovableHandle | None = None

    def start(self, trainer: Trainer, module: LightningModule) -> None:
        """Record the optimisers and start to count; call it in `on_train_start`.

        Args:
            trainer: of the fit.
            module: a plain one, or a stack.
        """
        optimizer = trainer.optimizers[0]
        self._handle = optimizer.register_step_pre_hook(self._note)
        modules = module.plain if isinstance(module, Stack) else [module]
        data = data_of_each(trainer) or [None]
        self._seeds = [
            {"model": getattr(m, "seed", None), "data": getattr(d, "seed", None)}
            for m, d in zip(modules, data, strict=True)
        ]
        module = modules[0]
        self._section = {
            "optimizer": _optimizer(optimizer),
            "schedule": {
                "name": getattr(module, "schedule", None),
                "warmup": getattr(module, "warmup", None),
                "steps": _steps(trainer),
            },
            "clipping": _clipping(trainer),
            "batches": _batches(trainer),
        }

    def stop(self) -> None:
        """Remove the hooks; call it in `on_train_end`."""
        if self._handle is not None:
            self._handle.remove()

    def section(self, network: int = 0, last: float | None = None) -> dict[str, Any]:
        """Return what was applied, as plain values; empty before the training.

        Args:
            network: of a stack.
            last: the learning rate of its last step; that of the last step of all if not given.
        """
        if not self._section:
            return {}
        rates = {"first": self._first, "last": self.last if last is None else last}
        return {"seed": self._seeds[network], **self._section, "lr": rates}

    def _note(self, optimizer: Optimizer, *_: Any) -> None:
        self.steps += 1
        self.last = optimizer.param_groups[0]["lr"]
        if self._first is None:
            self._first = self.last


def _steps(trainer: Trainer) -> int | None:
    """Return the optimiser steps of the training; None if only a callback or a time limit ends it."""
    try:
        steps = trainer.estimated_stepping_batches
    except MisconfigurationException:  # a callback changes how many batches make a step
        return None
    return int(steps) if steps > 0 and math.isfinite(steps) else None


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimiser's class and arguments, with the largest learning rate of the schedule."""
    group = optimizer.param_groups[0]
    arguments = {name: value for name, value in group.items() if name in optimizer.defaults and name not in HOW}
    arguments["lr"] = group.get("max_lr", group.get("initial_lr", group["lr"]))
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    return {"class": type(optimizer).__name__, **plain}


def _clipping(trainer: Trainer) -> dict[str, float] | None:
    """Return what clipping bounds (the norm of the gradient or its values) and the bound; None without clipping."""
    for callback in callbacks_of(trainer, GradientClipping):
        return {"norm": callback.max_norm}
    if trainer.gradient_clip_val is None:
        return None
    return {str(trainer.gradient_clip_algorithm or "norm").rpartition(".")[2].lower(): trainer.gradient_clip_val}


def _batches(trainer: Trainer) -> dict[str, Any]:
    """Return size and number of the batches of an epoch, batches per step, and the order of the samples."""
    loader = trainer.train_dataloader
    data = (data_of_each(trainer) or [None])[0]
    return {
        "size": data.batch_size if isinstance(data, InMemoryDataModule) else getattr(loader, "batch_size", None),
        "per_epoch": trainer.num_training_batches,
        "per_step": trainer.accumulate_grad_batches,
        # None for a loader of another project.
        "shuffled": loader.order.shuffle if isinstance(loader, OrderedLoader) else None,
    }
