"""One `Trainer.fit` for one run, or for a stack of seeds that leaves the files of separate runs."""

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
# Scaling the samples of a seed needs a second copy of them.
TRANSIENT = 2
# From this many bytes of training inputs on, the seeds of a stack share one copy; small steps take 10 % longer then.
LARGE = 2**28


def fit(
    trainer: Trainer, model: LightningModule, data: LightningDataModule | None, checkpoint: Path | None = None
) -> None:
    """Train; resume if an earlier call in the same directory was interrupted.

    Args:
        trainer: has a recorder, unless the fit writes no files.
        model: a module or a stack.
        data: its data module.
        checkpoint: to start from, if there is nothing to resume.

    Raises:
        UserError: the training made no step.
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
    """Return whether a fit has made a step, in this process or before it was resumed."""
    # A tuner callback makes steps that do not count, and a checkpoint brings its own `global_step`.
    return trainer.global_step > 0 and any(recorder.applied.steps for recorder in callbacks_of(trainer, Recorder))


def _validate_stepped(trainer: Trainer) -> None:
    if callbacks_of(trainer, Recorder) and not has_stepped(trainer):
        raise UserError("the training ended without a step, and there is no result")


def test_and_write_results(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Test the best weights of each run that has not diverged, and write its result.

    Raises:
        UserError: the training made no step.
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
    """Stack several seeds for `fit` and `test_and_write_results`.

    Args:
        trainer: built for the first seed, and validated by `validate_stackable_fit`.
        modules: one a seed, with the same configuration.
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
                # The logger's own way tries to serialise each value, which takes as long as an epoch.
                write_yaml(Path(logger.log_dir) / logger.NAME_HPARAMS_FILE, shown)
            logger.save()
    return stack, StackedData(data)  # type: ignore[arg-type]


def validate_stackable_fit(trainer: Trainer, module: LightningModule, data: LightningDataModule | None) -> None:
    """Require a fit that a stack computes as separate runs do.

    Raises:
        NotStackableError: trainer, module or data need separate runs.
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
    """Return whether the seeds of a stack share one copy of the training inputs."""
    plain = data.in_memory and not data.permute and data.augmentation is None
    return plain and seeds * data.train[0].nbytes > LARGE


def bytes_per_seed(model: LectureModule, data: InMemoryDataModule, seeds: int) -> int:
    """Return the bytes that one seed adds to a stack: samples, weights, and activations kept for the gradient.

    Args:
        model: a network of the stack.
        data: its data module, set up.
        seeds: number of seeds of the stack.
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
