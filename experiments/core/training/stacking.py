"""One fit of one run, or of several seeds of one condition, each with the files of a run of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from datamodules.base import EVALUATION_BATCH_SIZE, InMemoryDataModule
from datamodules.stack import StackedData
from experiments.core.callbacks import BestWeights
from experiments.core.callbacks.evaluation import data_of_each
from experiments.core.callbacks.instrument import LAYERWISE, callbacks_of
from experiments.core.callbacks.loggers import SeedLoggers
from experiments.core.callbacks.recorder import Recorder, RunRecord, hyperparameters, write_yaml
from experiments.core.files.errors import UserError
from experiments.core.training.resume import ResumePoint, delete_resume
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError, Stack, validate_stackable

# Weights, their gradients, two moments of an optimiser, and the best weights so far.
COPIES_OF_WEIGHTS = 5
# While the samples of a seed are scaled, there are as many again.
TRANSIENT = 2
# Bytes of training inputs from which on the seeds of a stack read one source: a small step takes a tenth longer.
LARGE = 2**28


def fit(
    trainer: Trainer, model: LightningModule, data: LightningDataModule | None, checkpoint: Path | None = None
) -> None:
    """Train, from where an earlier call in the same directory was cut off.

    Args:
        trainer: with a recorder, unless it leaves no files.
        model: a plain module, or a stack.
        data: of the module, or of the stack.
        checkpoint: to begin from, where no earlier call was cut off.

    Raises:
        UserError: no step was made.
    """
    begun: Path | None = None
    for recorder in callbacks_of(trainer, Recorder):
        point = ResumePoint(recorder, model)
        trainer.callbacks.append(point)  # type: ignore[attr-defined]
        begun = point.find(trainer, data)
        recorder.resumed = begun is not None
    start = begun or checkpoint
    trainer.fit(model, datamodule=data, ckpt_path=start, weights_only=True)
    _validate_stepped(trainer)


def has_stepped(trainer: Trainer) -> bool:
    """Whether a fit has made a step; one that was resumed has those from before."""
    # A callback can make steps that do not count, and a checkpoint can bring its own.
    return trainer.global_step > 0 and any(recorder.applied.steps for recorder in callbacks_of(trainer, Recorder))


def _validate_stepped(trainer: Trainer) -> None:
    if callbacks_of(trainer, Recorder) and not has_stepped(trainer):
        raise UserError("the training ended without a step, and there is no result")


def test_and_write_results(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Test the best weights of each run, if some were kept and it is sound, and write its result.

    Raises:
        UserError: a callback has made the trainer forget its steps.
    """
    (recorder,) = callbacks_of(trainer, Recorder)
    modules: Sequence[LightningModule] = model.plain if isinstance(model, Stack) else [model]
    sound = {index: recorder.diverged_at(trainer, index) is None for index in range(len(recorder.runs))}
    for best in callbacks_of(trainer, BestWeights):
        if isinstance(model, Stack):
            for index, (run, module) in enumerate(zip(recorder.runs, modules, strict=True)):
                best.write(trainer, module, run.directory, index)
        recorder.tested = set(best.load(model, sound))
        if recorder.tested:
            trainer.test(model, datamodule=data, verbose=False)
    for checkpoint in callbacks_of(trainer, ModelCheckpoint):
        if checkpoint.best_model_path and sound[0]:
            trainer.test(model, data, ckpt_path=checkpoint.best_model_path, verbose=False, weights_only=True)
            break
    _validate_stepped(trainer)
    recorder.finish(trainer, modules, data_of_each(trainer) or [None])
    delete_resume(recorder.runs[0].directory)


def stack_of(
    trainer: Trainer,
    modules: Sequence[LectureModule],
    data: Sequence[LightningDataModule],
    runs: Sequence[RunRecord],
    loggers: Sequence[Sequence[Logger]],
) -> tuple[Stack, StackedData]:
    """Put several seeds together, for `fit` and `test_and_write_results`; the trainer was built for the first.

    Args:
        trainer: that `refuse` has let pass.
        modules: one a seed, built, of one configuration.
        data: one a seed, set up.
        runs: one a seed.
        loggers: of each run.
    """
    stack = Stack(modules)
    _check_stackable(trainer.callbacks, stack)  # type: ignore[attr-defined]
    (recorder,) = callbacks_of(trainer, Recorder)
    recorder.runs = list(runs)
    trainer.loggers = [SeedLoggers(loggers, recorder.counts)]
    for own, module, part in zip(loggers, modules, data, strict=True):
        for logger in own:
            shown = hyperparameters(module, part)
            logger.log_hyperparams(shown)
            if isinstance(logger, TensorBoardLogger):
                # What it would write itself; trying each value first, as it does, takes as long as an epoch.
                write_yaml(Path(logger.log_dir) / logger.NAME_HPARAMS_FILE, shown)
            logger.save()
    return stack, StackedData(data)  # type: ignore[arg-type]


def validate_stackable_fit(trainer: Trainer, module: LightningModule, data: LightningDataModule | None) -> None:
    """Refuse what a stack does not do as separate runs would.

    Raises:
        NotStackableError: trainer, module or data ask for it.
    """
    if not isinstance(data, InMemoryDataModule):
        raise NotStackableError(f"{type(data).__name__} is no InMemoryDataModule")
    if not isinstance(module, LectureModule):
        raise NotStackableError(f"{type(module).__name__} is no LectureModule")
    validate_stackable(type(module))
    if module.schedule == "plateau":
        raise NotStackableError("the schedule plateau follows the loss of one network")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if not getattr(callback, "stackable", False):
            raise NotStackableError(f"{type(callback).__name__} watches one run")
    if any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        raise NotStackableError("Weights & Biases has one run at a time")
    if trainer.overfit_batches:  # type: ignore[attr-defined]
        raise NotStackableError("overfit_batches changes the order of the samples")
    if (trainer.min_epochs or 0) > 1 or trainer.min_steps:
        raise NotStackableError("min_epochs and min_steps put off the end of a seed's training")


def _check_stackable(callbacks: Sequence[Callback], stack: Stack) -> None:
    for callback in callbacks:
        if getattr(callback, "stackable", False) == LAYERWISE and not stack.network.layerwise:
            raise NotStackableError(f"{type(callback).__name__} needs layers that compute for all networks")


def shares_inputs(data: InMemoryDataModule, seeds: int) -> bool:
    """Whether so many seeds read their training inputs from one source, and hold none."""
    plain = data.in_memory and not data.permute and data.augmentation is None
    return plain and seeds * data.train[0].nbytes > LARGE


def bytes_per_seed(model: LectureModule, data: InMemoryDataModule, seeds: int) -> int:
    """Bytes that one more seed adds to a stack: its samples, its weights, and what a batch keeps for the gradient.

    Args:
        model: built.
        data: set up.
        seeds: of the stack.
    """
    trial = copy.deepcopy(model).train()
    inputs, _ = LectureModule.unpack_batch(trial, data.smallest_batch())
    own = {tensor.untyped_storage().data_ptr() for tensor in trial.state_dict().values()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(note, note), torch.enable_grad():
        outputs = trial(inputs)
    del outputs
    weights = sum(int(tensor.nbytes) for tensor in model.state_dict().values())
    batch = max(int(data.batch_size), EVALUATION_BATCH_SIZE)
    held = data.nbytes - (data.train[0].nbytes if shares_inputs(data, seeds) else 0)
    return held + COPIES_OF_WEIGHTS * weights + sum(kept.values()) // len(inputs) * batch


def seeds_that_fit(model: LectureModule, data: InMemoryDataModule, budget: float, seeds: int) -> int:
    """How many of some seeds a stack may have within so many bytes, one at least."""
    return max(1, int(min(budget / bytes_per_seed(model, data, seeds), seeds + TRANSIENT)) - TRANSIENT)
