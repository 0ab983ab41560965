"""What every measuring callback shares: numbers stay on the device and reach the host in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

C = TypeVar("C", bound=Callback)


class Row(NamedTuple):
    """One recorded number. `step` counts optimiser steps taken before it: 0 is the state at initialisation."""

    epoch: int
    step: int
    name: str
    value: float


class Instrument(Callback):
    """A callback that records numbers every `every_n_steps` optimiser steps, beginning with step 0."""

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1; it is {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._pending: list[tuple[int, int, Sequence[str], Tensor]] = []

    def is_due(self, trainer: Trainer) -> bool:
        """Whether this step is recorded."""
        return trainer.global_step % self.every_n_steps == 0

    def record(self, trainer: Trainer, names: Sequence[str], values: Sequence[Tensor]) -> None:
        """Keep scalars of this step, without moving them to the host."""
        if names:
            stacked = torch.stack([value.detach().double() for value in values])
            self._pending.append((trainer.current_epoch, trainer.global_step, names, stacked))

    def drain(self) -> list[Row]:
        """Hand over, and forget, everything recorded since the last call: one transfer to the host."""
        if not self._pending:
            return []
        pending, self._pending = self._pending, []
        values = iter(torch.cat([stacked for *_, stacked in pending]).tolist())
        return [Row(epoch, step, name, next(values)) for epoch, step, names, _ in pending for name in names]


def callbacks_of(trainer: Trainer, kind: type[C]) -> list[C]:
    """The trainer's callbacks of one kind."""
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]


def non_linearities(network: nn.Module) -> dict[str, nn.Module]:
    """The activation modules of a network in forward order, keyed `layer_01`, `layer_02`, …, nearest the input first.

    An activation module is one that its parent holds under the name `activation` (see `lightning_modules`).
    """
    found = [module for name, module in network.named_modules() if name.split(".")[-1] == "activation"]
    return {f"layer_{index:02d}": module for index, module in enumerate(found, start=1)}


def watch_inputs(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]) -> list[RemovableHandle]:
    """Call `see(name, a)` with the input of each module at every forward pass, until the handles are removed."""

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: see(name, inputs[0])

    return [module.register_forward_pre_hook(hook_for(name)) for name, module in modules.items()]


def watch_gradient(a: Tensor, batches: int, see: Callable[[Tensor], None]) -> None:
    """Call `see(delta_a)` in the backward pass: the gradient of one sample's loss, the mean loss's × batch size.

    Args:
        a: pre-activations, (batch, units).
        batches: batches whose gradients are accumulated in one step; Lightning divides each loss by it.
        see: is given delta_a, (batch, units).
    """
    if a.requires_grad:
        a.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: see(gradient.detach() * (gradient.shape[0] * batches))
        )


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the optimiser steps after this batch: under accumulation, after the last of several."""
    return trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def observed_layers(pl_module: LightningModule) -> dict[str, nn.Module]:
    """Return the non-linearities an instrument observes, looked for once: a network keeps its layers while it learns.

    Raises:
        ValueError: the network has none.
    """
    if pl_module not in _OBSERVED:
        found = non_linearities(pl_module)
        if not found:
            kind = type(pl_module).__name__
            raise ValueError(f"{kind} has no module named 'activation' for an instrument to observe")
        _OBSERVED[pl_module] = found
    return _OBSERVED[pl_module]


_OBSERVED: WeakKeyDictionary[nn.Module, dict[str, nn.Module]] = WeakKeyDictionary()
