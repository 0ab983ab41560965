"""Mean-field theory against closed forms, against another quadrature, and against the lecture's pilot measurements."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from experiments.vanishing import theory
from lightning_modules import FullyConnected

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu")


def density(a: float, variance: float) -> float:
    return math.exp(-(a**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def expectation(function, variance: float) -> float:
    """E[f(a)] for a normal with mean 0, by scipy's adaptive quadrature on both sides of a possible kink."""
    sides = [integrate.quad(lambda a: function(a) * density(a, variance), *ends, epsabs=1e-13)[0]
             for ends in ((-40 * math.sqrt(variance), 0), (0, 40 * math.sqrt(variance)))]  # fmt: skip
    return sum(sides)


def sigma(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a > -700 else 0.0


BY_HAND = {
    "identity": (lambda a: a, lambda _: 1.0),
    "sigmoid": (sigma, lambda a: sigma(a) * (1 - sigma(a))),
    "tanh": (math.tanh, lambda a: 1 / math.cosh(a) ** 2 if abs(a) < 300 else 0.0),
    "relu": (lambda a: max(a, 0.0), lambda a: float(a > 0)),
}


@pytest.mark.parametrize("power", [0, 2, 4, 6])
@pytest.mark.parametrize("variance", [0.01, 1.0, 9.0])
def test_gaussian_moments(power, variance):
    """E[a^2k] = (2k - 1)!! · variance^k."""
    expected = math.prod(range(1, power, 2)) * variance ** (power / 2)
    assert theory.gaussian_mean(lambda a: a**power, variance) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("variance", [0.01, 0.3, 1.0, 16.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_means_of_the_functions_and_of_their_derivatives(activation, variance):
    for ours, by_hand in zip(theory.FUNCTIONS[activation], BY_HAND[activation], strict=True):
        expected = expectation(lambda a, f=by_hand: f(a) ** 2, variance)
        # The midpoint rule's error at ReLU's kink is of the order of the step squared.
        assert theory.gaussian_mean(lambda a, f=ours: f(a) ** 2, variance) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_are_those_of_the_functions(activation):
    g, slope = theory.FUNCTIONS[activation]
    a = np.linspace(-5, 5, 1000)  # 0 is not among them
    h = 1e-6
    assert slope(a) == pytest.approx((g(a + h) - g(a - h)) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("depth", [2, 10])
@pytest.mark.parametrize("first_variance", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("n_var_w", [1 / 3, 1.0, 2.0])
def test_identity_and_relu_have_closed_forms(n_var_w, first_variance, depth):
    """sqrt(n·Var w), and for ReLU sqrt(n·Var w / 2), whatever arrives."""
    arguments = {"n_var_w": n_var_w, "var_b": 0.05, "first_variance": first_variance, "depth": depth}
    assert theory.decay_factor("identity", **arguments) == pytest.approx(math.sqrt(n_var_w), rel=1e-9)
    assert theory.decay_factor("relu", **arguments) == pytest.approx(math.sqrt(n_var_w / 2), rel=1e-9)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize(("n_var_w", "var_b"), [(1 / 3, 0.0026), (1.0, 0.0), (16.0, 0.0)])
def test_the_recursion_over_layers(activation, n_var_w, var_b):
    """q of the next layer is n·Var(w) E[g²] + Var(b); the factor is the geometric mean of sqrt(n·Var(w) E[g'²])."""
    g, slope = BY_HAND[activation]
    q, log_factors = 0.7, []
    for _ in range(4):
        log_factors.append(0.5 * math.log(n_var_w * expectation(lambda a: slope(a) ** 2, q)))
        q = n_var_w * expectation(lambda a: g(a) ** 2, q) + var_b
    expected = math.exp(sum(log_factors) / 4)
    found = theory.decay_factor(activation, n_var_w=n_var_w, var_b=var_b, first_variance=0.7, depth=5)
    assert found == pytest.approx(expected, rel=1e-8)


def test_sigmoids_lose_at_least_a_factor_of_four_over_their_weights():
    """sigma' <= 1/4: the bounds 0.25·sqrt(n·Var w) that the lecture quotes."""
    for n_var_w in (1 / 3, 1.0, 2.0):
        factor = theory.decay_factor("sigmoid", n_var_w=n_var_w, var_b=0.0, first_variance=0.3, depth=10)
        assert 0.9 * math.sqrt(n_var_w) / 4 < factor < math.sqrt(n_var_w) / 4


# Measured in the lecture's pilot on Fashion-MNIST, width 128, ten hidden layers: factor per layer, its half-interval,
# and what theory gave there. The variance of the first layer is not recorded; standardised pixels make it n·Var(w).
PILOT = [
    ("identity", "default", 1.0, 0.5778, 0.0037, 0.5774),
    ("identity", "xavier", 1.0, 1.0003, 0.0054, 1.0),
    ("identity", "he", 1.0, 1.4151, 0.0085, 1.4142),
    ("sigmoid", "default", 1.0, 0.1407, 0.0009, 0.1406),
    ("sigmoid", "xavier", 1.0, 0.2324, 0.0015, 0.2323),
    ("sigmoid", "he", 1.0, 0.3121, 0.0025, 0.3117),
    ("sigmoid", "xavier", 4.0, 0.6184, 0.0089, 0.6106),
    ("tanh", "default", 1.0, 0.5584, 0.0036, 0.5572),
    ("tanh", "xavier", 1.0, 0.8677, 0.0051, 0.8612),
    ("tanh", "he", 1.0, 1.0124, 0.0054, 1.0024),
    ("relu", "default", 1.0, 0.4031, 0.0043, 0.4082),
    ("relu", "xavier", 1.0, 0.7043, 0.0099, 0.7071),
    ("relu", "he", 1.0, 1.0000, 0.0154, 1.0),
]


@pytest.mark.parametrize(("activation", "initialization", "gain", "measured", "half", "theirs"), PILOT)
def test_the_pilots_table(activation, initialization, gain, measured, half, theirs):
    n_var_w = theory.weight_variance(initialization, gain)
    var_b = theory.bias_variance(initialization, gain, width=128)
    # Xavier's first layer is not square: 196 inputs and 128 units.
    first = n_var_w * (2 * 196 / (196 + 128) if initialization == "xavier" else 1.0) + var_b
    found = theory.decay_factor(activation, n_var_w, var_b, first_variance=first, depth=10)
    assert found == pytest.approx(theirs, rel=0.01)
    assert abs(found / measured - 1) < 0.03 + half / measured


@pytest.mark.parametrize("gain", [1.0, 4.0])
@pytest.mark.parametrize("initialization", ["default", "xavier", "he"])
def test_variances_are_those_of_the_real_weights(initialization, gain):
    """A layer of 512 × 512: the variance of a variance estimate is 2/n or less."""
    model = FullyConnected(
        num_features=512, num_classes=2, seed=0, depth=1, width=512, initialization=initialization, gain=gain
    )
    layer = model.network.hidden[0].linear
    found = 512 * layer.weight.detach().double().var().item()
    assert found == pytest.approx(theory.weight_variance(initialization, gain), rel=0.02)
    biases = layer.bias.detach().double().square().mean().item()
    assert biases == pytest.approx(theory.bias_variance(initialization, gain, width=512), rel=0.2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_wide_network_decays_as_predicted(activation):
    """One network of width 512, by plain autograd: within 5 % a layer, without any of the project's instruments."""
    model = FullyConnected(num_features=64, num_classes=10, seed=1, depth=6, width=512, activation=activation).double()
    g = torch.Generator().manual_seed(0)
    z, found = torch.randn(128, 64, generator=g, dtype=torch.float64), []
    for layer in model.network.hidden:
        found.append(layer.linear(z))
        z = layer.activation(found[-1])
    loss = torch.nn.functional.cross_entropy(model.network.output(z), torch.randint(10, (128,), generator=g))
    strength = [d.square().mean().sqrt().item() for d in torch.autograd.grad(loss, found)]
    measured = (strength[0] / strength[-1]) ** (1 / 5)
    predicted = theory.decay_factor(
        activation,
        n_var_w=theory.weight_variance("default", 1.0),
        var_b=theory.bias_variance("default", 1.0, width=512),
        first_variance=found[0].square().mean().item(),
        depth=6,
    )
    assert measured == pytest.approx(predicted, rel=0.05)
