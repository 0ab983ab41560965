"""Several seeds of one network trained as one: each parameter tensor has a leading axis with one entry per seed.

The cost of a small network's step is mostly call overhead; a stack pays that overhead once for all seeds.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import Optimizer

from lightning_modules.base import STAGES, LectureModule, configure_optimization, is_last_step, not_none
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.metrics import EpochOutputs, compute_per_network
from lightning_modules.penalties import penalized_weights, penalty
from lightning_modules.perceptron import PerceptronNetwork
from lightning_modules.recurrent import RecurrentNetwork


class NotStackableError(ValueError):
    """The seeds must be trained one by one; the message says why."""


# --- Layers on activations of shape (seeds, units, batch), in which BatchNorm finds its channels without a copy.


class StackedLinear(nn.Linear):
    """`nn.Linear` of every seed in one matrix product."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, in_features, batch) to (seeds, out_features, batch)."""
        bias: Tensor | None = self.bias
        if bias is None:
            return torch.bmm(self.weight, inputs)
        return torch.baddbmm(bias.unsqueeze(2), self.weight, inputs)


class StackedBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` of every seed: each unit of each seed is one channel."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, units, batch), kept."""
        if self.training:
            if inputs.shape[2] < 2:
                # Torch's message; torch itself does not raise it, because it counts units as samples here.
                raise ValueError(f"Expected more than 1 value per channel when training, got input {inputs.shape[2:]}")
            self.num_batches_tracked.add_(1)
        normalized = F.batch_norm(
            inputs.reshape(1, -1, inputs.shape[2]),
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.weight.reshape(-1),
            self.bias.reshape(-1),
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return normalized.view(inputs.shape)


class StackedLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over the units of every seed."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, units, batch), kept."""
        normalized = F.layer_norm(inputs.transpose(1, 2), self.normalized_shape, eps=self.eps).transpose(1, 2)
        return torch.addcmul(self.bias.unsqueeze(2), normalized, self.weight.unsqueeze(2))


class RandomStates:
    """The state of the global random generator for each seed, as if each seed had its own process."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.states = [torch.Generator().manual_seed(seed).get_state() for seed in seeds]

    @contextmanager
    def use(self, index: int) -> Iterator[None]:
        """Make the global generator that of one seed, and save its state afterwards."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.states[index])
            yield
            self.states[index] = torch.get_rng_state()

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore all states afterwards."""
        states = list(self.states)
        try:
            yield
        finally:
            self.states[:] = states


class PerSeed(nn.Module):
    """Calls one module per seed, for layers that have no stacked version.

    Args:
        modules: one per seed; they remain parts of the plain networks.
        random_states: random states for modules that draw random numbers.
        axis: the batch axis of the inputs of one seed; it is moved to the front for the module.
    """

    def __init__(self, modules: Sequence[nn.Module], random_states: RandomStates, axis: int = 0) -> None:
        super().__init__()
        self.plain = tuple(modules)  # a tuple, so that their parameters are not registered twice
        self.random_states = random_states
        self.axis = axis

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, …) to (seeds, …)."""
        outputs = []
        for index, (module, one) in enumerate(zip(self.plain, inputs.unbind(), strict=True)):
            with self.random_states.use(index):
                # Contiguous, because dropout draws its mask in memory order.
                outputs.append(module(one.movedim(self.axis, 0).contiguous()).movedim(0, self.axis))
        return torch.stack(outputs)


STACKED_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.BatchNorm1d: StackedBatchNorm,
    nn.LayerNorm: StackedLayerNorm,
}


class StackedNetwork(nn.Module):
    """Several networks of one shape as one network whose parameters and buffers have a leading seed axis.

    Parameter names inside `network` are those of a plain network. After `link`, the parameters of the plain networks
    are views of the stacked ones: a change of either changes both.

    Args:
        networks: plain networks that differ only in their parameter values.
        seeds: seeds of the random numbers that each network draws during training.
    """

    def __init__(self, networks: Sequence[nn.Module], seeds: Sequence[int]) -> None:
        super().__init__()
        self.plain = tuple(networks)
        self.parts = tuple(part for network in networks for part in network.modules())
        self.random_states = RandomStates(seeds)
        self._gradients: list[Tensor] = []
        # Whether `forward` calls the plain networks one by one, so that hooks on their layers run.
        self.run_separately = False
        self.network = copy.deepcopy(networks[0])
        for module_name, module in self.network.named_modules():
            parts = [network.get_submodule(module_name) for network in networks]
            for name, parameter in module.named_parameters(recurse=False):
                values = torch.stack([part.get_parameter(name).detach() for part in parts])
                setattr(module, name, nn.Parameter(values, requires_grad=parameter.requires_grad))
            for name, _ in module.named_buffers(recurse=False):
                setattr(module, name, torch.stack([part.get_buffer(name) for part in parts]))
        if self.layerwise:
            for layer_name, layer in [*self.network.named_modules()]:
                self._replace(layer_name, layer)
        else:
            self.per_seed = PerSeed(networks, self.random_states)

    @property
    def layerwise(self) -> bool:
        """Whether each layer computes all seeds at once, on activations of shape (seeds, units, batch)."""
        return isinstance(self.network, FullyConnectedNetwork | PerceptronNetwork)

    def _replace(self, name: str, layer: nn.Module) -> None:
        """Replace a leaf module by one that computes all seeds."""
        if any(True for _ in layer.children()) or isinstance(layer, nn.ModuleList) or name.endswith(".activation"):
            return  # activations are elementwise
        stacked = STACKED_LAYERS.get(type(layer))
        if stacked is not None:
            layer.__class__ = stacked
            return
        parent = self.network.get_submodule(name.rpartition(".")[0])
        parts = [network.get_submodule(name) for network in self.plain]
        setattr(parent, name.rpartition(".")[2], PerSeed(parts, self.random_states, axis=1))

    @torch.no_grad()
    def link(self) -> None:
        """Copy the values of the plain networks into the stack, and make their tensors views of it."""
        for index, plain in enumerate(self.plain):
            for name, parameter in self.network.named_parameters():
                own = plain.get_parameter(name)
                parameter.data[index] = own
                own.data = parameter.data[index]
            for name, buffer in self.network.named_buffers():
                buffer[index] = plain.get_buffer(name)
                parent, _, last = name.rpartition(".")
                setattr(plain.get_submodule(parent), last, buffer[index])

    def zero_gradients(self) -> None:
        """Set all gradients to 0; the first call makes the gradients of the plain networks views of the stack's."""
        for gradient in self._gradients:
            gradient.zero_()
        if self._gradients:
            return
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
                self._gradients.append(parameter.grad)
                for plain, gradient in zip(self.plain, parameter.grad, strict=True):
                    plain.get_parameter(name).grad = gradient

    def train(self, mode: bool = True) -> StackedNetwork:
        """Set the mode of the plain networks too."""
        for part in self.parts:
            # Faster than setting the attribute, which checks for parameters.
            vars(part)["training"] = mode
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, batch, …) to (seeds, batch, outputs)."""
        outputs: Tensor
        if isinstance(self.network, RecurrentNetwork) and not self.run_separately:
            # Three times as fast as seed by seed, because of many small calls. Convolutions would be slower.
            weights = dict(self.network.named_parameters())
            outputs = torch.vmap(lambda own, samples: functional_call(self.network, own, samples))(weights, inputs)
            return outputs
        if not isinstance(self.network, FullyConnectedNetwork | PerceptronNetwork):
            outputs = self.per_seed(inputs)
            return outputs
        z = inputs.flatten(2).transpose(1, 2)
        for layer in self.network.hidden if isinstance(self.network, FullyConnectedNetwork) else ():
            z = layer(z)
        return self.network.output(z).transpose(1, 2)  # type: ignore[no-any-return]


@dataclass
class FinishedNetworks:
    """Networks that stopped training before the others, by index."""

    # Their numbers of epochs and steps.
    progress: dict[int, tuple[int, int]] = field(init=False, default_factory=dict)
    # Their parameters and buffers at that time.
    states: dict[int, dict[str, Tensor]] = field(init=False, default_factory=dict)


class Stack(lightning.LightningModule):
    """Several modules of one configuration and different seeds, trained in one fit with the results of separate fits.

    Batches have a leading network axis. The loss is the sum over the networks, so that each network gets only the
    gradient of its own loss. `network_metrics` holds the values that each module would log.

    Args:
        modules: plain modules accepted by `validate_stackable`; their parameters become views of the stack's.
    """

    def __init__(self, modules: Sequence[LectureModule]) -> None:
        super().__init__()
        self.plain = tuple(modules)
        self.network = StackedNetwork([module.network for module in modules], [not_none(m.seed) for m in modules])
        self.criterion = modules[0].criterion
        self.stage_outputs = {stage: EpochOutputs() for stage in STAGES}
        # Like the trainer's `callback_metrics`, with one value per network: (networks,) each.
        self.network_metrics: dict[str, Tensor] = {}
        # Losses of the last training step, (networks,).
        self.losses = torch.empty(0)
        self.finished = FinishedNetworks()

    @property
    def finished_at(self) -> Mapping[int, tuple[int, int]]:
        """Epochs and steps of the networks that have stopped training."""
        return self.finished.progress

    def finish(self, networks: Iterable[int]) -> None:
        """Stop the training of some networks with this epoch: their weights no longer change."""
        for index in set(networks) - set(self.finished_at):
            self.finished.progress[index] = (self.trainer.current_epoch + 1, self.trainer.global_step)
            state = self.network.network.state_dict()
            self.finished.states[index] = {name: value[index].clone() for name, value in state.items()}
        if len(self.finished_at) == len(self.plain):
            self.trainer.should_stop = True

    def load_network_states(self, states: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Copy parameters and buffers of plain networks into the stack.

        Args:
            states: state dict of a plain network, by the network's index.
        """
        for name, values in self.network.network.state_dict().items():
            for index, state in states.items():
                values[index].copy_(state[name])

    def on_fit_start(self) -> None:
        """Prepare each module for the fit."""
        for module, data in zip(self.plain, self.trainer.datamodule.parts, strict=True):  # type: ignore[attr-defined]
            module.prepare_fit(data)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the saved stack into the plain networks, from which `link` copies it."""
        prefix = "network.network."
        state = {n.removeprefix(prefix): v for n, v in checkpoint["state_dict"].items() if n.startswith(prefix)}
        for index, plain in enumerate(self.network.plain):
            plain.load_state_dict({name: values[index] for name, values in state.items()})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build one optimiser and schedule for all networks; optimisers act on each number separately."""
        # Linked here, because the parameters now have their device and precision.
        for module in self.plain:
            module.to(self.device).network.to(self.dtype)
        self.network.link()
        if self.plain[0].compiled:
            self.network.compile()
        return configure_optimization(self.network.network, self.plain[0], self.trainer)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Set gradients to 0 in place: the gradients of the plain networks are views of them."""
        self.network.zero_gradients()

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradient tensors during validation; Lightning would set them to None."""

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each network by its own norm, or each number by value."""
        if gradient_clip_algorithm in (None, "norm"):
            if gradient_clip_val:
                clip_gradients(parameter_gradients(optimizer), gradient_clip_val, stacked=True)
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the sum of the networks' losses and penalties."""
        self.losses = self._step(batch, batch_idx, "train")
        if is_last_step(self.trainer, batch_idx):
            self._count("train")
            rate = torch.tensor(self.trainer.optimizers[0].param_groups[0]["lr"], dtype=torch.float64)
            self.network_metrics["lr"] = rate.expand(len(self.plain))
        return {"loss": self.losses.sum(), "losses": self.losses.detach()}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Restore the weights of networks that have stopped training."""
        if self.finished.states:
            self.load_network_states(self.finished.states)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Collect outputs and targets for the metrics."""
        self._step(batch, batch_idx, "val")

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Collect outputs and targets for the metrics."""
        self._step(batch, batch_idx, "test")

    def train(self, mode: bool = True) -> Stack:
        """Set the mode of the plain modules too."""
        for module in self.plain:
            module.training = mode
        return super().train(mode)

    def on_validation_model_train(self) -> None:
        """Return to training mode; Lightning's own hook reaches only registered submodules."""
        self.train()

    def on_validation_epoch_end(self) -> None:
        """Compute the validation metrics."""
        self._count("val")

    def on_test_epoch_end(self) -> None:
        """Compute the test metrics."""
        self._count("test")

    def _step(self, batch: Sequence[Tensor], batch_idx: int, stage: str) -> Tensor:
        inputs, targets = batch
        if type(self.plain[0]).unpack_batch is not LectureModule.unpack_batch:
            pairs = [
                module.unpack_batch(pair) for module, pair in zip(self.plain, zip(*batch, strict=True), strict=True)
            ]
            inputs, targets = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
        outputs = self.network(inputs)
        self.criterion.validate_shape(outputs.flatten(0, 1), targets.flatten(0, 1))
        if targets.device.type == "cpu" or batch_idx == 0:
            self.criterion.validate_values(outputs.flatten(0, 1), targets.flatten(0, 1))
        objective, cost = self.criterion.mean(outputs, targets), None
        first = self.plain[0]
        if stage == "train" and (first.l1 or first.l2):
            cost = torch.vmap(lambda *weights: penalty(weights, first.l1, first.l2))(
                *penalized_weights(self.network.network)
            )
        if batch_idx == 0:
            self.stage_outputs[stage].clear()
        self.stage_outputs[stage].add(objective, outputs, targets, cost)
        return objective if cost is None else objective + cost

    def _count(self, stage: str) -> None:
        columns = self.stage_outputs[stage].metric_inputs(self.criterion.predict)
        self.network_metrics |= compute_per_network(self.plain[0].metrics_of(stage), columns)


def parameter_gradients(optimizer: Optimizer) -> list[Tensor]:
    """List the gradients of all parameters; for a stack, each has shape (seeds, …)."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def gradient_norms(gradients: Sequence[Tensor], *, stacked: bool) -> Tensor:
    """Compute the Euclidean norm of the whole gradient, (), or of each network's gradient, (networks,)."""
    if stacked:
        of_each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    else:
        of_each = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
    return norms


def clip_gradients(gradients: Sequence[Tensor], max_norm: float, *, stacked: bool) -> Tensor:
    """Clip the norm of the gradient, or of each network's, in place like `clip_grad_norm_`; return the norms before."""
    before = gradient_norms(gradients, stacked=stacked)
    # On the CPU, skip the multiplication if no norm exceeds the bound (NaN does). Reading the norms would synchronize
    # with an accelerator.
    if before.device.type != "cpu" or not all(norm + 1e-6 <= max_norm for norm in before.flatten().tolist()):
        factors = (max_norm / (before + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)) if stacked else factors)
    return before


# Methods and options that a stackable module may override: a stack calls them on each of its modules.
OVERRIDABLE = (
    *("configure_losses", "configure_metrics", "configure_network"),
    *("prepare_fit", "unpack_batch", "validate_batch", "validate_sizes"),
    *(option.name for option in fields(LectureModule)),
)


def validate_stackable(kind: type[LectureModule]) -> None:
    """Validate that a module class does not override the training of `LectureModule`, which a stack replaces.

    Raises:
        NotStackableError: the class overrides it; the message names the method.
    """
    for name in _overridden_methods(kind):
        raise NotStackableError(f"{kind.__name__} has a {name} of its own")


@functools.cache
def _overridden_methods(kind: type[LectureModule]) -> list[str]:
    names = [name for name in dir(LectureModule) if not name.startswith("__") and name not in OVERRIDABLE]
    pairs = [(name, *(inspect.getattr_static(each, name) for each in (kind, LectureModule))) for name in names]
    return [name for name, own, usual in pairs if own is not usual and callable(own)]
