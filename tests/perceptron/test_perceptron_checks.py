"""The perceptron's algorithm against scikit-learn's; each check fails when its formula is wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import Perceptron as Reference

from experiments.perceptron import algorithm, checks
from experiments.perceptron.algorithm import learn, linearly_separable, signed_rows

EXACT = {
    "linear_function": 1e-12,
    "cost_direction": 0.0,
    "strict_start": 0.0,
    "update_is_gradient": 1e-12,
    "step_size": 1e-9,
    "separable_data": 0.0,
    "functions_of_two": 0.0,
    "functions_of_two_without_bias": 0.0,
    "trivial_minimum": 1e-12,
}


class InOrder:
    """A generator of orders that never shuffles."""

    def permutation(self, n: int) -> np.ndarray:
        return np.arange(n)


def setosa() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_iris(return_X_y=True)
    return x - x.mean(axis=0), np.where(y == 0, 1.0, -1.0)


@pytest.mark.parametrize("bias", [True, False])
def test_the_algorithm_is_scikit_learns(bias):
    """In the order of the file, the first sample being a mistake for both."""
    x, y = setosa()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    found = learn(signed_rows(x, y, bias), InOrder(), 1000)
    reference = Reference(shuffle=False, fit_intercept=bias, tol=None, max_iter=1000).fit(x, y)
    assert found.ended
    assert found.weights[:4] == pytest.approx(reference.coef_[0], rel=1e-9)
    if bias:
        assert found.weights[4] == pytest.approx(reference.intercept_[0])


def test_updates_are_counted_one_by_one():
    """AND by hand: a plain loop over samples, without looking ahead."""
    rows = signed_rows(np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), np.array([-1.0, -1, -1, 1]))
    w, updates, epochs = np.zeros(3), 0, 0
    while True:
        before, epochs = updates, epochs + 1
        for row in rows:
            if row @ w <= 0:
                w, updates = w + row, updates + 1
        if updates == before:
            break
    found = learn(rows, InOrder(), 1000)
    assert (found.updates, found.epochs, found.ended) == (updates, epochs, True)
    assert found.weights.tolist() == w.tolist()


def test_a_start_a_step_and_a_cap():
    rows = np.array([[1.0, 2.0]])
    assert learn(rows, InOrder(), 1, start=np.array([-9.0, 0.0]), step=0.5).weights.tolist() == [-8.5, 1.0]
    assert learn(rows, InOrder(), 1, start=np.array([-9.0, 0.0]), ascent=True).weights.tolist() == [-10.0, -2.0]
    assert not learn(rows, InOrder(), 1).ended
    assert learn(rows, InOrder(), 2).ended
    assert learn(rows, InOrder(), 2, strict=True).updates == 0


def test_separability_by_linear_programming_counts_what_is_known():
    """Threshold functions of two and three inputs: 14 and 104 (Muroga); through the origin, 4 of two."""
    for inputs, bias, known in ((2, True, 14), (2, False, 4), (3, True, 104)):
        tables = list(checks.truth_tables(inputs))
        assert len(tables) == 2 ** (2**inputs)
        assert len({tuple(values) for _, values in tables}) == len(tables)
        assert sum(linearly_separable(signed_rows(*table, bias)) for table in tables) == known


def test_truth_tables_have_the_places_of_the_data_modules_functions():
    from datamodules import Boolean

    for number, (points, values) in enumerate(checks.truth_tables(2)):
        x, y = (
            Boolean(function=number, batch_size=1, seed=0).load().x,
            Boolean(function=number, batch_size=1, seed=0).load().y,
        )
        assert torch.equal(x.double(), torch.from_numpy(points))
        assert (2 * y - 1).tolist() == values.tolist()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seed", [3, 4])
def test_checks_find_no_error(name, seed):
    numbers = getattr(checks, name)(seed)
    assert 0 <= numbers["error"] <= EXACT[name]
    assert numbers["draws"] >= 16
    assert numbers.get("counterexamples", numbers["draws"]) > 0


def test_nothing_ends_where_nothing_separates():
    numbers = checks.inseparable_data(3)
    assert numbers["ended/xor"] == numbers["ended/versicolor"] == 0
    assert numbers["error/xor"] > 0


def test_accuracies_are_compared_with_the_best_line():
    numbers = checks.limited_data(3)
    assert numbers["above_best_line/xor"] == pytest.approx(numbers["accuracy/xor"] - 0.75)
    assert numbers["above_best_line/circles"] == pytest.approx(numbers["accuracy/circles"] - 2 / 3)
    assert 0.2 < numbers["accuracy/xor"] < 0.8


def test_the_best_line_on_the_four_points_and_on_the_circles():
    points = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    xor = points[:, 0] * points[:, 1] < 0
    angles = np.linspace(0, 2 * np.pi, 3600, endpoint=False)
    outer = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    circles = np.concatenate([outer, 0.5 * outer])
    inside = np.arange(len(circles)) >= len(outer)
    for x, y, name in ((points, xor, "xor"), (circles, inside, "circles")):
        best = 0.0
        for direction, height in itertools.product(np.linspace(0, 2 * np.pi, 73), np.linspace(-2, 2, 161)):
            side = x @ [np.cos(direction), np.sin(direction)] > height
            best = max(best, float(np.mean(side == y)))
        assert best == pytest.approx(checks.BEST_LINE[name], abs=0.01)


def broken(change):
    """The algorithm with something changed about its arguments."""

    def wrong(rows, rng, epochs, **options):
        return learn(rows, rng, epochs, **{**options, **change})

    return wrong


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cost_direction", {"strict": True}),
        ("update_is_gradient", {"step": 1.01}),
        ("update_is_gradient", {"ascent": True}),
        ("step_size", {"start": np.ones(6)}),
        ("functions_of_two", {"strict": True}),
        ("functions_of_two_without_bias", {"strict": True}),
    ],
)
def test_checks_fail_when_the_algorithm_is_wrong(monkeypatch, name, change):
    monkeypatch.setattr(checks, "learn", broken(change))
    assert getattr(checks, name)(3)["error"] > EXACT[name] + 1e-3


def test_the_bound_fails_when_it_is_too_small(monkeypatch):
    monkeypatch.setattr(checks, "novikoff_bound", lambda _x, _y: 1.0)
    assert checks.separable_data(3)["error"] > 0


def test_other_formulas_that_are_wrong_are_found(monkeypatch):
    monkeypatch.setattr(checks, "perceptron_cost", lambda outputs, labels: (outputs - labels).square().mean())
    assert checks.update_is_gradient(3)["error"] > 0.1
    assert checks.trivial_minimum(3)["error"] > 0.1

    class Shifted(checks.PerceptronNetwork):
        def forward(self, inputs):
            return super().forward(inputs) + 0.1

    monkeypatch.setattr(checks, "PerceptronNetwork", Shifted)
    assert checks.linear_function(3)["error"] > 0.01


def test_pitfall_and_transcription_lose_their_symptom_where_there_is_none(monkeypatch):
    monkeypatch.setattr(checks, "learn", broken({"strict": False, "ascent": False}))
    assert checks.strict_start(3)["counterexamples"] == 0
    assert checks.cost_direction(3)["counterexamples"] == 0


def test_the_algorithm_knows_nothing_of_optimisers():
    names = vars(algorithm).keys() | vars(checks).keys()
    assert not {"Optimizer", "build_optimizer", "Trainer"} & names
