"""Networks of one shape trained as one: their parameters in tensors with a leading axis, one entry a seed.

A step of a small network costs more in calls than in arithmetic; a stack pays for the calls once for all its seeds.
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

from lightning_modules.base import STAGES, LectureModule, configure_optimization, is_last_step, known
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.metrics import Epoch, count_networks
from lightning_modules.penalties import penalized, penalty
from lightning_modules.perceptron import PerceptronNetwork
from lightning_modules.recurrent import RecurrentNetwork


class NotStackableError(ValueError):
    """These seeds have to be trained one by one; the message says why."""


# --- Layers on activations of the form (seeds, units, batch): so BatchNorm finds its channels without a copy.


class StackedLinear(nn.Linear):
    """`nn.Linear` of every seed in one matrix product."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, in_features, batch) to (seeds, out_features, batch)."""
        bias: Tensor | None = self.bias
        if bias is None:
            return torch.bmm(self.weight, inputs)
        return torch.baddbmm(bias.unsqueeze(2), self.weight, inputs)


class StackedBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` of every seed: the units of all seeds are so many channels."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, units, batch), kept."""
        if self.training:
            if inputs.shape[2] < 2:
                # In the words of torch, whose own check counts the units as samples.
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


class Streams:
    """The states of the seeds' global random generators, as each would find them in a process of its own."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.states = [torch.Generator().manual_seed(seed).get_state() for seed in seeds]

    @contextmanager
    def of(self, index: int) -> Iterator[None]:
        """Draw from the stream of one seed, and leave it where the drawing ended."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.states[index])
            yield
            self.states[index] = torch.get_rng_state()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leave all streams where they are now."""
        states = list(self.states)
        try:
            yield
        finally:
            self.states[:] = states


class SeedBySeed(nn.Module):
    """Any module, called once for each seed.

    Args:
        modules: one a seed; they stay those of the plain networks, with their parameters, if any.
        streams: what a module that draws at random draws from.
        axis: the axis of the batch, moved to the front of what a module sees; 0 leaves it there.
    """

    def __init__(self, modules: Sequence[nn.Module], streams: Streams, axis: int = 0) -> None:
        super().__init__()
        self.plain = tuple(modules)  # a tuple: their parameters are reached by the stack's own names
        self.streams = streams
        self.axis = axis

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, …) to (seeds, …)."""
        outputs = []
        for index, (module, one) in enumerate(zip(self.plain, inputs.unbind(), strict=True)):
            with self.streams.of(index):
                # Contiguous: masks are drawn in the order of the memory.
                outputs.append(module(one.movedim(self.axis, 0).contiguous()).movedim(0, self.axis))
        return torch.stack(outputs)


STACKED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: StackedLinear,
    nn.BatchNorm1d: StackedBatchNorm,
    nn.LayerNorm: StackedLayerNorm,
}


class StackedNetwork(nn.Module):
    """Several networks of one shape as one: its parameters and buffers lead with the axis of the seeds.

    They have, in its `network`, the names that they have in a plain one. After `link`, each plain network is a view:
    what is learnt here is learnt there, and what is loaded there is loaded here.

    Args:
        networks: plain networks that differ in their parameters only.
        seeds: of the random numbers that each draws while it is trained.
    """

    def __init__(self, networks: Sequence[nn.Module], seeds: Sequence[int]) -> None:
        super().__init__()
        self.plain = tuple(networks)
        self.parts = tuple(part for network in networks for part in network.modules())
        self.streams = Streams(seeds)
        self._gradients: list[Tensor] = []
        # Whether the plain networks are to be called one by one, so that hooks on their parts see what they compute.
        self.watched = False
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
            self.whole = SeedBySeed(networks, self.streams)

    @property
    def layerwise(self) -> bool:
        """Whether it computes layer by layer, each for all networks, on activations of (networks, units, batch)."""
        return isinstance(self.network, FullyConnectedNetwork | PerceptronNetwork)

    def _replace(self, name: str, layer: nn.Module) -> None:
        """Let a leaf of the fully connected network compute for all seeds."""
        if any(True for _ in layer.children()) or isinstance(layer, nn.ModuleList) or name.endswith(".activation"):
            return  # an activation takes each number by itself
        stacked = STACKED.get(type(layer))
        if stacked is not None:
            layer.__class__ = stacked
            return
        parent = self.network.get_submodule(name.rpartition(".")[0])
        parts = [network.get_submodule(name) for network in self.plain]
        setattr(parent, name.rpartition(".")[2], SeedBySeed(parts, self.streams, axis=1))

    @torch.no_grad()
    def link(self) -> None:
        """Make every plain network a view of this one; its own values are kept, and copied here."""
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
        """Set all gradients to 0, and make those of the plain networks views of them, which they stay."""
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
            # As `nn.Module` would, but without asking whether it is a parameter.
            vars(part)["training"] = mode
        return super().train(mode)

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, batch, …) to (seeds, batch, outputs)."""
        outputs: Tensor
        if isinstance(self.network, RecurrentNetwork) and not self.watched:
            # Many small calls: three times as fast as seed by seed. Convolutions would be slower in this way.
            weights = dict(self.network.named_parameters())
            outputs = torch.vmap(lambda own, samples: functional_call(self.network, own, samples))(weights, inputs)
            return outputs
        if not isinstance(self.network, FullyConnectedNetwork | PerceptronNetwork):
            outputs = self.whole(inputs)
            return outputs
        z = inputs.flatten(2).transpose(1, 2)
        for layer in self.network.hidden if isinstance(self.network, FullyConnectedNetwork) else ():
            z = layer(z)
        return self.network.output(z).transpose(1, 2)  # type: ignore[no-any-return]


@dataclass
class Ends:
    """Networks whose training has ended before that of the others, by their index."""

    # Epochs and steps that they took.
    places: dict[int, tuple[int, int]] = field(init=False, default_factory=dict)
    # Their parameters and buffers since then.
    states: dict[int, dict[str, Tensor]] = field(init=False, default_factory=dict)


class Stack(lightning.LightningModule):
    """Several modules of one configuration and different seeds, trained in one fit as each would be alone.

    Every batch leads with the axis of the networks. The loss is the sum over the networks, so that each learns from its
    own alone. `network_metrics` holds what each module would have logged.

    Args:
        modules: plain modules that `refuse_own_rules` has let pass; their networks become views of this one's.
    """

    def __init__(self, modules: Sequence[LectureModule]) -> None:
        super().__init__()
        self.plain = tuple(modules)
        self.network = StackedNetwork([module.network for module in modules], [known(m.seed) for m in modules])
        self.criterion = modules[0].criterion
        self.epochs = {stage: Epoch() for stage in STAGES}
        # (networks,) each; what the trainer's `callback_metrics` are of one network.
        self.network_metrics: dict[str, Tensor] = {}
        # Of the last training step, (networks,).
        self.losses = torch.empty(0)
        self.ends = Ends()

    @property
    def ended(self) -> Mapping[int, tuple[int, int]]:
        """Epochs and steps of the networks whose training has ended before that of the others."""
        return self.ends.places

    def end(self, networks: Iterable[int]) -> None:
        """End the training of some networks with this epoch: from now on their weights stay what they are."""
        for index in set(networks) - set(self.ended):
            self.ends.places[index] = (self.trainer.current_epoch + 1, self.trainer.global_step)
            state = self.network.network.state_dict()
            self.ends.states[index] = {name: value[index].clone() for name, value in state.items()}
        if len(self.ended) == len(self.plain):
            self.trainer.should_stop = True

    def put(self, states: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Give some networks the parameters and buffers of their plain networks."""
        for name, values in self.network.network.state_dict().items():
            for index, state in states.items():
                values[index].copy_(state[name])

    def on_fit_start(self) -> None:
        """Prepare every module for the fit."""
        for module, data in zip(self.plain, self.trainer.datamodule.parts, strict=True):  # type: ignore[attr-defined]
            module.prepare(data)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Give the plain networks their part of the stack that was saved: they are what `link` begins from."""
        prefix = "network.network."
        state = {n.removeprefix(prefix): v for n, v in checkpoint["state_dict"].items() if n.startswith(prefix)}
        for index, plain in enumerate(self.network.plain):
            plain.load_state_dict({name: values[index] for name, values in state.items()})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build what the first module would, for all: the optimisers act on each number by itself."""
        # Here the parameters have their device and precision.
        for module in self.plain:
            module.to(self.device).network.to(self.dtype)
        self.network.link()
        if self.plain[0].compiled:
            self.network.compile()
        return configure_optimization(self.network.network, self.plain[0], self.trainer)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Keep the tensors of the gradients: those of the plain networks are views of them."""
        self.network.zero_gradients()

    def on_validation_model_zero_grad(self) -> None:
        """Keep them during validation too; Lightning would let go of them."""

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of every network by its own norm; by value, each number is clipped by itself anyway."""
        if gradient_clip_algorithm in (None, "norm"):
            if gradient_clip_val:
                clip_gradients(gradients_of(optimizer), gradient_clip_val, stacked=True)
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Give the sum of the networks' losses, with their penalties."""
        self.losses = self._step(batch, batch_idx, "train")
        if is_last_step(self.trainer, batch_idx):
            self._count("train")
            rate = torch.tensor(self.trainer.optimizers[0].param_groups[0]["lr"], dtype=torch.float64)
            self.network_metrics["lr"] = rate.expand(len(self.plain))
        return {"loss": self.losses.sum(), "losses": self.losses.detach()}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep what has ended its training as it was then."""
        if self.ends.states:
            self.put(self.ends.states)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep what the metrics need of the batch."""
        self._step(batch, batch_idx, "val")

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep what the metrics need of the batch."""
        self._step(batch, batch_idx, "test")

    def train(self, mode: bool = True) -> Stack:
        """Set the mode of the plain modules too."""
        for module in self.plain:
            module.training = mode
        return super().train(mode)

    def on_validation_model_train(self) -> None:
        """Go back to training; Lightning's own way reaches the registered modules only."""
        self.train()

    def on_validation_epoch_end(self) -> None:
        """Count the validation sets."""
        self._count("val")

    def on_test_epoch_end(self) -> None:
        """Count the test sets."""
        self._count("test")

    def _step(self, batch: Sequence[Tensor], batch_idx: int, stage: str) -> Tensor:
        inputs, targets = batch
        if type(self.plain[0]).samples is not LectureModule.samples:
            pairs = [module.samples(pair) for module, pair in zip(self.plain, zip(*batch, strict=True), strict=True)]
            inputs, targets = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
        outputs = self.network(inputs)
        self.criterion.check_shape(outputs.flatten(0, 1), targets.flatten(0, 1))
        if targets.device.type == "cpu" or batch_idx == 0:
            self.criterion.check_values(outputs.flatten(0, 1), targets.flatten(0, 1))
        objective, cost = self.criterion.mean(outputs, targets), None
        first = self.plain[0]
        if stage == "train" and (first.l1 or first.l2):
            cost = torch.vmap(lambda *weights: penalty(weights, first.l1, first.l2))(*penalized(self.network.network))
        if batch_idx == 0:
            self.epochs[stage].clear()
        self.epochs[stage].add(objective, outputs, targets, cost)
        return objective if cost is None else objective + cost

    def _count(self, stage: str) -> None:
        columns = self.epochs[stage].columns(self.criterion.predict)
        self.network_metrics |= count_networks(self.plain[0].metrics_of(stage), columns)


def gradients_of(optimizer: Optimizer) -> list[Tensor]:
    """List the gradients of all parameters; of a stack, (seeds, …) each."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def norms_of(gradients: Sequence[Tensor], *, stacked: bool) -> Tensor:
    """Compute the Euclidean norm of a whole gradient, (): or of that of each network, (networks,)."""
    if stacked:
        of_each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    else:
        of_each = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(of_each), dim=0)
    return norms


def clip_gradients(gradients: Sequence[Tensor], max_norm: float, *, stacked: bool) -> Tensor:
    """Bound the norm of a gradient in place, or of each network's, as torch's `clip_grad_norm_`; give that before."""
    before = norms_of(gradients, stacked=stacked)
    # Where the factor is 1, nothing is multiplied; an accelerator is not asked, which would make it wait. A NaN is not
    # within the bound, and what is within in double precision is so in single.
    if before.device.type != "cpu" or not all(norm + 1e-6 <= max_norm for norm in before.flatten().tolist()):
        factors = (max_norm / (before + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)) if stacked else factors)
    return before


# What a module may have of its own: a stack asks each of its modules.
FREE = (
    *("check_batch", "check_sizes", "configure_losses", "configure_metrics", "configure_network", "prepare", "samples"),
    *(option.name for option in fields(LectureModule)),
)


def refuse_own_rules(kind: type[LectureModule]) -> None:
    """Refuse a module that trains otherwise than `LectureModule` says: a stack would not do it.

    Raises:
        NotStackableError: it does; the message says where.
    """
    for name in _own_rules(kind):
        raise NotStackableError(f"{kind.__name__} has a {name} of its own")


@functools.cache
def _own_rules(kind: type[LectureModule]) -> list[str]:
    names = [name for name in dir(LectureModule) if not name.startswith("__") and name not in FREE]
    pairs = [(name, *(inspect.getattr_static(each, name) for each in (kind, LectureModule))) for name in names]
    return [name for name, own, usual in pairs if own is not usual and callable(own)]
