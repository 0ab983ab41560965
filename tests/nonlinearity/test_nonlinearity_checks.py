"""The checks with right and wrong formulas, and the measures on made-up runs with known answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.nonlinearity import checks, measures
from lightning_modules.layers import activations

EXACT = {"collapse": 1e-12, "expansion": 1e-12, "sign_gradient": 0.0, "odd_without_bias": 1e-12}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("seed", [3, 4])
def test_checks_find_no_error(name, seed):
    numbers = getattr(checks, name)(seed)
    assert 0 <= numbers["error"] <= EXACT[name]
    assert numbers["draws"] == checks.DRAWS


def test_the_transcribed_bias_is_wrong_on_every_draw():
    assert checks.expansion(3)["counterexamples"] == checks.DRAWS


def test_a_stack_with_something_between_does_not_collapse(monkeypatch):
    class Bent(checks.LinearStack):
        def configure_network(self):
            network = super().configure_network()
            network.hidden[0].activation = nn.Tanh()
            return network

    monkeypatch.setattr(checks, "LinearStack", Bent)
    assert checks.collapse(3)["error"] > 0.01


def test_a_wrong_expansion_is_found(monkeypatch):
    right = checks._expanded
    monkeypatch.setattr(checks, "_expanded", lambda x, w1, b1, w2, b2: right(x, w1.T, b1, w2, b2))
    assert checks.expansion(3)["error"] > 0.01


def test_a_sign_that_lets_a_gradient_through_is_found(monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "sign", activations.StraightThroughSign)
    assert checks.sign_gradient(3)["error"] > 0


def test_a_smooth_activation_without_gradient_is_found(monkeypatch):
    monkeypatch.setattr(checks, "SMOOTH", ("tanh", "sign"))
    assert checks.sign_gradient(3)["error"] == 1


def test_an_activation_that_is_not_odd_is_found(monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", nn.Sigmoid)
    assert checks.odd_without_bias(3)["error"] > 0.01


def made_up(**recorded: float) -> Run:
    return Run(Condition(()), 1000, Path("nowhere"), {}, {"status": "ok", "measures": recorded})


@pytest.mark.parametrize(("accuracy", "solved"), [(1.0, 1.0), (0.75, 0.0), (math.nan, 0.0)])
def test_solved_is_every_point(accuracy, solved):
    assert measures.solved(made_up(**{"test/accuracy": accuracy})) == solved


def test_movement_is_the_largest_of_the_first_layer():
    layer, output = "parameter/hidden.0.linear.weight/", "parameter/output.weight/"
    recorded = {f"{layer}00": 1.0, f"{layer}01": -2.5, f"{output}00": 9.0}
    initial = {f"initial/{layer}00": 1.5, f"initial/{layer}01": -1.0, f"initial/{output}00": 0.0}
    assert measures.first_layer_movement(made_up(**recorded, **initial)) == 1.5
    assert math.isnan(measures.first_layer_movement(made_up(**{f"{output}00": 1.0, f"initial/{output}00": 0.0})))


def test_pairs_are_compared_with_each_other():
    points = [(made_up(), value) for value in (0.9, 0.5, 0.8, 0.9, 0.3, 0.2)]
    assert measures.smallest_pair_difference(points) == pytest.approx(-0.1)
    assert measures.largest_pair_difference(points) == pytest.approx(0.4)
    assert measures.largest_pair_difference(points[2:]) == pytest.approx(0.1, abs=0.2)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        measures.smallest_pair_difference(points[:3])


def test_a_line_cannot_be_bent_by_any_weights():
    """What the film's linear networks can show: along a line the difference of the two outputs changes sign once."""
    from lightning_modules.fully_connected import FullyConnectedNetwork

    network = FullyConnectedNetwork(2, 2, [8], seed=0, activation="identity")
    along = torch.linspace(-50, 50, 2001)[:, None] * torch.tensor([[0.6, -0.8]])
    decided = network(along).argmax(1)
    assert (decided[1:] != decided[:-1]).sum() <= 1
