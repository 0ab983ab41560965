"""The standard training function: what every architecture of the lecture shares when it is trained."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from lightning_modules.layers import check_count, check_number
from lightning_modules.losses import Loss, build_loss
from lightning_modules.optimization import build_optimizer, build_schedule, check_schedule, optimizer_arguments
from lightning_modules.penalties import penalized, penalty


class EpochMeans:
    """Means over one epoch's samples, summed on their device: no step waits for the host.

    A mean of batch means would be wrong where the last batch is partial; here every sample counts once.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self._totals: dict[str, Tensor] = {}
        self.samples = 0

    def add(self, samples: int, *, means: Mapping[str, Tensor], totals: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            samples: size of the batch.
            means: without gradient, averaged over the batch; of any shape, the same in every batch.
            totals: the same, summed over the batch.
        """
        self.samples += samples
        for values, weight in ((means, samples), (totals, 1)):
            for name, value in values.items():
                if name not in self._totals:
                    # MPS knows no double precision.
                    precise = torch.float32 if value.device.type == "mps" else torch.float64
                    self._totals[name] = torch.zeros(value.shape, dtype=precise, device=value.device)
                self._totals[name].add_(value, alpha=weight)

    def count(self, criterion: Loss, outputs: Tensor, targets: Tensor) -> None:
        """Add the loss of a batch, and what the loss counts beside it."""
        totals = {name: total(outputs, targets) for name, total in criterion.totals.items()}
        self.add(len(targets), means={"loss": criterion.mean(outputs, targets).detach()}, totals=totals)

    def compute(self) -> dict[str, Tensor]:
        """Give the means so far; none before the first batch."""
        return {name: total / self.samples for name, total in self._totals.items()}


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"a batch must be a pair (inputs, targets), not a {type(batch).__name__} of {len(batch)}")
    inputs, targets = batch
    return inputs, targets


class PlainAttributes(nn.Module):
    """Sets a name that is an ordinary attribute already without asking whether it is a parameter.

    Lightning writes down which hook it is in, 45 times a step: 7 % of the time of a small network.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if (value is None or type(value) is str) and name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)


class LectureModule(PlainAttributes, lightning.LightningModule, ABC):
    """A network with the lecture's standard training function around it.

    Slide "Fonction standard d'apprentissage".

    A subclass says what its network is (`configure_network`); it sets the attributes that this needs before it calls
    this constructor, and hands on its own `**training`: a name that does not exist is a TypeError here, and the
    command line knows the names below for every subclass. Batches are pairs (inputs, targets).

    Logged, one value an epoch: `train/loss`, what the loss counts beside it (`train/accuracy` of class labels,
    `train/exact_match` and `train/micro_f1` of several labels a sample, `train/r2` of numbers) and, where there is one,
    `train/penalty`, taken while the weights change; `lr`, the rate of the epoch's last step; `val/…` and `test/…`.
    `train/loss` is the loss on the data: the penalty is minimised with it, but not counted in it.

    Args:
        seed: seed of the initial weights; one stream a layer, so that conditions share what they can.
        loss: cross_entropy, one_hot_mse (integer labels), bce, label_mse, label_softmax (several labels a sample), or
            mse (targets of the outputs' shape); naive_cross_entropy and naive_bce are as the formulas are written, and
            not safe numerically.
        output_activation: one_hot_mse: identity (if not given), sigmoid or softmax.
        reduction: one_hot_mse, bce, label_mse: mean (if not given) or sum over the outputs.
        optimizer: sgd, adam, adamw, amsgrad, adamax, nadam, radam, rmsprop, adagrad or adadelta. One that does not use
            an argument given below is an error.
        lr: learning rate, > 0; with a schedule, its largest value.
        momentum: sgd, rmsprop: in [0, 1); 0 if not given.
        nesterov: sgd: look ahead along the momentum, which must be > 0.
        weight_decay: any optimizer: decay of the weights (not biases), >= 0; if not given .01 for adamw, else 0.
        beta1: adam and its relatives (adamw, amsgrad, adamax, nadam, radam): decay of the mean gradient, in [0, 1); .9
            if not given.
        beta2: the same: decay of the mean squared gradient (adamax: of its largest), in [0, 1); .999 if not given.
        schedule: constant; step (a tenth at 1/2 and again at 3/4); cosine or linear (to 0); one_cycle (up in 30 %, then
            down). Stepped per step over the whole training.
        warmup: share of all steps, in [0, 1), during which the learning rate rises linearly to lr; not with one_cycle.
        l1: factor of the penalty Σ|w| (weights, not biases), >= 0.
        l2: factor of the penalty Σw² (weights, not biases), >= 0; under plain sgd the same as weight_decay = 2·l2.
        compiled: compile the network by `torch.compile` before the first step, which takes a minute: for large networks
            on a GPU.

    Raises:
        ValueError: a name that does not exist, a number out of range, or a hyper-parameter that the chosen optimiser
            would ignore.
    """

    def __init__(
        self,
        *,
        seed: int,
        loss: str = "cross_entropy",
        output_activation: str | None = None,
        reduction: str | None = None,
        optimizer: str = "adam",
        lr: float = 1e-3,
        momentum: float | None = None,
        nesterov: bool | None = None,
        weight_decay: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        schedule: str = "constant",
        warmup: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        # Of the subclass's constructor too. Under the CLI `self.hparams` lacks inherited arguments: read `self.x`.
        self.save_hyperparameters()
        check_count("seed", seed, minimum=0)
        check_schedule(schedule, warmup)
        check_number("l1", l1, minimum=0)
        check_number("l2", l2, minimum=0)
        self.seed = seed
        self.loss = loss
        self.output_activation = output_activation
        self.reduction = reduction
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_arguments = optimizer_arguments(
            optimizer,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            beta1=beta1,
            beta2=beta2,
        )
        self.schedule = schedule
        self.warmup = warmup
        self.l1 = l1
        self.l2 = l2
        self.compiled = compiled
        self.criterion = self.configure_losses()
        self.network = self.configure_network()
        self.means = {stage: EpochMeans() for stage in ("train", "val", "test")}

    @abstractmethod
    def configure_network(self) -> nn.Module:
        """Build the network: inputs (batch, …) to outputs (batch, outputs)."""

    def configure_losses(self) -> Loss:
        """Choose the loss."""
        return build_loss(self.loss, self.output_activation, self.reduction)

    def prepare(self, data: Any) -> None:
        """Do what a fit needs before its first step; most modules need nothing.

        Args:
            data: the fit's data module, set up; None where the trainer was given loaders.
        """

    def samples(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the inputs and the targets that a step is about: those of the batch."""
        return _pair(batch)

    def setup(self, stage: str) -> None:
        """Prepare for a fit; evaluation takes all that it needs from the checkpoint."""
        if stage == "fit":
            self.prepare(self.trainer.datamodule)  # type: ignore[attr-defined]
            if self.compiled:
                self.network.compile()

    def check_batch(self, batch: Sequence[Tensor]) -> None:
        """Find out, without learning or drawing anything, whether the network can be trained on batches like this one.

        Raises:
            ValueError: it cannot take such inputs, or as many of them, or the loss such targets.
        """
        inputs, targets = _pair(batch)
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
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self._log_means("train", {"lr": torch.tensor(rate, dtype=torch.float64)})
        return objective

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Count the batch."""
        self._step(batch, batch_idx, "val")

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Count the batch."""
        self._step(batch, batch_idx, "test")

    def more_measures(self, stage: str, means: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Give what is logged beside the means of an epoch: nothing, unless a subclass has something.

        Args:
            stage: train, val or test.
            means: of the epoch.
            samples: how many they are of.
        """
        return {}

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Give the outputs for a batch of inputs, with or without targets."""
        inputs = batch if isinstance(batch, Tensor) else batch[0]
        outputs: Tensor = self(inputs)
        return outputs

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation set."""
        self._log_means("val", {})

    def on_test_epoch_end(self) -> None:
        """Log the means over the test set."""
        self._log_means("test", {})

    def _step(self, batch: Sequence[Tensor], batch_idx: int, stage: str) -> Tensor:
        inputs, targets = self.samples(batch)
        outputs = self(inputs)
        self.criterion.check_shape(outputs, targets)
        # Reading values makes an accelerator wait: there, only an epoch's first batch is looked at.
        if targets.device.type == "cpu" or batch_idx == 0:
            self.criterion.check_values(outputs, targets)
        objective = self.criterion.mean(outputs, targets)
        means = {"loss": objective.detach()}
        if stage == "train" and (self.l1 or self.l2):
            cost = penalty(penalized(self.network), self.l1, self.l2)
            objective = objective + cost
            means["penalty"] = cost.detach()
        if batch_idx == 0:
            self.means[stage].reset()
        outputs = outputs.detach()
        totals = {name: total(outputs, targets) for name, total in self.criterion.totals.items()}
        self.means[stage].add(len(inputs), means=means, totals=totals)
        return objective

    def _log_means(self, stage: str, more: dict[str, Any]) -> None:
        means = self.means[stage].compute()
        summary = {**self.criterion.summarize(means), **self.more_measures(stage, means, self.means[stage].samples)}
        values = {f"{stage}/{name}": mean for name, mean in summary.items()}
        # One value an epoch, already a mean: another batch size would only multiply and divide it.
        self.log_dict({**values, **more}, on_step=False, on_epoch=True, batch_size=1)


def configure_optimization(
    network: nn.Module, module: LectureModule, trainer: lightning.Trainer
) -> OptimizerLRScheduler:
    """Build the optimiser that a module asks for, and its schedule, for the parameters of a network."""
    optimizer = build_optimizer(network, module.optimizer, module.optimizer_arguments)
    if module.schedule == "constant" and not module.warmup:
        return optimizer
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
