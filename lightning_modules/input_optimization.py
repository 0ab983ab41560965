"""Gradient descent on the input: an image is optimised through a frozen network."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_modules.base import LectureModule, ShapedSamples, not_none
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.layers import validate_count
from lightning_modules.layers.initialization import weight_generator
from lightning_modules.losses import build_loss
from lightning_modules.optimization import build_optimizer, optimizer_arguments

HIDDEN = (128, 128)
PRETRAINING_LR = 1e-3
PRETRAINING_BATCH = 128
INVERSION = "mse"
CLASS_LOSSES = ("cross_entropy", "naive_cross_entropy", "one_hot_mse")


class Noise(nn.Module):
    """The optimised image, as the weight of a layer without input, so that weight decay and penalties act on it.

    Args:
        sample_shape: shape of the image, without the batch axis.
        seed: seed of the initial values, N(0, 1).
    """

    def __init__(self, sample_shape: Sequence[int], seed: int) -> None:
        super().__init__()
        draws = weight_generator(seed, "noise")
        values = torch.randn(1, *sample_shape, generator=draws, dtype=torch.float64)
        self.weight = nn.Parameter(values.to(torch.get_default_dtype()))

    def forward(self) -> Tensor:
        """Return the image as a batch of one: (1, *sample_shape)."""
        return self.weight


class InputOptimizationNetwork(nn.Module):
    """A frozen fully connected network, the image that is its input, and the target of its outputs.

    The noise is the only parameter with a gradient. The network and the target are saved in every checkpoint.

    Args:
        sample_shape: shape of a sample.
        out_features: number of outputs.
        hidden: units of each hidden layer of the frozen network.
        seed: seed of the noise and of the frozen network's weights.
        activation: activation of the frozen network.
        target_class: target class of the noise; None for a target image.
    """

    # (1, *sample_shape); None if there is a target class.
    target_image: Tensor | None
    # The target: a label (1,), or the network's outputs for the target image (1, out_features).
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
        # No `eval()` is needed: no layer depends on the mode.
        self.frozen.requires_grad_(False)
        inverts = target_class is None
        self.register_buffer("target_image", torch.zeros(1, *sample_shape) if inverts else None)
        self.register_buffer("wanted", torch.zeros(1, out_features) if inverts else torch.tensor([target_class]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the frozen network: (batch, …) to (batch, out_features)."""
        outputs: Tensor = self.frozen(inputs)
        return outputs


def pretrain(network: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int, seed: int) -> None:
    """Train a classifier in place with Adam on batches drawn with replacement, without a Trainer or logging.

    Args:
        network: the classifier.
        inputs: (n, …).
        labels: (n,), integers.
        steps: steps of Adam.
        seed: seed of the batches.

    Raises:
        ValueError: targets that are not labels, or a label out of range.
    """
    criterion = build_loss("cross_entropy")
    optimizer = build_optimizer(network, "adam", optimizer_arguments("adam", lr=PRETRAINING_LR))
    draws = weight_generator(seed, "pretraining")
    for _ in range(steps):
        rows = torch.randint(len(inputs), (PRETRAINING_BATCH,), generator=draws)
        outputs = network(inputs[rows])
        criterion.validate_shape(outputs, labels[rows])
        criterion.validate_values(outputs, labels[rows])
        optimizer.zero_grad()
        criterion.mean(outputs, labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


# Networks trained in this process, by a digest of everything that determines them. The conditions of an experiment
# share their networks, and training one takes longer than optimising an image.
_pretrained_states: dict[bytes, dict[str, Tensor]] = {}
MAX_PRETRAINED = 64


def pretrained(network: nn.Module, inputs: Tensor, labels: Tensor, *, steps: int, seed: int) -> dict[str, Tensor]:
    """Return the state of a network after `pretrain`; results are cached.

    Args:
        network: untrained network; it may be changed.
        inputs: (n, …).
        labels: (n,), integers.
        steps: steps of Adam.
        seed: seed of the batches.
    """
    digest = hashlib.sha256(f"{network} {steps} {seed} {inputs.device} {inputs.dtype}".encode())
    for tensor in (inputs, labels, *network.state_dict().values()):
        digest.update(tensor.cpu().numpy().tobytes())
    key = digest.digest()
    if key not in _pretrained_states:
        pretrain(network, inputs, labels, steps=steps, seed=seed)
        _pretrained_states[key] = {name: value.clone() for name, value in network.state_dict().items()}
        if len(_pretrained_states) > MAX_PRETRAINED:
            del _pretrained_states[next(iter(_pretrained_states))]
    return _pretrained_states[key]


@dataclass(kw_only=True, eq=False, repr=False)
class InputOptimization(ShapedSamples, LectureModule):
    """Gradient descent on an image of noise through a network that is first trained and then frozen.

    Slide "Fonction standard d'apprentissage": `AdamW([noise], lr=5e-1)` with OneCycleLR over 1000 steps corresponds to
    `optimizer: adamw, lr: 0.5, schedule: one_cycle`. With the loss mse (inversion), the network's outputs for the noise
    approach those for a test image drawn from the seed; other images may have the same outputs. With a loss for class
    labels, the network classifies the noise as `target_class`.

    Before the first step, a fully connected network is trained on the data module's training split by Adam (1e-3,
    batches of 128); the result depends only on the seed. The training batches are then ignored: the only sample is the
    noise. `train/loss`, `val/loss` and `test/loss` are losses of the noise; `predict` computes outputs for the data.
    Weight decay (default: AdamW's .01; 0 switches it off), l1 and l2 act on the noise, as on the slide. They pull every
    pixel towards 0, so the loss does not reach 0.

    Raises:
        ValueError: unknown name, number out of range, or target that the loss does not use.
    """

    hidden: list[int] | None = None
    """Units of each hidden layer of the frozen network, starting at the input. Default: [128, 128]."""
    activation: str = "tanh"
    """Activation of the frozen network: identity, sigmoid, tanh, relu, leaky_relu, elu, gelu or silu."""
    pretraining_steps: int = 400
    """Steps of Adam that train the frozen network, >= 0."""
    loss: str = INVERSION
    """mse (inversion); or cross_entropy, naive_cross_entropy, one_hot_mse with a target_class."""
    target_class: int | None = None
    """Target class of the noise, >= 0; not with mse."""

    network: InputOptimizationNetwork = field(init=False)

    def validate_sizes(self) -> None:
        """Validate the sizes, and that the target fits the loss and the classes."""
        super().validate_sizes()
        loss, target, classes = self.loss, self.target_class, self.num_classes
        assert classes is not None
        validate_count("num_classes", classes, minimum=2)
        validate_count("pretraining_steps", self.pretraining_steps, minimum=0)
        if loss == INVERSION and target is not None:
            raise ValueError(f"target_class={target} has no effect: {loss} brings the noise to a test image")
        if loss in CLASS_LOSSES and target not in range(classes):
            raise ValueError(f"{loss} needs a target_class from 0 to {classes - 1}, not {target}")
        if loss not in (INVERSION, *CLASS_LOSSES):
            raise ValueError(f"loss must be {INVERSION} or one of class labels ({', '.join(CLASS_LOSSES)}), not {loss}")

    def configure_metrics(self) -> dict[str, Metric]:
        """Build the metrics; an inversion has none by default, because its targets do not vary."""
        return {} if self.loss == INVERSION and self.metrics is None else super().configure_metrics()

    def configure_network(self) -> InputOptimizationNetwork:
        """Build the noise and the network; a fit trains the network and draws the target."""
        return InputOptimizationNetwork(
            not_none(self.sample_shape),
            not_none(self.num_classes),
            HIDDEN if self.hidden is None else self.hidden,
            seed=not_none(self.seed),
            activation=self.activation,
            target_class=self.target_class,
        )

    def prepare_fit(self, data: Any) -> None:
        """Train and freeze the network, and draw the target.

        Args:
            data: a data module with the splits `train` and `test`, each a pair (inputs, labels).

        Raises:
            ValueError: there is no data module.
        """
        if data is None:
            raise ValueError("InputOptimization trains its network on the training split of a data module: give one")
        network, dtype = self.network, self.network.noise.weight.dtype
        inputs, labels = data.train
        # A new network, so that a second fit starts from the same weights and the frozen network has no gradients.
        untrained = self.configure_network().frozen.to(dtype).requires_grad_()
        steps = self.pretraining_steps
        network.frozen.load_state_dict(
            pretrained(untrained, inputs.to(dtype), labels, steps=steps, seed=not_none(self.seed))
        )
        if network.target_image is not None:
            images = data.test[0]
            row = torch.randint(len(images), (), generator=weight_generator(not_none(self.seed), "target"))
            network.target_image.copy_(images[row])
            network.wanted.copy_(network(network.target_image))

    def validate_batch(self, batch: Sequence[Tensor]) -> None:
        """Validate that the network can be trained on labels like these before it is frozen.

        Raises:
            ValueError: targets that are not labels, or a label out of range.
        """
        inputs, labels = batch
        outputs = self.predict_step(inputs, 0)
        criterion = build_loss("cross_entropy")
        criterion.validate_shape(outputs, labels)
        criterion.validate_values(outputs, labels)

    def unpack_batch(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the noise and the target of its outputs; ignore the batch."""
        return self.network.noise(), self.network.wanted
