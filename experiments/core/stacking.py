"""Several seeds of one condition in one fit, each with the callbacks, the loggers and the files of a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger

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
from experiments.core.callbacks.instrument import callbacks_of
from experiments.core.callbacks.recorder import Recorder
from experiments.core.checkpoints import ResumePoint, find, forget
from experiments.core.seed_callbacks import SeedCallbacks
from experiments.core.seed_trainer import Member, SeedTrainer
from lightning_modules.base import LectureModule
from lightning_modules.stack import NotStackableError, Stack, refuse_own_rules


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
