"""Callbacks and a data module that make common mistakes or interrupt the training, for this experiment only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from datamodules import Digits
from datamodules.loader import OrderedLoader


class KeptGradients(Callback):
    """Trains without `zero_grad`: each step uses the sum of all gradients so far."""

    def __init__(self) -> None:
        self._kept: dict[nn.Parameter, Tensor] = {}

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Save the gradients before they are reset."""
        self._kept = {p: p.grad.clone() for p in pl_module.parameters() if p.grad is not None}

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the saved gradients."""
        for parameter, gradient in self._kept.items():
            if parameter.grad is not None:
                parameter.grad += gradient


class RectifiedLogits(Callback):
    """Applies a ReLU to the outputs, which the cross-entropy uses as logits."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Change the outputs of the network in training, validation and test."""
        network = pl_module.network
        assert isinstance(network, nn.Module)
        network.register_forward_hook(lambda _module, _inputs, outputs: torch.relu(outputs))


class Interruption(Callback):
    """Interrupts the training: saves a checkpoint, erases weights and optimiser state, and resumes from the file.

    Args:
        epoch: epoch, counted from 0, before which the training is interrupted.
        optimizer_state: whether the optimiser's state is restored too.
    """

    def __init__(self, epoch: int, optimizer_state: bool) -> None:
        if epoch < 1:
            raise ValueError(f"epoch must be at least 1, so that there is something to resume; it is {epoch}")
        self.epoch = epoch
        self.optimizer_state = optimizer_state

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Interrupt and resume the training."""
        if trainer.current_epoch != self.epoch:
            return
        path = Path(trainer.default_root_dir) / "checkpoints" / "interrupted.ckpt"
        trainer.save_checkpoint(path)
        (optimizer,) = trainer.optimizers
        # As in a new process: random weights and an empty optimiser state.
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(0))
        optimizer.state.clear()
        saved = torch.load(path, weights_only=True)
        pl_module.load_state_dict(saved["state_dict"])
        if self.optimizer_state:
            optimizer.load_state_dict(saved["optimizer_states"][0])


@dataclass(kw_only=True, eq=False)
class OrderedDigits(Digits):
    """Digits whose training samples are shuffled in every epoch, or sorted by class.

    Args:
        order: shuffled, or by_class (all zeros, then all ones, and so on).
    """

    order: Literal["shuffled", "by_class"] = "shuffled"

    def train_dataloader(self) -> OrderedLoader:
        """Return the batches of the training split, shuffled by seed and epoch, or by class."""
        if self.order == "by_class":
            x, y = self.train
            rank = y.argsort(stable=True)
            self.train = (x[rank], y[rank])
        loader = super().train_dataloader()
        loader.order.shuffle = self.order == "shuffled"
        return loader
