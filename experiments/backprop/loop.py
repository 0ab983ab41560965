"""Check that one training loop computes the gradient of every system of the lecture."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from lightning_modules import (
    Convolutional,
    FullyConnected,
    InputOptimization,
    LinearModel,
    LinearStack,
    Modular,
    Perceptron,
    Recurrent,
    TwoLayer,
)
from lightning_modules.base import LectureModule

BATCH, CLASSES = 8, 3
SHAPE = (1, 8, 8)
STEP = 1e-6
REPEATS = 2


def one_loop(seed: int) -> dict[str, float]:
    """Compare the gradient after reset and backward with a central difference of the loss along it, for every system.

    The check covers every system of the lecture and every kind of target; it trains nothing.
    """
    generator, errors = Generator().manual_seed(seed), []
    for repeat in range(REPEATS):
        for module, inputs, targets in systems(REPEATS * seed + repeat, generator):
            errors.append(slope_error(module, inputs, targets))
    return {"error": max(errors), "draws": float(len(errors))}


def systems(seed: int, generator: Generator) -> list[tuple[LectureModule, Tensor, Tensor]]:
    """Build every system with random weights, and a batch for each.

    The batch of `InputOptimization` is its noise, which is both parameter and input.
    """
    features = math.prod(SHAPE)
    flat: dict[str, Any] = {"num_features": features, "num_classes": CLASSES, "seed": seed}
    inputs = torch.randn(BATCH, *SHAPE, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    numbers = torch.randn(BATCH, CLASSES, generator=generator, dtype=torch.float64)
    several = torch.randint(2, (BATCH, CLASSES), generator=generator).double()
    noise = InputOptimization(sample_shape=SHAPE, num_classes=CLASSES, seed=seed, hidden=[8]).double()
    shaped: dict[str, Any] = {"sample_shape": SHAPE, "num_classes": CLASSES, "seed": seed}
    # Smooth activations, because a kink inside the central difference makes it inaccurate.
    return [
        (Perceptron(num_features=features, num_classes=2, seed=seed, initialization="default"), inputs, labels % 2),
        (LinearModel(**flat, loss="mse"), inputs, numbers),
        (LinearModel(**flat), inputs, labels),
        (LinearStack(**flat, hidden=[5]), inputs, labels),
        (TwoLayer(**flat), inputs, numbers),
        (FullyConnected(**flat, hidden=[8, 8], activation="tanh"), inputs, labels),
        (FullyConnected(**flat, hidden=[8], activation="sigmoid", loss="one_hot_mse"), inputs, labels),
        (FullyConnected(**flat, hidden=[8], activation="tanh", loss="bce", normalization="batch"), inputs, several),
        (Modular(**flat, hidden=[8], activation="tanh", gradient="autograd"), inputs, labels),
        (Convolutional(**shaped, channels=[3, 4], pooling="average", activation="tanh"), inputs, labels),
        (Recurrent(**shaped, width=6), inputs, labels),
        (noise, noise.network.noise(), noise.network.wanted + 1),
    ]


def slope_error(module: LectureModule, inputs: Tensor, targets: Tensor) -> float:
    """Compute the relative difference between the slope of the loss along its gradient and the gradient's norm."""
    module.double()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    loss = loss_of(module, inputs, targets)
    module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in parameters]
    if any(gradient is None for gradient in gradients):
        return math.inf
    direction = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])
    norm = float(direction.norm())
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter in parameters:
                assert parameter.grad is not None  # compared with None above
                parameter.add_(sign * STEP / norm * parameter.grad)
            ends.append(float(loss_of(module, inputs, targets)))
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.sub_(sign * STEP / norm * parameter.grad)
    return abs((ends[0] - ends[1]) / (2 * STEP) - norm) / norm


def loss_of(module: LectureModule, inputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean loss of a batch as in a training step."""
    return module.criterion.mean(module(inputs), targets)
