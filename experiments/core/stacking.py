"""Several seeds of one condition in one fit, each with the callbacks, the loggers and the files of a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from torch import Tensor
from torch.optim import Optimizer

from datamodules.base import InMemoryDataModule
from datamodules.stack import StackedData
from experiments.core.callbacks import (
    ActivationStatistics,
    Divergence,
    FinalTest,
    GradientBySaturation,
    GradientClipping,
    GradientFlow,
    InputImage,
    LabelThreshold,
    Landscape,
    Parameters,
    Robustness,
    ShiftedTest,
    TimeToTarget,
    TrainEvalGap,
    TrainingTest,
    WeightStatistics,
)
from experiments.core.callbacks.evaluation import evaluate
from experiments.core.callbacks.instrument import Instrument, callbacks_of
from experiments.core.callbacks.recorder import Recorder
from experiments.core.checkpoints import ResumePoint, find, forget
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError, Stack, clip_each, gradients_of, norms_of, refuse_own_rules


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
        for logger in self.loggers:
            logger.log_metrics({**chosen, "epoch": self.current_epoch}, step)


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
        # The hooks that are not called for every seed, by place in the seeds' lists, which are alike.
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
                logger.log_hyperparams(module.hparams_initial)
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
    return callback.hooks_for_all(stack) if isinstance(callback, Instrument) else ()


def _of_all(trainers: Sequence[SeedTrainer], kind: type) -> list[Any]:
    """The callback of this kind that each seed has; none if they have none."""
    found: list[list[Any]] = [callbacks_of(trainer, kind) for trainer in trainers]  # type: ignore[arg-type]
    return [one for callbacks in found for one in callbacks]


def _part(batch: Any, index: int) -> Any:
    return tuple(tensor[index] for tensor in batch)


def fit_stack(lead: Trainer, members: Sequence[Member]) -> None:
    """Train, test and seal several runs in one fit, which goes on where an earlier one was cut off.

    Args:
        lead: trains the stack; built for the first member.
        members: one a seed, built from one configuration that `refuse` has let pass.
    """
    together = train_stack(lead, members)
    stack, seeds = together.stack, together.trainers
    best = {index: path for index, seed in enumerate(seeds) if (path := _best(seed))}
    for index, path in best.items():
        seeds[index].load_weights(path)
    stack.network.link()
    together.taking_part = [index in best for index in range(len(seeds))]
    if best:
        lead.test(stack, datamodule=StackedData([member.data for member in members]), verbose=False)
    for seed in seeds:
        _recorder(seed).finish(seed, seed.datamodule)  # type: ignore[arg-type]
    forget(members[0].directory)


def train_stack(lead: Trainer, members: Sequence[Member]) -> SeedCallbacks:
    """Train several runs in one fit, and give what called their callbacks; see `fit_stack`."""
    stack = Stack([member.module for member in members])
    seeds = [SeedTrainer(lead, member, metrics) for member, metrics in zip(members, stack.metrics, strict=True)]
    for seed in seeds:
        _recorder(seed).stack = len(seeds)
    together = SeedCallbacks(stack, seeds)
    recorders = [_recorder(seed) for seed in seeds]
    first, key = members[0].directory, " ".join(recorder.config_hash for recorder in recorders)
    point = ResumePoint(first, key, partial(_parts, together), recorders)
    lead.callbacks, lead.loggers = [together, point], []  # type: ignore[attr-defined]
    begun = find(first, key)
    for recorder in recorders:
        recorder.resumed = begun is not None
    lead.fit(stack, datamodule=StackedData([member.data for member in members]), ckpt_path=begun, weights_only=True)
    return together


def _parts(together: SeedCallbacks) -> dict[str, object]:
    """What a stack remembers besides weights and optimiser, by name."""
    stack = together.stack
    parts: dict[str, object] = {"together": together, "streams": stack.network.streams}
    parts |= {f"means/{stage}": means for stage, means in stack.means.items()}
    for index, seed in enumerate(together.trainers):
        parts[f"{index}"] = seed
        parts |= {f"{index}/{place}/{type(c).__name__}": c for place, c in enumerate(seed.callbacks)}
        parts[f"{index}/applied"] = _recorder(seed).applied
    return parts


# Callbacks that do the same whether their seed is trained alone or in a stack.
KNOWN = (
    ActivationStatistics,
    Divergence,
    EarlyStopping,
    FinalTest,
    GradientBySaturation,
    GradientClipping,
    GradientFlow,
    InputImage,
    LabelThreshold,
    Landscape,
    LearningRateMonitor,
    ModelCheckpoint,
    Parameters,
    Recorder,
    Robustness,
    ShiftedTest,
    TimeToTarget,
    TrainEvalGap,
    TrainingTest,
    WeightStatistics,
)


def refuse(trainer: Trainer, module: LightningModule) -> None:
    """Refuse what a stack does not do as separate runs would.

    Raises:
        NotStackableError: trainer or module ask for it.
    """
    if not isinstance(module, LectureModule):
        raise NotStackableError(f"{type(module).__name__} is no LectureModule")
    refuse_own_rules(type(module))
    strange = next((c for c in trainer.callbacks if type(c) not in KNOWN), None)  # type: ignore[attr-defined]
    if strange is not None:
        raise NotStackableError(f"{type(strange).__name__} watches one run")
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        raise NotStackableError("Weights & Biases has one run at a time")
    if trainer.overfit_batches:  # type: ignore[attr-defined]
        raise NotStackableError("overfit_batches changes the order of the samples")
    if (trainer.min_epochs or 0) > 1 or trainer.min_steps:
        raise NotStackableError("min_epochs and min_steps put off the end of a seed's training")


def _recorder(seed: SeedTrainer) -> Recorder:
    return callbacks_of(seed, Recorder)[0]  # type: ignore[arg-type]


def _best(seed: SeedTrainer) -> Path | None:
    """The checkpoint that a run is tested with: none where it diverged, or keeps none."""
    if _recorder(seed).diverged_at(seed) is not None:  # type: ignore[arg-type]
        return None
    paths = [Path(c.best_model_path) for c in callbacks_of(seed, ModelCheckpoint) if c.best_model_path]  # type: ignore[arg-type]
    return paths[0] if paths else None
