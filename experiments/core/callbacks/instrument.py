"""What every measuring callback shares: numbers stay on the device and reach the host in blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar
from weakref import WeakKeyDictionary

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lightning_modules.stack import Stack

C = TypeVar("C", bound=Callback)


class Row(NamedTuple):
    """One recorded number. `step` counts optimiser steps taken before it: 0 is the state at initialisation."""

    epoch: int
    step: int
    name: str
    value: float


class Instrument(Callback):
    """A callback that records numbers every `every_n_steps` optimiser steps, beginning with step 0.

    In a stack every seed has its own. Some hooks may be called for all of them at once, with the stack in place of the
    module: those that `hooks_for_all` names, and of the first seed's instrument only.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1; it is {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._pending: list[tuple[int, int, Sequence[str], Tensor]] = []
        # In a stack: index, trainer and instrument of each seed that is still trained.
        self.receivers: Callable[[], Sequence[tuple[int, Trainer, Self]]] = list

    def hooks_for_all(self, stack: Stack) -> Sequence[str]:
        """Hooks that measure all seeds of the stack at once; none, if they are asked one by one."""
        return ()

    def is_due(self, trainer: Trainer) -> bool:
        """Whether this step is recorded."""
        return trainer.global_step % self.every_n_steps == 0

    def record(self, trainer: Trainer, names: Sequence[str], values: Sequence[Tensor] | Tensor) -> None:
        """Keep scalars of this step, without moving them to the host."""
        if names:
            stacked = values if isinstance(values, Tensor) else torch.stack([v.detach().double() for v in values])
            self._pending.append((trainer.current_epoch, trainer.global_step, names, stacked))

    def each(self, trainer: Trainer, pl_module: LightningModule) -> Sequence[tuple[int, Trainer, Self]]:
        """Index, trainer and instrument of every network that is measured: one, or those of a stack."""
        return self.receivers() if isinstance(pl_module, Stack) else [(0, trainer, self)]

    def record_each(
        self, trainer: Trainer, pl_module: LightningModule, names: Sequence[str], values: Sequence[Tensor]
    ) -> None:
        """Keep scalars of this step, (networks,) each, every network's with its own instrument."""
        if names:
            columns = torch.stack([value.detach().double() for value in values], dim=1)
            for index, own, instrument in self.each(trainer, pl_module):
                instrument.record(own, names, columns[index])

    def drain(self) -> list[Row]:
        """Hand over, and forget, everything recorded since the last call: one transfer to the host."""
        if not self._pending:
            return []
        pending, self._pending = self._pending, []
        values = iter(torch.cat([stacked for *_, stacked in pending]).tolist())
        return [Row(epoch, step, name, next(values)) for epoch, step, names, _ in pending for name in names]


class LayerInstrument(Instrument, ABC):
    """An instrument of a network's non-linearities, or of those of all networks of a stack at once.

    What it sees leads with the axes of the networks, one of them outside a stack, and of the samples.

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        self._handles: list[RemovableHandle] = []

    def hooks_for_all(self, stack: Stack) -> Sequence[str]:
        """All of them, where the stack has the layers."""
        hooks = ("on_train_batch_start", "on_after_backward", "on_validation_epoch_start", "on_validation_epoch_end")
        return hooks if stack.network.layerwise else ()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Watch a recorded step, and no other."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            self._handles = self.watch(pl_module, trainer.accumulate_grad_batches)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure what was seen in this step: gradients are still unclipped."""
        if self._handles:
            self.stop_watching()
            self.measure(trainer, pl_module)

    @abstractmethod
    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Begin to watch; `batches` are accumulated in this step."""

    @abstractmethod
    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what was seen."""

    def stop_watching(self) -> None:
        """Let go of the network."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def callbacks_of(trainer: Trainer, kind: type[C]) -> list[C]:
    """The trainer's callbacks of one kind."""
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]


def non_linearities(network: nn.Module) -> dict[str, nn.Module]:
    """The activation modules of a network in forward order, keyed `layer_01`, `layer_02`, …, nearest the input first.

    An activation module is one that its parent holds under the name `activation` (see `lightning_modules`).
    """
    found = [module for name, module in network.named_modules() if name.split(".")[-1] == "activation"]
    return {f"layer_{index:02d}": module for index, module in enumerate(found, start=1)}


def by_network(pl_module: LightningModule, a: Tensor) -> Tensor:
    """Turn pre-activations, or their gradients, as a plain module or a stack computes them.

    Returns:
        (networks, samples, units, …), a view.
    """
    return a.transpose(1, 2) if isinstance(pl_module, Stack) else a.unsqueeze(0)


def watch_inputs(
    pl_module: LightningModule, modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]
) -> list[RemovableHandle]:
    """Call `see(name, a)` with the input of each module at every forward pass, until the handles are removed.

    Args:
        pl_module: a plain module or a stack.
        modules: parts of it.
        see: is given a, (networks, samples, units, …), without its graph.
    """
    return _before_each(modules, lambda name, a: see(name, by_network(pl_module, a.detach())))


def watch_gradients(
    pl_module: LightningModule, modules: Mapping[str, nn.Module], batches: int, see: Callable[[str, Tensor], None]
) -> list[RemovableHandle]:
    """Call `see(name, delta_a)` in the backward pass: the gradient of one sample's loss, the mean loss's × batch size.

    Args:
        pl_module: a plain module or a stack.
        modules: parts of it, whose inputs are the pre-activations a.
        batches: batches whose gradients are accumulated in one step; Lightning divides each loss by it.
        see: is given delta_a, (networks, samples, units, …).
    """

    def watch(name: str, a: Tensor) -> None:
        def see_delta(gradient: Tensor) -> None:
            delta = by_network(pl_module, gradient.detach())
            see(name, delta * (delta.shape[1] * batches))

        if a.requires_grad:
            a.register_hook(see_delta)  # type: ignore[no-untyped-call]

    return _before_each(modules, watch)


def _before_each(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]) -> list[RemovableHandle]:
    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: see(name, inputs[0])

    return [module.register_forward_pre_hook(hook_for(name)) for name, module in modules.items()]


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
