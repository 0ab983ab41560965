"""Checks of linear layers, the sign and biases: pure functions of a seed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.linear import LinearStack

DRAWS = 50
# Activations whose derivative is nowhere 0.
SMOOTH = ("sigmoid", "tanh")
Floats = NDArray[np.float64]


def collapse(seed: int) -> dict[str, float]:
    """Compare a stack of two to four linear layers with the single layer of their multiplied weights."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(DRAWS):
        features, classes, *hidden = (int(size) for size in rng.integers(1, 10, size=rng.integers(3, 6)))
        stack = LinearStack(num_features=features, num_classes=classes, hidden=hidden, seed=int(rng.integers(2**31)))
        x = torch.from_numpy(rng.normal(size=(20, features)))
        with torch.no_grad():
            two, one = stack.double().network(x), stack.collapse()(x)
        worst = max(worst, _error(two, one))
    return {"error": worst, "draws": DRAWS}


def expansion(seed: int) -> dict[str, float]:
    """Compare the lecture's expanded f3 with the network, correct and with w21 instead of the bias w01."""
    rng, worst, wrong = np.random.default_rng(seed), 0.0, 0
    for _ in range(DRAWS):
        network = FullyConnectedNetwork(2, 1, [2], seed=int(rng.integers(2**31)), activation="identity").double()
        x = rng.normal(size=(20, 2))
        with torch.no_grad():
            truth = network(torch.from_numpy(x))[:, 0].numpy()
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        # weight[j, i], from input i to unit j, is the slide's w_ij.
        w1, b1 = state["hidden.0.linear.weight"], state["hidden.0.linear.bias"]
        w2, b2 = state["output.weight"][0], state["output.bias"][0]
        right, as_transcribed = _expanded(x, w1, b1, w2, b2), _expanded(x, w1, b1, w2, w2[1])
        worst = max(worst, float((np.abs(right - truth) / (1 + np.abs(truth))).max()))
        wrong += bool(np.abs(as_transcribed - truth).max() > 1e-6)
    return {"error": worst, "draws": DRAWS, "counterexamples": wrong}


def sign_gradient(seed: int) -> dict[str, float]:
    """Verify that the gradient of the weights before a sign is exactly 0, and not 0 before a tanh or a sigmoid."""
    generator, worst = torch.Generator().manual_seed(seed), 0.0
    for draw in range(DRAWS):
        x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
        labels = torch.randint(2, (20,), generator=generator)
        worst = max(worst, _first_gradient("sign", seed + draw, x, labels))
        alive = min(_first_gradient(name, seed + draw, x, labels) for name in SMOOTH)
        worst = max(worst, float(alive == 0))
    return {"error": worst, "draws": DRAWS}


def odd_without_bias(seed: int) -> dict[str, float]:
    """Verify that a tanh network without biases is odd, f(−x) = −f(x), and so cannot be XOR, where f(−x) = f(x)."""
    generator, worst = torch.Generator().manual_seed(seed), 0.0
    points = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0])
    for draw in range(DRAWS):
        network = FullyConnectedNetwork(2, 2, [8], seed=seed + draw, activation="tanh", bias=False).double()
        x = torch.randn(20, 2, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            plus, minus, decided = network(x), network(-x), network(points).argmax(1)
        worst = max(worst, _error(plus, -minus), float((decided == labels).sum() != 2))
    return {"error": worst, "draws": DRAWS}


def _expanded(x: Floats, w1: Floats, b1: Floats, w2: Floats, b2: Floats) -> Floats:
    """Sum the terms of x1, of x2 and the constant, as on the slide "Combinons deux neurones"."""
    of_x1 = w2[0] * w1[0, 0] + w2[1] * w1[1, 0]
    of_x2 = w2[0] * w1[0, 1] + w2[1] * w1[1, 1]
    constant = b2 + w2[0] * b1[0] + w2[1] * b1[1]
    return np.asarray(x[:, 0] * of_x1 + x[:, 1] * of_x2 + constant)


def _first_gradient(name: str, seed: int, x: torch.Tensor, labels: torch.Tensor) -> float:
    """Compute the largest gradient of a weight or bias of the first layer."""
    network = FullyConnectedNetwork(2, 2, [8], seed=seed, activation=name).double()
    loss = torch.nn.functional.cross_entropy(network(x), labels)
    gradients = torch.autograd.grad(loss, list(network.hidden[0].parameters()))
    return max(float(gradient.abs().max()) for gradient in gradients)


def _error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((value - truth).abs() / (1 + truth.abs())).max())
