"""The standard training function, which all architectures of the lecture share."""

# No `from __future__ import annotations`: with it, the command line cannot read the types of the fields below.

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from lightning_modules.layers import validate_count, validate_number
from lightning_modules.losses import Loss, build_loss
from lightning_modules.metrics import EpochOutputs, MeanLoss, MeanPenalty, build_metrics, collection, validate_metrics
from lightning_modules.optimization import (
    PLATEAU,
    build_optimizer,
    build_schedule,
    optimizer_arguments,
    validate_schedule,
)
from lightning_modules.penalties import penalized_weights, penalty

T = TypeVar("T")
STAGES = ("train", "val", "test")
# Sizes of the data that a module can need.
DATA_SIZES = ("num_features", "sample_shape", "num_classes")


@dataclass(kw_only=True, eq=False, repr=False)
class FlatSamples:
    """A module whose network takes flattened samples."""

    num_features: int | None = None
    """Size of a flattened sample. Default: the data module's."""


@dataclass(kw_only=True, eq=False, repr=False)
class ShapedSamples:
    """A module whose network takes unflattened samples."""

    sample_shape: tuple[int, ...] | None = None
    """(channels, height, width) for images, (channels, length) for sequences or (features,). Default: the data
    module's."""


@dataclass(kw_only=True, eq=False, repr=False)
class LectureModule(lightning.LightningModule, ABC):
    """A network with the lecture's standard training function.

    Slide "Fonction standard d'apprentissage".

    A subclass is a dataclass: its fields are its options, and `configure_network` builds its network. Sizes that are
    not given come from the data module when a fit or a test begins. Batches are pairs (inputs, targets).

    The module logs one value per epoch: `train/loss`; the metrics (`train/accuracy` for class labels,
    `train/exact_match` and `train/micro_f1` for several labels per sample, `train/r2` for numbers); `train/penalty` if
    there is a penalty; `lr`, the learning rate of the last step; the same losses and metrics as `val/…` and `test/…`.
    The `train/…` values are computed while the weights change. `train/loss` does not include the penalty.

    Raises:
        ValueError: unknown name, number out of range, or hyper-parameter that the optimiser does not use.
    """

    num_classes: int | None = None
    """Number of outputs: classes, labels, or target columns for mse. Default: the data module's."""
    seed: int | None = None
    """Seed of the initial weights. Each layer has its own random generator, so layers of equal name and shape start
    from equal weights in all conditions. Default: the seed of `seed_everything`."""
    loss: str = "cross_entropy"
    """cross_entropy or one_hot_mse (integer labels); bce, label_mse or label_softmax (several labels per sample); mse
    (targets of the outputs' shape); naive_cross_entropy and naive_bce, which follow the written formulas and are
    numerically unstable."""
    output_activation: str | None = None
    """one_hot_mse: identity (default), sigmoid or softmax."""
    reduction: str | None = None
    """one_hot_mse, bce, label_mse: mean (default) or sum over the outputs."""
    metrics: list[str] | None = None
    """Metrics that replace the default ones. For class labels: accuracy, macro_accuracy, macro_f1, micro_f1,
    calibration_error. For several labels per sample: exact_match, micro_f1, macro_f1, label_accuracy. For numbers: r2,
    mean_absolute_error."""
    optimizer: str = "adam"
    """sgd, adam, adamw, amsgrad, adamax, nadam, radam, rmsprop, adagrad or adadelta. An argument below that the
    optimizer does not use is an error."""
    lr: float = 1e-3
    """Learning rate, > 0; with a schedule, its largest value."""
    momentum: float | None = None
    """sgd, rmsprop: in [0, 1). Default: 0."""
    nesterov: bool | None = None
    """sgd: use Nesterov momentum; momentum must be > 0."""
    weight_decay: float | None = None
    """Decay of the weights (not biases), >= 0. Default: .01 for adamw, else 0."""
    beta1: float | None = None
    """adam, adamw, amsgrad, adamax, nadam, radam: decay rate of the mean gradient, in [0, 1). Default: .9."""
    beta2: float | None = None
    """adam, adamw, amsgrad, adamax, nadam, radam: decay rate of the mean squared gradient (adamax: of its largest
    absolute value), in [0, 1). Default: .999."""
    schedule: str = "constant"
    """constant; step (divide by ten at 1/2 and again at 3/4 of the steps); cosine or linear (to 0); one_cycle (up for
    30 % of the steps, then down); plateau (divide by ten after 10 epochs without a smaller val/loss). All but plateau
    are updated at every step."""
    warmup: float = 0.0
    """Share of all steps, in [0, 1), during which the learning rate rises linearly to lr; not with one_cycle or
    plateau."""
    l1: float = 0.0
    """Factor of the penalty Σ|w| (weights, not biases), >= 0."""
    l2: float = 0.0
    """Factor of the penalty Σw² (weights, not biases), >= 0; equal to weight_decay = 2·l2 with plain sgd."""
    compiled: bool = False
    """Compile the network with `torch.compile` before the first step. Compiling takes about a minute and pays off for
    large networks on a GPU."""

    network: nn.Module = field(init=False)
    criterion: Loss = field(init=False)
    optimizer_arguments: dict[str, Any] = field(init=False)
    stage_outputs: dict[str, EpochOutputs] = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()
        self.seed = torch.initial_seed() if self.seed is None else self.seed
        validate_count("seed", self.seed, minimum=0)
        validate_schedule(self.schedule, self.warmup)
        validate_number("l1", self.l1, minimum=0)
        validate_number("l2", self.l2, minimum=0)
        self.optimizer_arguments = optimizer_arguments(
            self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            beta1=self.beta1,
            beta2=self.beta2,
        )
        self.criterion = self.configure_losses()
        validate_metrics(self.criterion.kind, self.metrics)
        self.stage_outputs = {stage: EpochOutputs() for stage in STAGES}
        self.save_hyperparameters()
        if None not in self.sizes.values():
            self.build()

    @abstractmethod
    def configure_network(self) -> nn.Module:
        """Build the network: inputs (batch, …) to outputs (batch, outputs)."""

    def configure_losses(self) -> Loss:
        """Choose the loss."""
        return build_loss(self.loss, self.output_activation, self.reduction)

    def configure_metrics(self) -> dict[str, Metric]:
        """Build the metrics by name; called once for each of train, val and test.

        Each metric is updated once per epoch. Its `update` gets those of `preds` (for classes the outputs), `target`
        and `outputs` that it has arguments for. To add one: `{**super().configure_metrics(), "mine": Mine()}`.
        """
        assert self.num_classes is not None
        return build_metrics(self.criterion.kind, self.num_classes, self.metrics)

    @property
    def sizes(self) -> dict[str, Any]:
        """Sizes of the data that this module needs; None where a size is not known yet."""
        return {name: getattr(self, name) for name in DATA_SIZES if hasattr(self, name)}

    def configure_model(self) -> None:
        """Build the network if it does not exist yet; missing sizes come from the data module."""
        if not hasattr(self, "network"):
            self.set_sizes(self.trainer.datamodule)  # type: ignore[attr-defined]
        self.metrics_of("train")

    def set_sizes(self, data: Any) -> None:
        """Take missing sizes from a data module and build the network.

        Args:
            data: an object with those of the attributes num_features, sample_shape and num_classes that this module
                needs.

        Raises:
            ValueError: a size is missing, or differs from the one that was given.
        """
        for name, given in self.sizes.items():
            found = getattr(data, name, None)
            if given is None and found is None:
                raise ValueError(f"{type(self).__name__} needs {name}: give it, or a data module that has it")
            if None not in (given, found) and given != found:
                raise ValueError(f"{name}={given} does not fit {type(data).__name__}, which has {found}")
            setattr(self, name, found if given is None else given)
        if not hasattr(self, "network"):
            self.build()

    def build(self) -> None:
        """Build the network; all sizes must be known."""
        self.validate_sizes()
        self.network = self.configure_network()
        # The model summary needs it for layer sizes and operation counts.
        shape = self.sizes.get("sample_shape") or (self.sizes["num_features"],)
        self.example_input_array = torch.zeros(1, *shape)
        # Saved again with the sizes, so that `load_from_checkpoint` needs no further arguments.
        self.save_hyperparameters()

    def validate_sizes(self) -> None:
        """Validate the sizes.

        Raises:
            ValueError: a size is not a whole number >= 1.
        """
        for name, size in self.sizes.items():
            for number in [size] if isinstance(size, int) else size:
                validate_count(name, number)

    def prepare_fit(self, data: Any) -> None:
        """Prepare the network for a fit; does nothing by default.

        Args:
            data: the data module, set up; None if the trainer was given data loaders.
        """

    def unpack_batch(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the inputs and the targets of a training step.

        Raises:
            ValueError: the batch is not a pair.
        """
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(f"a batch must be a pair (inputs, targets), not a {type(batch).__name__} of {len(batch)}")
        inputs, targets = batch
        return inputs, targets

    def on_fit_start(self) -> None:
        """Set the sizes, prepare the network and compile it if asked for.

        Raises:
            ValueError: a size of the data module differs from the one that was given.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.set_sizes(data)
        self.prepare_fit(data)
        if self.compiled:
            self.network.compile()

    def validate_batch(self, batch: Sequence[Tensor]) -> None:
        """Validate that the network can be trained on batches like this one; change no weight and no random state.

        Raises:
            ValueError: the network does not accept these inputs or this batch size, or the loss these targets.
        """
        inputs, targets = LectureModule.unpack_batch(self, batch)
        # A forward pass updates the running statistics of BatchNorm.
        state, training = copy.deepcopy(self.network.state_dict()), self.training
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                outputs = self.train()(inputs)
        except ValueError as error:
            raise ValueError(f"a training batch of {len(inputs)} is not possible: {error}") from error
        finally:
            self.network.load_state_dict(state)
            self.train(training)
        self.criterion.validate_shape(outputs, targets)
        self.criterion.validate_values(outputs, targets)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and, unless the learning rate is constant, its schedule."""
        return configure_optimization(self.network, self, self.trainer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs: (batch, …) to (batch, outputs), class scores before softmax for a classifier."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the batch's mean loss plus the penalty."""
        objective = self._step(batch, batch_idx, "train")
        if is_last_step(self.trainer, batch_idx):
            # Not in `on_train_epoch_end`: there the callbacks, which read these values, run before the module.
            self._log_epoch("train")
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log("lr", torch.tensor(rate, dtype=torch.float64), on_step=False, on_epoch=True, batch_size=1)
        return objective

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Collect outputs and targets for the metrics."""
        self._step(batch, batch_idx, "val")

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Collect outputs and targets for the metrics."""
        self._step(batch, batch_idx, "test")

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the outputs for a batch of inputs, with or without targets."""
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        outputs: Tensor = self(inputs)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_epoch("test")

    def metrics_of(self, stage: str) -> MetricCollection:
        """Return the metrics of train, val or test; built on first use."""
        if not hasattr(self, f"{stage}_metrics"):
            means = {"loss": MeanLoss()} | ({"penalty": MeanPenalty()} if self.l1 or self.l2 else {})
            for each in STAGES:
                chosen = {"loss": MeanLoss()} if each != "train" else means
                setattr(
                    self, f"{each}_metrics", collection(each, {**chosen, **self.configure_metrics()}).to(self.device)
                )
        found: MetricCollection = getattr(self, f"{stage}_metrics")
        return found

    def compute_metrics(self, epoch: EpochOutputs) -> dict[str, Tensor]:
        """Compute the loss and the metrics of collected outputs, by name without the stage."""
        metrics = self.metrics_of("test").clone()
        metrics.reset()
        metrics.update(**epoch.metric_inputs(self.criterion.predict))
        return {name.removeprefix("test/"): value for name, value in metrics.compute().items()}

    def _step(self, batch: Sequence[Tensor], batch_idx: int, stage: str) -> Tensor:
        inputs, targets = self.unpack_batch(batch)
        outputs = self(inputs)
        self.criterion.validate_shape(outputs, targets)
        # Reading values synchronizes with an accelerator, so there only the first batch of an epoch is validated.
        if targets.device.type == "cpu" or batch_idx == 0:
            self.criterion.validate_values(outputs, targets)
        objective, cost = self.criterion.mean(outputs, targets), None
        if stage == "train" and (self.l1 or self.l2):
            cost = penalty(penalized_weights(self.network), self.l1, self.l2)
        if batch_idx == 0:
            self.stage_outputs[stage].clear()
        self.stage_outputs[stage].add(objective, outputs, targets, cost)
        return objective if cost is None else objective + cost

    def _log_epoch(self, stage: str) -> None:
        metrics = self.metrics_of(stage)
        metrics.reset()
        metrics.update(**self.stage_outputs[stage].metric_inputs(self.criterion.predict))
        # The value covers the whole epoch, so Lightning needs no weight for it.
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=1)


def not_none(size: T | None) -> T:
    """Assert that a size or a seed is known, and return it."""
    assert size is not None
    return size


def configure_optimization(
    network: nn.Module, module: LectureModule, trainer: lightning.Trainer
) -> OptimizerLRScheduler:
    """Build the optimiser and the schedule of a module for the parameters of a network."""
    optimizer = build_optimizer(network, module.optimizer, module.optimizer_arguments)
    if module.schedule == "constant" and not module.warmup:
        return optimizer
    if module.schedule == PLATEAU:
        plateau = build_schedule(optimizer, PLATEAU, 0.0, 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"}}
    total = trainer.estimated_stepping_batches
    # -1 for an iterable data set without a length; infinite without max_epochs and max_steps.
    if total < 1 or math.isinf(total):
        raise ValueError(f"schedule {module.schedule} needs the number of steps: set trainer.max_steps or max_epochs")
    schedule = build_schedule(optimizer, module.schedule, module.warmup, int(total))
    # Lightning's default interval is an epoch.
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def is_last_step(trainer: lightning.Trainer, batch_idx: int) -> bool:
    """Whether this batch is the last of an epoch or of the training."""
    accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    # max_steps can end an epoch before its last batch.
    return trainer.is_last_batch or (accumulated and trainer.global_step + 1 == trainer.max_steps)
