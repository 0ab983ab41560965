"""Each activation and its derivative against its closed form: float64, 1e-12."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lightning_modules.layers.activations import ACTIVATIONS, activation


def sigma(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def phi(a: float) -> float:
    return 0.5 * (1 + math.erf(a / math.sqrt(2)))


Function = Callable[[float], float]
CLOSED_FORMS: dict[str, tuple[Function, Function]] = {
    "identity": (lambda a: a, lambda _: 1.0),
    "sign": (lambda a: math.copysign(1, a), lambda _: 0.0),
    "sign_straight_through": (lambda a: math.copysign(1, a), lambda a: float(abs(a) <= 1)),
    "sigmoid": (sigma, lambda a: sigma(a) * (1 - sigma(a))),
    "tanh": (math.tanh, lambda a: 1 - math.tanh(a) ** 2),
    "relu": (lambda a: max(0.0, a), lambda a: float(a > 0)),
    "leaky_relu": (lambda a: a if a > 0 else 0.01 * a, lambda a: 1.0 if a > 0 else 0.01),
    "elu": (lambda a: a if a > 0 else math.expm1(a), lambda a: 1.0 if a > 0 else math.exp(a)),
    "gelu": (lambda a: a * phi(a), lambda a: phi(a) + a * math.exp(-a * a / 2) / math.sqrt(2 * math.pi)),
    "silu": (lambda a: a * sigma(a), lambda a: sigma(a) * (1 + a * (1 - sigma(a)))),
}
POINTS = [-8.0, -2.5, -1.0, -0.1, 0.1, 0.7, 1.0, 3.0, 8.0]


def test_every_activation_has_a_closed_form() -> None:
    assert set(CLOSED_FORMS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative(name: str) -> None:
    value, derivative = CLOSED_FORMS[name]
    a = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    z = activation(name)(a)
    (gradient,) = torch.autograd.grad(z.sum(), a)
    torch.testing.assert_close(z, torch.tensor([value(p) for p in POINTS], dtype=torch.float64), atol=1e-12, rtol=0)
    truth = torch.tensor([derivative(p) for p in POINTS], dtype=torch.float64)
    torch.testing.assert_close(gradient, truth, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_pre_activation_is_not_overwritten(name: str) -> None:
    a = torch.tensor(POINTS)
    activation(name)(a)
    assert a.tolist() == torch.tensor(POINTS).tolist()


@pytest.mark.parametrize("name", ["sign", "sign_straight_through"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sign_at_its_edges(name: str, dtype: torch.dtype) -> None:
    a = torch.tensor([0.0, -0.0, 1e-40, math.inf, -math.inf, math.nan], dtype=dtype, requires_grad=True)
    z = activation(name)(a)
    assert z.dtype == dtype
    assert z[:5].tolist() == [1.0, 1.0, 1.0, 1.0, -1.0]
    assert z[5].isnan()


@pytest.mark.parametrize(("name", "passes"), [("sign", 0.0), ("sign_straight_through", 1.0)])
def test_what_the_signs_let_through(name: str, passes: float) -> None:
    # The points of the derivative's edge among them; the incoming gradient is not 1.
    a = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    z = activation(name)(a)
    assert z.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    incoming = torch.arange(1.0, 8.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(z, a, incoming)
    assert gradient.tolist() == [0, *(passes * incoming[1:6]).tolist(), 0]


def test_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"^unknown activation 'Sigmod': did you mean 'sigmoid'\? valid: identity, .*$"
    ):
        activation("Sigmod")
