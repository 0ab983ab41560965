"""What the perceptron's algorithm does, and what is known about it: pure functions of a seed."""

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
# Orders of the samples drawn for each data set.
ORDERS = 4
MOST_EPOCHS = 1000
# Data that no plane separates would go on for ever; each epoch of XOR has at least one update.
CAPPED_EPOCHS = 100
# The passes over the training samples that the accuracies are about.
PASSES = 20
# The class that is told from all others, as −1 and 1.
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
# The share that the best of all lines gets right without noise: three of XOR's four points; of the circles the inner
# one and the third of the outer one that a line beside the inner one, at half the radius, cuts off.
BEST_LINE = {"xor": 3 / 4, "circles": 2 / 3}


def linear_function(seed: int) -> dict[str, float]:
    """The network's f(x) is w0 + ⟨w, x⟩ summed by hand, and its decision the sign of that."""
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
    """Down the gradient of the cost no mistake is left; up the gradient more than half of the decisions are wrong."""
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
    """From w = 0, y f(x) <= 0 learns without a mistake left; y f(x) < 0 ends at once, with nothing learned."""
    rng, rows = np.random.default_rng(seed), _rows(Iris(batch_size=1, seed=seed), 0)
    loose = [learn(rows, rng, MOST_EPOCHS) for _ in range(DRAWS)]
    strict = [learn(rows, rng, MOST_EPOCHS, strict=True) for _ in range(DRAWS)]
    return {
        "error": max(_error(rows, found.weights) for found in loose),
        "draws": DRAWS,
        "counterexamples": sum(found.updates == 0 and found.ended for found in strict),
    }


def update_is_gradient(seed: int) -> dict[str, float]:
    """The update of one sample is minus the gradient, by autograd, of max(0, −y f(x)); and the cost is that one."""
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
    """From w = 0 the step only stretches w: the mistakes, the number of updates and w/ε stay the same."""
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
    """Updates until an epoch has no mistake, and Novikoff's bound on them, for every separable data set."""
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
    """Whether the algorithm ends within a cap where no plane separates: 0 or 1 for each data set."""
    numbers: dict[str, float] = {}
    for name, (data_set, options, wanted) in INSEPARABLE.items():
        rows = _rows(data_set(batch_size=1, seed=seed, **options), wanted)
        learned = learn(rows, np.random.default_rng(seed), CAPPED_EPOCHS)
        numbers |= {f"ended/{name}": float(learned.ended), f"error/{name}": _error(rows, learned.weights)}
    return numbers


def limited_data(seed: int) -> dict[str, float]:
    """Test accuracy of the perceptron where no line separates, and what it is above that of the best line."""
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
    """Of the 16 boolean functions of two inputs the perceptron learns 14: those that a line separates."""
    return _learned_functions(seed, inputs=2, bias=True, known=14, orders=2)


def functions_of_two_without_bias(seed: int) -> dict[str, float]:
    """Without w0 it learns 4 of them: those that a line through the origin separates."""
    return _learned_functions(seed, inputs=2, bias=False, known=4, orders=2)


def functions_of_three(seed: int) -> dict[str, float]:
    """Of the 256 boolean functions of three inputs it learns 104."""
    return _learned_functions(seed, inputs=3, bias=True, known=104, orders=1)


def trivial_minimum(seed: int) -> dict[str, float]:
    """The cost is nowhere below its value at w = 0, which is 0; shrinking w shrinks it and changes no decision."""
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
    """All boolean functions of so many inputs, as points (2^inputs, inputs) and values, both −1 or 1.

    Bit i of a function's place is its value where the inputs, read as a binary number, are i.
    """
    points = np.array(list(itertools.product([-1.0, 1.0], repeat=inputs)))
    for number in range(2 ** len(points)):
        yield points, _signs((number >> np.arange(len(points))) & 1 == 1)


def _learned_functions(seed: int, inputs: int, bias: bool, known: int, orders: int) -> dict[str, float]:
    """Let the algorithm try every boolean function, in some random orders of the points.

    A function is learned if it is in every order; the weights of the last are kept for the figure of two inputs.
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
    """Signed training samples of one class against all others."""
    data.setup()
    x, y = data.train
    return signed_rows(x.flatten(1).double().numpy(), _signs(y.numpy() == wanted))


def _signs(true: np.ndarray) -> Floats:
    return np.where(true, 1.0, -1.0)


def _error(rows: Floats, weights: Floats) -> float:
    """Share of samples that are decided wrongly, or not at all."""
    return float(np.mean(rows @ weights <= 0))
