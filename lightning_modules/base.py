"""The standard training function: what every architecture of the lecture shares when it is trained."""

# No `from __future__ import annotations`: the command line could not read the types of the fields below.

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

from lightning_modules.layers import check_count, check_number
from lightning_modules.losses import Loss, build_loss
from lightning_modules.metrics import Epoch, MeanLoss, MeanPenalty, build_metrics, check_metrics, collection
from lightning_modules.optimization import PLATEAU, build_optimizer, build_schedule, check_schedule, optimizer_arguments
from lightning_modules.penalties import penalized, penalty

T = TypeVar("T")
STAGES = ("train", "val", "test")
# What a module has to know about the data, as far as it has such a field.
SIZES = ("num_features", "sample_shape", "num_classes")


@dataclass(kw_only=True, eq=False, repr=False)
class FlatSamples:
    """A module whose network takes flattened samples."""

    num_features: int | None = None
    """Size of a flattened sample; the data module's if not given."""


@dataclass(kw_only=True, eq=False, repr=False)
class ShapedSamples:
    """A module whose network takes samples with their axes."""

    sample_shape: tuple[int, ...] | None = None
    """(channels, height, width) of images, (channels, length) of sequences or (features,); the data module's if not
    given."""


@dataclass(kw_only=True, eq=False, repr=False)
class LectureModule(lightning.LightningModule, ABC):
    """A network with the lecture's standard training function around it.

    Slide "Fonction standard d'apprentissage".

    A subclass is a dataclass too: its fields are its options, and `configure_network` says what its network is. Sizes
    that are not given come from the data module when a fit or a test begins. Batches are pairs (inputs, targets).

    Logged, one value an epoch: `train/loss`, the metrics (of class labels `train/accuracy`, of several labels a sample
    `train/exact_match` and `train/micro_f1`, of numbers `train/r2`) and, where there is one, `train/penalty`, taken
    while the weights change; `lr`, the rate of the epoch's last step; `val/…` and `test/…`. `train/loss` is the loss on
    the data: the penalty is minimised with it, but not counted in it.

    Raises:
        ValueError: a name that does not exist, a number out of range, or a hyper-parameter that the chosen optimiser
            would ignore.
    """

    num_classes: int | None = None
    """Number of outputs: of classes, of labels, or of target columns for mse; the data module's if not given."""
    seed: int | None = None
    """Seed of the initial weights, one stream a layer, so that conditions share what they can; if not given, that of
    `seed_everything`."""
    loss: str = "cross_entropy"
    """cross_entropy, one_hot_mse (integer labels), bce, label_mse, label_softmax (several labels a sample), or mse
    (targets of the outputs' shape); naive_cross_entropy and naive_bce are as the formulas are written, and not safe
    numerically."""
    output_activation: str | None = None
    """one_hot_mse: identity (if not given), sigmoid or softmax."""
    reduction: str | None = None
    """one_hot_mse, bce, label_mse: mean (if not given) or sum over the outputs."""
    metrics: list[str] | None = None
    """What is counted beside the loss, in place of the usual: of class labels accuracy, macro_accuracy, macro_f1,
    micro_f1, calibration_error; of several labels a sample exact_match, micro_f1, macro_f1, label_accuracy; of numbers
    r2, mean_absolute_error."""
    optimizer: str = "adam"
    """sgd, adam, adamw, amsgrad, adamax, nadam, radam, rmsprop, adagrad or adadelta. One that does not use an argument
    given below is an error."""
    lr: float = 1e-3
    """Learning rate, > 0; with a schedule, its largest value."""
    momentum: float | None = None
    """sgd, rmsprop: in [0, 1); 0 if not given."""
    nesterov: bool | None = None
    """sgd: look ahead along the momentum, which must be > 0."""
    weight_decay: float | None = None
    """Any optimizer: decay of the weights (not biases), >= 0; if not given .01 for adamw, else 0."""
    beta1: float | None = None
    """adam and its relatives (adamw, amsgrad, adamax, nadam, radam): decay of the mean gradient, in [0, 1); .9 if not
    given."""
    beta2: float | None = None
    """The same: decay of the mean squared gradient (adamax: of its largest), in [0, 1); .999 if not given."""
    schedule: str = "constant"
    """constant; step (a tenth at 1/2 and again at 3/4); cosine or linear (to 0); one_cycle (up in 30 %, then down):
    stepped per step over the whole training. plateau: a tenth after 10 epochs without a smaller val/loss."""
    warmup: float = 0.0
    """Share of all steps, in [0, 1), during which the learning rate rises linearly to lr; not with one_cycle."""
    l1: float = 0.0
    """Factor of the penalty Σ|w| (weights, not biases), >= 0."""
    l2: float = 0.0
    """Factor of the penalty Σw² (weights, not biases), >= 0; under plain sgd the same as weight_decay = 2·l2."""
    compiled: bool = False
    """Compile the network by `torch.compile` before the first step, which takes a minute: for large networks on a
    GPU."""

    network: nn.Module = field(init=False)
    criterion: Loss = field(init=False)
    optimizer_arguments: dict[str, Any] = field(init=False)
    epochs: dict[str, Epoch] = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()
        self.seed = torch.initial_seed() if self.seed is None else self.seed
        check_count("seed", self.seed, minimum=0)
        check_schedule(self.schedule, self.warmup)
        check_number("l1", self.l1, minimum=0)
        check_number("l2", self.l2, minimum=0)
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
        check_metrics(self.criterion.kind, self.metrics)
        self.epochs = {stage: Epoch() for stage in STAGES}
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
        """Choose what is counted beside the loss, by name; called once for each of train, val and test.

        A metric is updated once an epoch with `preds` (for classes the outputs), `target` and `outputs`, as far as its
        `update` takes them. `{**super().configure_metrics(), "mine": Mine()}` adds one.
        """
        assert self.num_classes is not None
        return build_metrics(self.criterion.kind, self.num_classes, self.metrics)

    @property
    def sizes(self) -> dict[str, Any]:
        """What this module has to know about the data; None where that is not known yet."""
        return {name: getattr(self, name) for name in SIZES if hasattr(self, name)}

    def configure_model(self) -> None:
        """Build the network, unless that is done: the sizes that were not given are those of the data module."""
        if not hasattr(self, "network"):
            self.take_sizes(self.trainer.datamodule)  # type: ignore[attr-defined]
        self.metrics_of("train")

    def take_sizes(self, data: Any) -> None:
        """Build the network for a data module.

        Args:
            data: has the attributes among num_features, sample_shape and num_classes that this module needs.

        Raises:
            ValueError: it lacks one that was not given, or has another than was given.
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
        """Build the network; all sizes are known."""
        self.check_sizes()
        self.network = self.configure_network()
        # For the model summary: sizes of layers, and operations.
        shape = self.sizes.get("sample_shape") or (self.sizes["num_features"],)
        self.example_input_array = torch.zeros(1, *shape)
        # The sizes too: `load_from_checkpoint` needs nothing else.
        self.save_hyperparameters()

    def check_sizes(self) -> None:
        """Refuse sizes that no network has.

        Raises:
            ValueError: one is no whole number of at least 1.
        """
        for name, size in self.sizes.items():
            for number in [size] if isinstance(size, int) else size:
                check_count(name, number)

    def prepare(self, data: Any) -> None:
        """Do what a fit needs before its first step; most modules need nothing.

        Args:
            data: the fit's data module, set up; None where the trainer was given loaders.
        """

    def samples(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the inputs and the targets that a step is about: those of the batch.

        Raises:
            ValueError: the batch is no pair.
        """
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ValueError(f"a batch must be a pair (inputs, targets), not a {type(batch).__name__} of {len(batch)}")
        inputs, targets = batch
        return inputs, targets

    def on_fit_start(self) -> None:
        """Prepare for a fit; evaluation takes all that it needs from the checkpoint.

        Raises:
            ValueError: the data module has another size than was given.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.take_sizes(data)
        self.prepare(data)
        if self.compiled:
            self.network.compile()

    def check_batch(self, batch: Sequence[Tensor]) -> None:
        """Find out, without learning or drawing anything, whether the network can be trained on batches like this one.

        Raises:
            ValueError: it cannot take such inputs, or as many of them, or the loss such targets.
        """
        inputs, targets = LectureModule.samples(self, batch)
        # Normalisation would remember the batch.
        state, training = copy.deepcopy(self.network.state_dict()), self.training
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                outputs = self.train()(inputs)
        except ValueError as error:
            raise ValueError(f"a training batch of {len(inputs)} is not possible: {error}") from error
        finally:
            self.network.load_state_dict(state)
            self.train(training)
        self.criterion.check_shape(outputs, targets)
        self.criterion.check_values(outputs, targets)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and, unless the rate is constant, the schedule that follows it step by step."""
        return configure_optimization(self.network, self, self.trainer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs: (batch, …) to (batch, outputs), class scores before softmax for a classifier."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Give the batch's mean loss, with the penalty."""
        objective = self._step(batch, batch_idx, "train")
        if is_last_step(self.trainer, batch_idx):
            # Here and not at the epoch's end, where callbacks run before the module: they read these.
            self._log_epoch("train")
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log("lr", torch.tensor(rate, dtype=torch.float64), on_step=False, on_epoch=True, batch_size=1)
        return objective

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep what the metrics need of the batch."""
        self._step(batch, batch_idx, "val")

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep what the metrics need of the batch."""
        self._step(batch, batch_idx, "test")

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Give the outputs for a batch of inputs, with or without targets."""
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
        """The metrics of train, val or test; of all but the first network of a stack, nobody asks for them."""
        if not hasattr(self, f"{stage}_metrics"):
            means = {"loss": MeanLoss()} | ({"penalty": MeanPenalty()} if self.l1 or self.l2 else {})
            for each in STAGES:
                chosen = {"loss": MeanLoss()} if each != "train" else means
                setattr(
                    self, f"{each}_metrics", collection(each, {**chosen, **self.configure_metrics()}).to(self.device)
                )
        found: MetricCollection = getattr(self, f"{stage}_metrics")
        return found

    def evaluated(self, epoch: Epoch) -> dict[str, Tensor]:
        """Compute loss and metrics of the samples of an epoch of any kind, by their names without a stage."""
        metrics = self.metrics_of("test").clone()
        metrics.reset()
        metrics.update(**epoch.columns(self.criterion.predict))
        return {name.removeprefix("test/"): value for name, value in metrics.compute().items()}

    def _step(self, batch: Sequence[Tensor], batch_idx: int, stage: str) -> Tensor:
        inputs, targets = self.samples(batch)
        outputs = self(inputs)
        self.criterion.check_shape(outputs, targets)
        # Reading values makes an accelerator wait: there, only an epoch's first batch is looked at.
        if targets.device.type == "cpu" or batch_idx == 0:
            self.criterion.check_values(outputs, targets)
        objective, cost = self.criterion.mean(outputs, targets), None
        if stage == "train" and (self.l1 or self.l2):
            cost = penalty(penalized(self.network), self.l1, self.l2)
        if batch_idx == 0:
            self.epochs[stage].clear()
        self.epochs[stage].add(objective, outputs, targets, cost)
        return objective if cost is None else objective + cost

    def _log_epoch(self, stage: str) -> None:
        metrics = self.metrics_of(stage)
        metrics.reset()
        metrics.update(**self.epochs[stage].columns(self.criterion.predict))
        # Already of the whole epoch: another batch size would only multiply and divide it.
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=1)


def known(size: T | None) -> T:
    """Give a size or a seed that the module has by the time it builds its network."""
    assert size is not None
    return size


def configure_optimization(
    network: nn.Module, module: LectureModule, trainer: lightning.Trainer
) -> OptimizerLRScheduler:
    """Build the optimiser that a module asks for, and its schedule, for the parameters of a network."""
    optimizer = build_optimizer(network, module.optimizer, module.optimizer_arguments)
    if module.schedule == "constant" and not module.warmup:
        return optimizer
    if module.schedule == PLATEAU:
        plateau = build_schedule(optimizer, PLATEAU, 0.0, 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"}}
    total = trainer.estimated_stepping_batches
    # -1: an iterable data set without a length; infinite: neither max_epochs nor max_steps.
    if total < 1 or math.isinf(total):
        raise ValueError(f"schedule {module.schedule} needs the number of steps: set trainer.max_steps or max_epochs")
    schedule = build_schedule(optimizer, module.schedule, module.warmup, int(total))
    # Lightning's own default is once an epoch.
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def is_last_step(trainer: lightning.Trainer, batch_idx: int) -> bool:
    """Whether this batch ends an epoch, or the training."""
    accumulated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    # max_steps can end an epoch before its last batch.
    return trainer.is_last_batch or (accumulated and trainer.global_step + 1 == trainer.max_steps)
