"""GradientBySaturation against the same numbers taken from a forward pass by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from heard import at_step
from torch import Tensor

from experiments.vanishing.callbacks import GradientBySaturation

CLOSE = {"rel": 1e-10}


def pre_activations(module, x: Tensor) -> list[Tensor]:
    z, found = x, []
    for layer in module.network.hidden:
        found.append(layer.linear(z).detach())
        z = torch.tanh(found[-1])
    return found


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_gradient_by_saturation_is_the_closed_form(network, samples, train, activation):
    """One hidden layer: delta = ((p - y) × output weights) · g'(a), sorted by |a|."""
    module, (x, y) = network(depth=1, width=40, activation=activation, gain=8.0), samples(8)
    instrument = GradientBySaturation()
    hidden, output = module.network.hidden[0].linear, module.network.output
    a = hidden(x).detach()
    z = torch.sigmoid(a) if activation == "sigmoid" else F.relu(a)
    slope = z * (1 - z) if activation == "sigmoid" else (a > 0).double()
    delta = ((torch.softmax(output(z), 1) - F.one_hot(y, 3)) @ output.weight).detach() * slope
    trainer = train(module, (x, y), instrument)
    found = at_step(trainer, 0)
    for low, high in ((0, 1), (1, 2), (2, 4), (4, 6), (6, 8)):
        inside = (a.abs() >= low) & (a.abs() < high) & (slope != 0)
        assert inside.sum() > 3
        expected = (delta[inside].square().mean().sqrt(), slope[inside].square().mean().sqrt(), inside.double().mean())
        names = [f"saturation/{what}/{low}-{high}" for what in ("delta_a", "derivative", "share")]
        assert [found[name] for name in names] == pytest.approx([float(v) for v in expected], **CLOSE)


def test_gradient_by_saturation_pools_all_layers(network, samples, train):
    module, (x, y), instrument = network(activation="tanh", depth=3), samples(8), GradientBySaturation()
    a = torch.cat([v.flatten() for v in pre_activations(copy.deepcopy(module), x)])
    trainer = train(module, (x, y), instrument)
    found = at_step(trainer, 0)
    assert found["saturation/share/0-1"] == pytest.approx((a.abs() < 1).double().mean().item(), **CLOSE)
    assert math.isnan(found["saturation/delta_a/6-8"])  # nothing lies there


def test_gradient_by_saturation_under_accumulation(network, samples, train):
    x, y = samples(16)
    one = train(network(), (x[8:], y[8:]), GradientBySaturation())
    two = train(network(), (x, y), GradientBySaturation(), accumulate_grad_batches=2)
    assert at_step(two, 0) == pytest.approx(at_step(one, 0), nan_ok=True, **CLOSE)
