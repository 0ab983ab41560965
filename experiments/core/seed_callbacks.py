"""Calling the callbacks of every seed of a stack, each when the trainer of that seed alone would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.optim import Optimizer

from experiments.core.callbacks import Divergence, GradientClipping
from experiments.core.callbacks.evaluation import evaluate
from experiments.core.callbacks.instrument import Instrument, callbacks_of
from experiments.core.seed_trainer import SeedTrainer
from lightning_modules.base import LectureModule
from lightning_modules.stack import Stack, clip_each, gradients_of, norms_of

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
    "on_train_batch_end",
)
# By hook: the index of the seed, and its callback.
Calls = dict[str, list[tuple[int, Callback]]]


def _hand_on(hook: str) -> Callable[..., None]:
    """Make a hook that has every seed's callbacks called and does no more."""

    def call(self: SeedCallbacks, *_trainer_and_module: Any) -> None:
        self._call_all(hook)

    return call


class SeedCallbacks(Callback):
    """Calls the callbacks of every seed as the trainer of that seed alone would.

    Clipping and the watch for divergence are computed for all seeds at once; the callbacks that asked for them get the
    results. An instrument is left alone at steps that it does not record.

    Args:
        stack: what is trained.
        trainers: one a seed.
    """

    def __init__(self, stack: Stack, trainers: Sequence[SeedTrainer]) -> None:
        self.stack = stack
        self.trainers = tuple(trainers)
        # Whose callbacks are called: of the training, until a seed's own ends; of the test, those that are tested.
        self.taking_part = [True for _ in trainers]
        self._clipping = _of_all(trainers, GradientClipping)
        self._divergence = _of_all(trainers, Divergence)
        first = trainers[0].callbacks
        # Instruments that measure all seeds at once, and with which hooks.
        self._shared = [(c, c.hooks_for_all(stack)) for c in first if isinstance(c, Instrument)]
        # The hooks that need not be called for every seed, by place in the seeds' lists, which are alike.
        self._for_all = [_hooks_for_all(callback, stack) for callback in first]
        for place, callback in enumerate(first):
            if isinstance(callback, Instrument):
                callback.receivers = partial(self._receivers, place)  # type: ignore[assignment]
        self._calls: dict[tuple[object, ...], Calls] = {}
        self._due: Calls = {}
        self._clipped = torch.zeros(len(trainers), dtype=torch.long)
        self._steps = 0
        self._first = torch.full((len(trainers),), -1)
        self._step = 0

    def _active(self) -> Iterator[tuple[int, SeedTrainer, LectureModule]]:
        for index, trainer in enumerate(self.trainers):
            if self.taking_part[index]:
                yield index, trainer, trainer.lightning_module

    def _receivers(self, place: int) -> list[tuple[int, SeedTrainer, Callback]]:
        return [(index, seed, seed.callbacks[place]) for index, seed, _ in self._active()]

    def _call(self, hook: str, index: int, *args: Any, every: bool = True) -> None:
        """Have a hook of a seed's callbacks called: of every one, or of those that are not called for all seeds."""
        trainer = self.trainers[index]
        for place, callback in enumerate(trainer.callbacks):
            if _has(callback, hook) and (every or hook not in self._for_all[place]):
                getattr(callback, hook)(trainer, trainer.lightning_module, *args)

    def _call_all(self, hook: str, *args: Any) -> None:
        for index, *_ in self._active():
            self._call(hook, index, *args, every=False)

    def _call_shared(self, hook: str, *args: Any) -> None:
        for callback, hooks in self._shared:
            if hook in hooks:
                getattr(callback, hook)(self.stack.trainer, self.stack, *args)

    def _call_due(self, hook: str, args: Callable[[int], Sequence[Any]]) -> None:
        for index, callback in self._due[hook]:
            trainer = self.trainers[index]
            # Only a measurement may let the network draw.
            stream = self.stack.network.streams.of(index) if isinstance(callback, Instrument) else nullcontext()
            with stream:
                getattr(callback, hook)(trainer, trainer.lightning_module, *args(index))

    def _calls_of(self, places: Sequence[int]) -> Calls:
        """Who is called by each hook of a step, of the callbacks at these places in the lists of the active seeds."""
        key = (*places, *self.taking_part)
        if key not in self._calls:
            found = [(k, place, seed.callbacks[place]) for k, seed, _ in self._active() for place in places]
            self._calls[key] = {
                hook: [(k, c) for k, place, c in found if _has(c, hook) and hook not in self._for_all[place]]
                for hook in STEP_HOOKS
            }
        return self._calls[key]

    on_train_epoch_start = _hand_on("on_train_epoch_start")
    on_validation_start = _hand_on("on_validation_start")
    on_test_epoch_start = _hand_on("on_test_epoch_start")
    on_test_epoch_end = _hand_on("on_test_epoch_end")

    # --- Around the training

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set up every seed's callbacks."""
        self._call_all("setup", stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the hyper-parameters, as the trainer does before a fit."""
        for _, seed, module in self._active():
            for logger in seed.loggers:
                logger.log_hyperparams({**module.hparams_initial, **seed.datamodule.hparams_initial})
                logger.save()
        self._call_all("on_fit_start")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on."""
        self._call_all("on_train_start")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the metrics of the check."""
        for seed in self.trainers:
            seed.callback_metrics.clear()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on, to the seeds that are still trained."""
        self._call_all("on_train_end")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on, and write what is to be kept."""
        self._call_all("on_fit_end")
        for seed in self.trainers:
            seed.write_checkpoints()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Hand on."""
        for index in range(len(self.trainers)):
            self._call("on_exception", index, exception)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand on."""
        for index in range(len(self.trainers)):
            self._call("teardown", index, stage)

    # --- A step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Find out who takes part in this step, and hand on."""
        self._step = trainer.global_step
        # An instrument is due at the same steps for all seeds.
        places = enumerate(self.trainers[0].callbacks)
        self._due = self._calls_of([k for k, c in places if not isinstance(c, Instrument) or c.is_due(trainer)])
        self._call_shared("on_train_batch_start", batch, batch_idx)
        self._call_due("on_train_batch_start", lambda k: (_part(batch, k), batch_idx))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Hand on each seed's own loss, divided as Lightning does."""
        losses = self.stack.losses.detach() / trainer.accumulate_grad_batches
        self._call_due("on_before_backward", lambda k: (losses[k],))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on."""
        self._call_shared("on_after_backward")
        self._call_due("on_after_backward", lambda _: ())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Hand on, and clip."""
        self._call_due("on_before_optimizer_step", lambda _: (optimizer,))
        if self._clipping:
            self._clip(optimizer)

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Hand on."""
        self._call_due("on_before_zero_grad", lambda _: (optimizer,))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Hand on, watch for divergence, and let go of the seeds whose training ends here."""
        losses: Tensor = outputs["losses"]
        self._call_shared("on_train_batch_end", outputs, batch, batch_idx)
        self._call_due("on_train_batch_end", lambda k: ({"loss": losses[k]}, _part(batch, k), batch_idx))
        if self._divergence:
            self._watch(losses, trainer)
        for index in [index for index, seed, _ in self._active() if seed.should_stop]:
            self._end_here(index)
            trainer.should_stop = not any(self.taking_part)

    def _clip(self, optimizer: Optimizer) -> None:
        gradients, limit = gradients_of(optimizer), self._clipping[0].max_norm
        before = clip_each(gradients, limit)
        self._clipped = self._clipped.to(before.device) + (before > limit)
        self._steps += 1
        due = [index for index, seed, _ in self._active() if self._clipping[index].is_due(seed)]
        if due:
            after = norms_of(gradients)
            for index in due:
                self._clipping[index].note(self.trainers[index], before[index], after[index])

    def _watch(self, losses: Tensor, trainer: Trainer) -> None:
        self._first = self._first.to(losses.device)
        this_step = torch.where(losses.isfinite(), -1, self._step)
        self._first = torch.where(self._first < 0, this_step, self._first)
        if trainer.global_step % self._divergence[0].every_n_steps == 0 or trainer.is_last_batch:
            for index, step in enumerate(self._first.tolist()):
                if step >= 0 and self.taking_part[index]:
                    self._divergence[index].found(step)
                    self.trainers[index].should_stop = True

    def _end_here(self, index: int) -> None:
        """End the training of one seed after this batch, as its own trainer would: with a validation pass."""
        lead, seed = self.stack.trainer, self.trainers[index]
        every = lead.check_val_every_n_epoch
        if lead.enable_validation and every and (lead.current_epoch + 1) % every == 0:
            self._call("on_validation_start", index)
            self._call("on_validation_epoch_start", index)
            summary = evaluate(seed.lightning_module, seed.datamodule.val_dataloader())
            self._call("on_validation_epoch_end", index)
            seed.callback_metrics.update({f"val/{name}": value for name, value in summary.items()})
            self._end_validation(index)
        self._end_epoch(index)

    def _end_validation(self, index: int) -> None:
        seed = self.trainers[index]
        if not self.stack.trainer.sanity_checking:
            seed.log(lambda name: name.startswith("val/"), seed.global_step)
        self._call("on_validation_end", index)

    def _end_epoch(self, index: int) -> None:
        """End an epoch of one seed, and with it its training if it has been told to stop."""
        seed = self.trainers[index]
        self._count_clipped(index)
        self._call("on_train_epoch_end", index)
        seed.log(lambda name: not name.startswith("val/"), seed.global_step - 1)
        if not seed.should_stop:
            return
        self.stack.network.release(index)
        seed.ended = (self.stack.trainer.current_epoch + 1, self.stack.trainer.global_step)
        self._call("on_train_end", index)
        self.taking_part[index] = False

    # --- The ends of passes

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on."""
        self._call_shared("on_validation_epoch_start")
        self._call_all("on_validation_epoch_start")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on."""
        self._call_shared("on_validation_epoch_end")
        self._call_all("on_validation_epoch_end")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on, and show the metrics."""
        for index, *_ in self._active():
            self._end_validation(index)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand on, show the metrics, and let go of the seeds that have been told to stop."""
        for index, *_ in list(self._active()):
            self._end_epoch(index)
        trainer.should_stop = not any(True for _ in self._active())

    # --- The test

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the metrics of the training, and hand on."""
        for seed in self.trainers:
            seed.callback_metrics.clear()
        self._call_all("on_test_start")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand on."""
        for index, *_ in self._active():
            self._call("on_test_batch_end", index, None, _part(batch, index), batch_idx, dataloader_idx)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the metrics, and hand on."""
        for _, seed, _ in self._active():
            seed.log(lambda _name: True, seed.global_step)
        self._call_all("on_test_end")

    def _count_clipped(self, index: int) -> None:
        if self._clipping:
            self._clipping[index].count(self._clipped[index], self._steps)


def _has(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook)


def _hooks_for_all(callback: Callback, stack: Stack) -> Sequence[str]:
    if isinstance(callback, GradientClipping | Divergence):
        return STEP_HOOKS
    if isinstance(callback, ModelCheckpoint) and callback.every_n_epochs:
        return STEP_HOOKS  # it saves by epochs, and by nothing else
    return callback.hooks_for_all(stack) if isinstance(callback, Instrument) else ()


def _of_all(trainers: Sequence[SeedTrainer], kind: type) -> list[Any]:
    """The callback of this kind that each seed has; none if they have none."""
    found: list[list[Any]] = [callbacks_of(trainer, kind) for trainer in trainers]  # type: ignore[arg-type]
    return [one for callbacks in found for one in callbacks]


def _part(batch: Any, index: int) -> Any:
    return tuple(tensor[index] for tensor in batch)
