"""The base of all instruments: numbers stay on the device and reach the loggers in blocks.

A callback sees one network or a stack of several: what it measures leads with the axis of the networks, of length 1
for a plain module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from experiments.core.callbacks.loggers import log_networks
from lightning_modules.stack import Stack

C = TypeVar("C", bound=Callback)


# `stackable` of a callback that needs a stack whose layers compute for all networks at once.
LAYERWISE = "layerwise"


class Instrument(Callback):
    """A callback that measures every `every_n_steps` optimiser steps, from 0 on, and logs the numbers.

    A subclass measures in hooks of its own and calls `record`; the numbers leave the device at the end of each epoch,
    after the training and after a test.
    """

    # Whether the callback measures each network of a stack as it would measure the network alone.
    stackable: ClassVar[bool | str] = True

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1; it is {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._pending: list[tuple[int, int, list[str], Tensor]] = []

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether this step is recorded."""
        return trainer.global_step % self.every_n_steps == 0

    def record(self, trainer: Trainer, names: Sequence[str], values: Sequence[Tensor]) -> None:
        """Store numbers of this step on the device.

        Args:
            trainer: of the fit.
            names: of the numbers.
            values: one for each name: of one network, (), or of each, (networks,).
        """
        if names:
            columns = torch.stack([value.detach().double().reshape(-1) for value in values], dim=1)
            self._pending.append((trainer.current_epoch, trainer.global_step, list(names), columns))

    def flush(self, trainer: Trainer, *, final: bool = False) -> None:
        """Log everything recorded since the last call, with one transfer to the host."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        widths = [columns.shape[1] for *_, columns in pending]
        blocks = torch.cat([columns for *_, columns in pending], dim=1).cpu()
        for (epoch, step, names, _), block in zip(pending, torch.split(blocks, widths, dim=1), strict=True):
            log_networks(trainer.loggers, names, block, epoch=epoch, step=step, final=final)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers of the epoch."""
        self.flush(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers measured after the last epoch."""
        self.flush(trainer, final=True)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers of the test."""
        self.flush(trainer, final=True)


class LayerInstrument(Instrument, ABC):
    """An instrument of a network's non-linearities.

    Args:
        every_n_steps: optimiser steps between two records, beginning with step 0.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__(every_n_steps)
        self._handles: list[RemovableHandle] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Register hooks if the step is recorded."""
        if self.is_due(trainer) and ends_step(trainer, batch_idx):
            self._handles = self.watch(pl_module, trainer.accumulate_grad_batches)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure this step, before gradients are clipped."""
        if self._handles:
            self.stop_watching(pl_module)
            self.measure(trainer, pl_module)

    @abstractmethod
    def watch(self, pl_module: LightningModule, batches: int) -> list[RemovableHandle]:
        """Register hooks; this step accumulates `batches` batches."""

    @abstractmethod
    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the observed values."""

    def stop_watching(self, pl_module: LightningModule) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if isinstance(pl_module, Stack):
            pl_module.network.run_separately = False


def callbacks_of(trainer: Trainer, kind: type[C]) -> list[C]:
    """Return the trainer's callbacks of one class."""
    return [callback for callback in trainer.callbacks if isinstance(callback, kind)]  # type: ignore[attr-defined]


def stop(trainer: Trainer, pl_module: LightningModule, networks: Tensor) -> None:
    """Stop the marked networks, (networks,) bool, at the end of this epoch."""
    marked = networks.nonzero().flatten().tolist()
    if isinstance(pl_module, Stack):
        pl_module.finish(marked)
    elif marked:
        trainer.should_stop = True


def non_linearities(network: nn.Module) -> dict[str, nn.Module]:
    """Return the activation modules of a network by `layer_01`, `layer_02`, …, nearest the input first.

    An activation module is one that its parent holds under the name `activation` (see `lightning_modules`); where there
    is none, every module of torch's that is an activation function.
    """
    named = [(name.split(".")[-1], module) for name, module in network.named_modules()]
    found = [module for name, module in named if name == "activation"]
    functions = [module for _, module in named if type(module).__module__ == "torch.nn.modules.activation"]
    found = found or [module for module in functions if not isinstance(module, nn.MultiheadAttention)]
    return {f"layer_{index:02d}": module for index, module in enumerate(found, start=1)}


class Seen:
    """The values that hooks see in each layer, for all networks at once or one after the other.

    Args:
        keep: from what was seen of a layer before, and what is seen now, to what is kept; the latter if not given.
    """

    def __init__(self, keep: Callable[[Tensor, Tensor], Tensor] = lambda _before, now: now) -> None:
        self._keep = keep
        self._parts: dict[str, dict[int, Tensor]] = {}

    def add(self, name: str, index: int, value: Tensor) -> None:
        """Store values of a layer, (networks, …), starting at the network with this index."""
        parts = self._parts.setdefault(name, {})
        parts[index] = self._keep(parts[index], value) if index in parts else value

    def collect(self) -> dict[str, Tensor]:
        """Return and clear the values of each layer, (networks, …), nearest the input first."""
        parts, self._parts = self._parts, {}
        return {name: torch.cat([found[index] for index in sorted(found)]) for name, found in sorted(parts.items())}


def watch_inputs(pl_module: LightningModule, layers: Layers, seen: Seen) -> list[RemovableHandle]:
    """Observe the input a of each layer in every forward pass, (networks, samples, units, …), detached.

    Args:
        pl_module: a plain module or a stack.
        layers: see `observed_layers`.
        seen: takes them, until the handles are removed.
    """
    at_once = _at_once(pl_module)
    return _before_each(
        pl_module, layers, lambda name, index, a: seen.add(name, index, _by_network(a.detach(), at_once))
    )


def watch_gradients(pl_module: LightningModule, layers: Layers, batches: int, seen: Seen) -> list[RemovableHandle]:
    """Observe delta_a in the backward pass, (networks, samples, units, …).

    It is the gradient of one sample's loss with respect to the layer's input: that of the mean loss × batch size.

    Args:
        pl_module: a plain module or a stack.
        layers: see `observed_layers`.
        batches: batches whose gradients are accumulated in one step; Lightning divides each loss by it.
        seen: takes them, until the handles are removed.
    """
    # Tensor hooks must not refer to the module: with the graph, they would form a reference cycle that is never freed.
    at_once = _at_once(pl_module)

    def watch(name: str, index: int, a: Tensor) -> None:
        def see_delta(gradient: Tensor) -> None:
            delta = _by_network(gradient.detach(), at_once)
            seen.add(name, index, delta * (delta.shape[1] * batches))

        if a.requires_grad:
            a.register_hook(see_delta)  # type: ignore[no-untyped-call]

    return _before_each(pl_module, layers, watch)


def _at_once(pl_module: LightningModule) -> bool:
    """Return whether each layer computes for several networks, on (networks, units, samples)."""
    return isinstance(pl_module, Stack) and pl_module.network.layerwise


def _by_network(a: Tensor, at_once: bool) -> Tensor:
    return a.transpose(1, 2) if at_once else a.unsqueeze(0)


def _before_each(
    pl_module: LightningModule, layers: Layers, see: Callable[[str, int, Tensor], None]
) -> list[RemovableHandle]:
    def hook_for(name: str, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: see(name, index, inputs[0])

    if isinstance(pl_module, Stack):
        pl_module.network.run_separately = True
    return [
        module.register_forward_pre_hook(hook_for(name, index))
        for name, modules in layers.items()
        for index, module in enumerate(modules)
    ]


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether the optimiser steps after this batch; with accumulation, after the last of several."""
    return trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def observed_layers(pl_module: LightningModule) -> Layers:
    """Return the non-linearities that an instrument observes; cached, since a network keeps its layers.

    One module for each layer, or one for each network of a stack that calls them one after the other.

    Raises:
        ValueError: the network has none.
    """
    if pl_module not in _OBSERVED:
        networks: Sequence[nn.Module] = [pl_module]
        if isinstance(pl_module, Stack):
            networks = [pl_module.network.network] if pl_module.network.layerwise else pl_module.network.plain
        found = [non_linearities(network) for network in networks]
        if not found[0]:
            kind = type(pl_module).__name__
            raise ValueError(f"{kind} has no activation module, such as one named 'activation', to observe")
        _OBSERVED[pl_module] = {name: [layers[name] for layers in found] for name in found[0]}
    return _OBSERVED[pl_module]


Layers = Mapping[str, Sequence[nn.Module]]
_OBSERVED: WeakKeyDictionary[nn.Module, Layers] = WeakKeyDictionary()
