"""Checks of the perceptron, its cost and its algorithm: pure functions of a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from datamodules import Boolean, BreastCancer, Circles, Digits, Iris, Separable, Wine
from datamodules.base import InMemoryDataModule
from experiments.perceptron.algorithm import Floats, learn, linearly_separable, signed_rows
from lightning_modules.perceptron import PerceptronNetwork, novikoff_bound, perceptron_cost

DRAWS = 50
# Number of random sample orders for each data set.
ORDERS = 4
MOST_EPOCHS = 1000
# Limit for data that may not be separable, where the algorithm never stops.
CAPPED_EPOCHS = 100
# Epochs of training before an accuracy is measured.
PASSES = 20
# Data set, options, and the class that is separated from all others.
SEPARABLE: dict[str, tuple[Any, dict[str, Any], int]] = {
    "and": (Boolean, {"function": "and"}, 1),
    "setosa": (Iris, {}, 0),
    "wine": (Wine, {}, 0),
    "zero": (Digits, {}, 0),
    "tumours": (BreastCancer, {}, 0),
    "points": (Separable, {}, 1),
}
INSEPARABLE: dict[str, tuple[Any, dict[str, Any], int]] = {
    "xor": (Boolean, {"function": "xor"}, 1),
    "versicolor": (Iris, {}, 1),
}
LIMITED: dict[str, tuple[Any, dict[str, Any]]] = {
    "xor": (Boolean, {"function": "xor", "noise": 0.4}),
    "circles": (Circles, {}),
}
# Accuracy of the best line without noise. XOR: three of four points. Circles: the inner circle, and the third of the
# outer one beyond a line that touches the inner one, at half the radius.
BEST_LINE = {"xor": 3 / 4, "circles": 2 / 3}


def linear_function(seed: int) -> dict[str, float]:
    """Compare the network's f(x) and its sign with w0 + ⟨w, x⟩ summed by hand."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(DRAWS):
        d = int(rng.integers(1, 20))
        network = PerceptronNetwork(d, seed=int(rng.integers(2**31)), initialization="default").double()
        x = rng.normal(size=(1, d))
        w, w0 = network.output.weight[0].tolist(), network.output.bias.item()
        truth = w0 + sum(weight * float(number) for weight, number in zip(w, x[0], strict=True))
        found = network(torch.from_numpy(x)).item()
        worst = max(worst, abs(found - truth) / (1 + abs(truth)), float((found > 0) != (truth > 0)))
    return {"error": worst, "draws": DRAWS}


def cost_direction(seed: int) -> dict[str, float]:
    """Verify that descent of the cost leaves no mistake, and count how often ascent has an error above one half."""
    rng, rows = np.random.default_rng(seed), _rows(Iris(batch_size=1, seed=seed), 0)
    down = [_error(rows, learn(rows, rng, MOST_EPOCHS).weights) for _ in range(DRAWS)]
    up = [_error(rows, learn(rows, rng, 2, ascent=True).weights) for _ in range(DRAWS)]
    return {
        "error": max(down),
        "draws": DRAWS,
        "counterexamples": sum(error > 0.5 for error in up),
        "error_up": float(np.mean(up)),
    }


def strict_start(seed: int) -> dict[str, float]:
    """Compare, from w = 0, the rule y f(x) <= 0, which leaves no mistake, with y f(x) < 0, which never updates."""
    rng, rows = np.random.default_rng(seed), _rows(Iris(batch_size=1, seed=seed), 0)
    loose = [learn(rows, rng, MOST_EPOCHS) for _ in range(DRAWS)]
    strict = [learn(rows, rng, MOST_EPOCHS, strict=True) for _ in range(DRAWS)]
    return {
        "error": max(_error(rows, found.weights) for found in loose),
        "draws": DRAWS,
        "counterexamples": sum(found.updates == 0 and found.ended for found in strict),
    }


def update_is_gradient(seed: int) -> dict[str, float]:
    """Compare the update of one sample with minus autograd's gradient of max(0, −y f(x)), and the costs."""
    generator, worst = torch.Generator().manual_seed(seed), 0.0
    for _ in range(DRAWS):
        x, w = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
        label = torch.randint(2, (1,), generator=generator)
        y = (2 * label - 1).double()
        row = np.asarray(y * x)[None]
        moved = learn(row, np.random.default_rng(seed), 1, start=w.numpy()).weights - w.numpy()
        w.requires_grad_()
        plain, ours = torch.relu(-y * (x @ w)).sum(), perceptron_cost((x @ w).reshape(1, 1), label)
        for cost in (plain, ours):
            (gradient,) = torch.autograd.grad(cost, w, retain_graph=True)
            worst = max(worst, float(np.abs(-gradient.numpy() - moved).max()), abs(cost.item() - plain.item()))
    return {"error": worst, "draws": DRAWS}


def step_size(seed: int) -> dict[str, float]:
    """Verify that, from w = 0, the step size ε only scales w: the number of updates and w/ε do not change."""
    rng, worst = np.random.default_rng(seed), 0.0
    rows = _rows(Separable(batch_size=1, seed=seed, dimension=5), 1)
    for draw in range(DRAWS):
        step = float(10 ** rng.uniform(-3, 3))
        one = learn(rows, np.random.default_rng([seed, draw]), MOST_EPOCHS)
        other = learn(rows, np.random.default_rng([seed, draw]), MOST_EPOCHS, step=step)
        stretched = np.abs(other.weights / step - one.weights).max() / (1 + np.abs(one.weights).max())
        worst = max(worst, float(stretched), abs(one.updates - other.updates))
    return {"error": worst, "draws": DRAWS}


def separable_data(seed: int) -> dict[str, float]:
    """Count the updates until an epoch has no mistake, and compute Novikoff's bound, for every separable data set."""
    numbers: dict[str, float] = {}
    for name, (data_set, options, wanted) in SEPARABLE.items():
        data = data_set(batch_size=1, seed=seed, **options)
        rows = _rows(data, wanted)
        found = [learn(rows, np.random.default_rng([seed, order]), MOST_EPOCHS) for order in range(ORDERS)]
        x, y = data.train
        numbers[f"bound/{name}"] = novikoff_bound(x, (y == wanted).long())
        numbers[f"updates/{name}"] = float(np.mean([learned.updates for learned in found]))
        numbers[f"most_updates/{name}"] = max(learned.updates for learned in found)
        numbers[f"ended/{name}"] = float(all(learned.ended for learned in found))
    excess = [max(0.0, numbers[f"most_updates/{n}"] / numbers[f"bound/{n}"] - 1) for n in SEPARABLE]
    ended = min(numbers[f"ended/{name}"] for name in SEPARABLE)
    return {**numbers, "error": max(excess), "draws": len(SEPARABLE) * ORDERS, "ended": ended}


def inseparable_data(seed: int) -> dict[str, float]:
    """Test whether the algorithm stops within the limit on data that are not separable: 0 or 1 for each data set."""
    numbers: dict[str, float] = {}
    for name, (data_set, options, wanted) in INSEPARABLE.items():
        rows = _rows(data_set(batch_size=1, seed=seed, **options), wanted)
        learned = learn(rows, np.random.default_rng(seed), CAPPED_EPOCHS)
        numbers |= {f"ended/{name}": float(learned.ended), f"error/{name}": _error(rows, learned.weights)}
    return numbers


def limited_data(seed: int) -> dict[str, float]:
    """Measure the test accuracy on data that are not separable, and subtract that of the best line."""
    numbers: dict[str, float] = {}
    for name, (data_set, options) in LIMITED.items():
        data = data_set(batch_size=1, seed=seed, **options)
        weights = learn(_rows(data, 1), np.random.default_rng(seed), PASSES).weights
        x, y = data.test
        tests = signed_rows(x.double().numpy(), _signs(y.numpy() == 1))
        numbers[f"accuracy/{name}"] = 1 - _error(tests, weights)
        numbers[f"above_best_line/{name}"] = numbers[f"accuracy/{name}"] - BEST_LINE[name]
    return numbers


def functions_of_two(seed: int) -> dict[str, float]:
    """Verify that the perceptron learns 14 of the 16 boolean functions of two inputs, those that a line separates."""
    return _learned_functions(seed, inputs=2, bias=True, known=14, orders=2)


def functions_of_two_without_bias(seed: int) -> dict[str, float]:
    """Verify that, without w0, it learns 4 of the 16, those that a line through the origin separates."""
    return _learned_functions(seed, inputs=2, bias=False, known=4, orders=2)


def functions_of_three(seed: int) -> dict[str, float]:
    """Verify that the perceptron learns 104 of the 256 boolean functions of three inputs."""
    return _learned_functions(seed, inputs=3, bias=True, known=104, orders=1)


def trivial_minimum(seed: int) -> dict[str, float]:
    """Verify that the cost is >= 0, is 0 at w = 0, and that scaling w scales it but changes no decision."""
    generator, worst = torch.Generator().manual_seed(seed), 0.0
    for _ in range(DRAWS):
        x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
        labels = torch.randint(2, (30,), generator=generator)
        w = torch.randn(4, 1, generator=generator, dtype=torch.float64)
        factor = torch.rand(1, generator=generator, dtype=torch.float64)
        cost, shrunk, at_zero = (perceptron_cost(x @ v, labels).item() for v in (w, factor * w, 0 * w))
        same = torch.equal(x @ w > 0, x @ (factor * w) > 0)
        worst = max(worst, abs(at_zero), max(0.0, -cost), abs(shrunk - factor.item() * cost), float(not same))
    return {"error": worst, "draws": DRAWS}


def truth_tables(inputs: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield all boolean functions of a number of inputs, as points (2^inputs, inputs) and values, both −1 or 1.

    Bit i of a function's index is its value for the inputs that are i in binary.
    """
    points = np.array(list(itertools.product([-1.0, 1.0], repeat=inputs)))
    for number in range(2 ** len(points)):
        yield points, _signs((number >> np.arange(len(points))) & 1 == 1)


def _learned_functions(seed: int, inputs: int, bias: bool, known: int, orders: int) -> dict[str, float]:
    """Run the algorithm on every boolean function, in several random orders of the points.

    A function is learned if every order ends without a mistake. For two inputs, the last weights are returned for the
    figure.
    """
    numbers: dict[str, float] = {}
    wrong = 0
    for number, (points, values) in enumerate(truth_tables(inputs)):
        rows = signed_rows(points, values, bias)
        tries = [learn(rows, np.random.default_rng([seed, number, order]), CAPPED_EPOCHS) for order in range(orders)]
        separable = linearly_separable(rows)
        wrong += sum(learned.ended != separable for learned in tries)
        numbers[f"learned/{number:02d}"] = float(all(learned.ended for learned in tries))
        if inputs == 2:
            numbers |= {f"weight/{number:02d}/{k}": float(weight) for k, weight in enumerate(tries[-1].weights)}
    count = sum(value for name, value in numbers.items() if name.startswith("learned/"))
    kept = numbers if inputs == 2 else {}
    draws = orders * 2 ** (2**inputs)
    return {**kept, "error": wrong + abs(count - known), "draws": draws, "learned": count}


def _rows(data: InMemoryDataModule, wanted: int) -> Floats:
    """Return the signed training samples of one class against all others."""
    data.setup()
    x, y = data.train
    return signed_rows(x.flatten(1).double().numpy(), _signs(y.numpy() == wanted))


def _signs(true: np.ndarray) -> Floats:
    return np.where(true, 1.0, -1.0)


def _error(rows: Floats, weights: Floats) -> float:
    """Compute the share of samples with a wrong or undecided class."""
    return float(np.mean(rows @ weights <= 0))
