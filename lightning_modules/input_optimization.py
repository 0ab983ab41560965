"""The image that is optimised through a frozen network: the same descent, in the space of descriptions."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_modules.base import LectureModule, ShapedSamples, known
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers import check_count
from lightning_modules.layers.initialization import weight_generator
from lightning_modules.losses import build_loss
from lightning_modules.optimization import build_optimizer, optimizer_arguments

HIDDEN = (128, 128)
PRETRAINING_LR = 1e-3
PRETRAINING_BATCH = 128
INVERSION = "mse"
CLASS_LOSSES = ("cross_entropy", "naive_cross_entropy", "one_hot_mse")


class Noise(nn.Module):
    """The image, as the weight of a layer that has no input: weight decay and penalties act on it as on any weight.

    Args:
        sample_shape: its shape, without the batch axis.
        seed: seed of its first values, N(0, 1).
    """

    def __init__(self, sample_shape: Sequence[int], seed: int) -> None:
        super().__init__()
        draws = weight_generator(seed, "noise")
        values = torch.randn(1, *sample_shape, generator=draws, dtype=torch.float64)
        self.weight = nn.Parameter(values.to(torch.get_default_dtype()))

    def forward(self) -> Tensor:
        """Give the image as a batch of one: (1, *sample_shape)."""
        return self.weight


class InputOptimizationNetwork(nn.Module):
    """A frozen fully connected network, the image in front of it, and what its outputs for this image should be.

    The noise is the only parameter with a gradient; all the rest is in the state, and so in every checkpoint.

    Args:
        sample_shape: shape of a sample.
        out_features: number of outputs.
        hidden: units of each hidden layer of the frozen network.
        seed: seed of the noise and of the frozen network's weights.
        activation: of the frozen network.
        target_class: class that the noise is to become; if not given, it is to become like a target image.
    """

    # (1, *sample_shape); None where there is a target class.
    target_image: Tensor | None
    # A label (1,), or the network's outputs for the target image (1, out_features).
    wanted: Tensor

    def __init__(
        self,
        sample_shape: Sequence[int],
        out_features: int,
        hidden: Sequence[int],
        *,
        seed: int,
        activation: str,
        target_class: int | None,
    ) -> None:
        super().__init__()
        self.noise = Noise(sample_shape, seed)
        self.frozen = FullyConnectedNetwork(prod(sample_shape), out_features, hidden, seed=seed, activation=activation)
        # No layer of it knows evaluation from training.
        self.frozen.requires_grad_(False)
        inverts = target_class is None
        self.register_buffer("target_image", torch.zeros(1, *sample_shape) if inverts else None)
        self.register_buffer("wanted", torch.zeros(1, out_features) if inverts else torch.tensor([target_class]))

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, …) to (batch, out_features), by the frozen network."""
        outputs: Tensor = self.frozen(inputs)
        return outputs


def pretrain(network: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int, seed: int) -> None:
    """Train a classifier with Adam, each batch drawn with replacement: no Trainer, and nothing is logged.

    Args:
        network: it is changed.
        inputs: (n, …).
        labels: (n,), integers.
        steps: steps of Adam.
        seed: seed of the batches.

    Raises:
        ValueError: targets that are no labels, or a label out of range.
    """
    criterion = build_loss("cross_entropy")
    optimizer = build_optimizer(network, "adam", optimizer_arguments("adam", lr=PRETRAINING_LR))
    draws = weight_generator(seed, "pretraining")
    for _ in range(steps):
        rows = torch.randint(len(inputs), (PRETRAINING_BATCH,), generator=draws)
        outputs = network(inputs[rows])
        criterion.check_shape(outputs, labels[rows])
        criterion.check_values(outputs, labels[rows])
        optimizer.zero_grad()
        criterion.mean(outputs, labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


# What was trained last in this process, by all that decides it: the conditions of an experiment begin with the same
# networks, and training one takes longer than optimising an image through it.
_trained: dict[bytes, dict[str, Tensor]] = {}
KEPT = 64


def pretrained(network: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int, seed: int) -> dict[str, Tensor]:
    """Give the state of a network that `pretrain` has trained; the same call again gives the same without training.

    Args:
        network: untrained; it may be changed.
        inputs: (n, …).
        labels: (n,), integers.
        steps: steps of Adam.
        seed: seed of the batches.
    """
    digest = hashlib.sha256(f"{network} {steps} {seed} {inputs.device} {inputs.dtype}".encode())
    for tensor in (inputs, labels, *network.state_dict().values()):
        digest.update(tensor.cpu().numpy().tobytes())
    key = digest.digest()
    if key not in _trained:
        pretrain(network, inputs, labels, steps=steps, seed=seed)
        _trained[key] = {name: value.clone() for name, value in network.state_dict().items()}
        if len(_trained) > KEPT:
            del _trained[next(iter(_trained))]
    return _trained[key]


@dataclass(kw_only=True, eq=False, repr=False)
class InputOptimization(ShapedSamples, LectureModule):
    """An image of noise is the only parameter: it descends a loss through a network that is trained and frozen first.

    Slide "Fonction standard d'apprentissage": its `AdamW([noise], lr=5e-1)` with OneCycleLR over 1000 steps is
    `optimizer: adamw, lr: 0.5, schedule: one_cycle`. Inversion (loss mse) brings the network's outputs for the
    noise to those for a test image drawn from the seed; other images may give the same outputs. With a loss of
    class labels the noise becomes what the network takes for `target_class`.

    Before the first step of a fit, a fully connected network is trained on the data module's training split by Adam
    (1e-3, batches of 128), from the seed alone. A training batch then only counts a step: the only sample is the noise.
    `train/loss`, `val/loss` and `test/loss` are of the noise; the outputs that predict writes, of the data. Weight
    decay (AdamW's own .01 if none is given; 0 switches it off), l1 and l2 act on the noise, as in the slide: they pull
    every pixel to 0, and keep the loss above a floor.

    Raises:
        ValueError: a name that does not exist, a number out of range, or a target that the loss does not use.
    """

    hidden: list[int] | None = None
    """Units of each hidden layer of the frozen network, nearest the input first; [128, 128] if not given."""
    activation: str = "tanh"
    """Of the frozen network: identity, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    pretraining_steps: int = 400
    """Steps of Adam on the frozen network, >= 0."""
    loss: str = INVERSION
    """mse (inversion), or cross_entropy, naive_cross_entropy, one_hot_mse towards target_class."""
    target_class: int | None = None
    """Class that the noise is to become, >= 0; not with mse."""

    network: InputOptimizationNetwork = field(init=False)

    def check_sizes(self) -> None:
        """Refuse a target that the loss does not use, or that is no class."""
        super().check_sizes()
        loss, target, classes = self.loss, self.target_class, self.num_classes
        assert classes is not None
        check_count("num_classes", classes, minimum=2)
        check_count("pretraining_steps", self.pretraining_steps, minimum=0)
        if loss == INVERSION and target is not None:
            raise ValueError(f"target_class={target} has no effect: {loss} brings the noise to a test image")
        if loss in CLASS_LOSSES and target not in range(classes):
            raise ValueError(f"{loss} needs a target_class from 0 to {classes - 1}, not {target}")
        if loss not in (INVERSION, *CLASS_LOSSES):
            raise ValueError(f"loss must be {INVERSION} or one of class labels ({', '.join(CLASS_LOSSES)}), not {loss}")

    def configure_metrics(self) -> dict[str, Metric]:
        """Count what the noise is taken for; of an inversion, whose targets do not vary, nothing but the loss."""
        return {} if self.loss == INVERSION and self.metrics is None else super().configure_metrics()

    def configure_network(self) -> InputOptimizationNetwork:
        """Build noise and network; the network is trained, and the target drawn, when a fit begins."""
        return InputOptimizationNetwork(
            known(self.sample_shape),
            known(self.num_classes),
            HIDDEN if self.hidden is None else self.hidden,
            seed=known(self.seed),
            activation=self.activation,
            target_class=self.target_class,
        )

    def prepare(self, data: Any) -> None:
        """Train the network to be frozen, and draw the target.

        Args:
            data: with the splits `train` and `test`, a pair (inputs, labels) each.

        Raises:
            ValueError: a fit without a data module, whose splits this needs.
        """
        if data is None:
            raise ValueError("InputOptimization trains its network on the training split of a data module: give one")
        network, dtype = self.network, self.network.noise.weight.dtype
        inputs, labels = data.train
        # A new one: the network itself never has a gradient, and a second fit begins from the same weights.
        untrained = self.configure_network().frozen.to(dtype).requires_grad_()
        steps = self.pretraining_steps
        network.frozen.load_state_dict(
            pretrained(untrained, inputs.to(dtype), labels, steps=steps, seed=known(self.seed))
        )
        if network.target_image is not None:
            images = data.test[0]
            row = torch.randint(len(images), (), generator=weight_generator(known(self.seed), "target"))
            network.target_image.copy_(images[row])
            network.wanted.copy_(network(network.target_image))

    def check_batch(self, batch: Sequence[Tensor]) -> None:
        """Find out whether the network can be trained on such labels before it is frozen.

        Raises:
            ValueError: it cannot.
        """
        inputs, labels = batch
        outputs = self.predict_step(inputs, 0)
        criterion = build_loss("cross_entropy")
        criterion.check_shape(outputs, labels)
        criterion.check_values(outputs, labels)

    def samples(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the noise and what its outputs should be: a batch only counts the step."""
        return self.network.noise(), self.network.wanted
