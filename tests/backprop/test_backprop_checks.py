"""The checks of `backprop`: that they fail where a formula is wrong, and that their helpers compute what they say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import lightning_modules
from experiments.backprop import chain_rule, checks, formulas, loop, measures, memory, modules
from experiments.core.definitions import CHECKED
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from lightning_modules import by_hand

CLAIMS = [claim for claim in catalogue.load("backprop").claims if claim.check]
TOLERANCE = {claim.check: claim.tolerance for claim in CLAIMS if claim.kind in CHECKED}
# A seed that no run uses.
SEED = 7


@pytest.mark.parametrize("name", checks.__all__)
def test_every_check_passes_and_is_a_function_of_its_seed(name: str) -> None:
    first, other = getattr(checks, name)(SEED), getattr(checks, name)(SEED + 1)
    assert first["error"] <= TOLERANCE[name]
    # Ten seeds are the least that a claim has.
    assert 10 * first["draws"] >= 200
    assert first == getattr(checks, name)(SEED)
    if name != "stored_activations":  # whose numbers are sizes
        assert first != other


def test_the_claims_use_every_check_and_have_ten_seeds() -> None:
    assert {claim.check for claim in CLAIMS} == set(checks.__all__)
    assert {claim.n for claim in CLAIMS} == {10}


@pytest.mark.parametrize("name", sorted({c.check for c in CLAIMS if c.kind in ("transcription", "pitfall")}))
def test_the_other_form_is_a_counterexample_nearly_always(name: str) -> None:
    found = getattr(checks, name)(SEED)
    assert found["counterexamples"] >= 0.9 * found["draws"]


# Wrong formulas


def without_slope(network: formulas.SmallNetwork) -> Tensor:
    return 2 * (network.outputs - network.y)


def propagate_without_slope(slope: Tensor, weights: Tensor, delta: Tensor) -> Tensor:
    return (weights * delta[..., None, :]).sum(-1)


@pytest.mark.parametrize(
    ("module", "name", "wrong", "check"),
    [
        (formulas, "output_delta", without_slope, "last_layer"),
        (formulas, "output_delta", without_slope, "first_layer"),
        (formulas, "output_delta", without_slope, "finite_differences"),
        (formulas, "first_layer", formulas.first_layer_transcribed, "first_layer"),
        (formulas, "first_layer", formulas.first_layer_transcribed, "first_layer_transcription"),
        (formulas, "propagated", propagate_without_slope, "general_case"),
        (formulas, "propagated", propagate_without_slope, "delta_index"),
        # The error of one unit above instead of the sum over all.
        (formulas, "propagated", lambda slope, weights, delta: slope * weights[:, 0] * delta[0], "delta_recursion"),
        (formulas, "with_one", lambda values: torch.cat([values[:, :1], values], 1), "last_layer_transcription"),
    ],
)
def test_a_wrong_formula_of_the_chain_rule_is_found(monkeypatch, module, name, wrong, check) -> None:
    monkeypatch.setattr(module, name, wrong)
    assert getattr(chain_rule, check)(SEED)["error"] > 0.01


def test_a_wrong_forward_pass_is_found(monkeypatch) -> None:
    monkeypatch.setattr(formulas.SmallNetwork, "z", property(lambda self: self.a))
    assert chain_rule.forward_pass(SEED)["error"] > 0.01


def half(self, delta: Tensor) -> Tensor:
    return delta * 0.5


def clip_nothing(parameters, bound: float) -> None:
    pass


def forget_the_mean(delta: Tensor, normalized: Tensor, axis: int) -> Tensor:
    return delta


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "check"),
    [
        (by_hand.Sigmoid, "backward", half, "modules"),
        (by_hand.Tanh, "backward", half, "modules"),
        (by_hand.Sigmoid, "backward", half, "autograd"),
        (by_hand.MSE, "backward", lambda self: 2 * self.stored[0] / len(self.stored[0]), "mse_delta"),
        (by_hand.CrossEntropy, "backward", lambda self: torch.softmax(self.stored[0], 1), "autograd"),
        (by_hand.normalization, "_remove_mean_and_slope", forget_the_mean, "batch_norm"),
        (by_hand.normalization, "_remove_mean_and_slope", forget_the_mean, "layer_norm"),
        (by_hand.normalization, "_remove_mean_and_slope", forget_the_mean, "autograd"),
        (modules, "EPS", 1e-3, "batch_norm"),
        (modules, "EPS", 1e-3, "layer_norm"),
        (torch.nn.utils, "clip_grad_norm_", clip_nothing, "clipping"),
    ],
)
def test_a_wrong_module_is_found(monkeypatch, owner, name, wrong, check) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert getattr(modules, check)(SEED)["error"] > 1e-5


def clip_by_value(parameters, bound: float) -> None:
    for parameter in parameters:
        parameter.grad.clamp_(-bound / 100, bound / 100)


def test_clipping_that_turns_the_gradient_is_found(monkeypatch) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip_by_value)
    assert modules.clipping(SEED)["error"] > 0.01


def test_an_activation_with_a_parameter_is_found(monkeypatch) -> None:
    class Learning(by_hand.Tanh):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

    monkeypatch.setitem(modules.ACTIVATIONS, "tanh", (Learning, torch.nn.Tanh))
    monkeypatch.setattr(modules, "_difference", lambda *_: 0.0)
    assert modules.modules(SEED)["error"] == 1.0


def test_a_module_that_stores_more_is_found(monkeypatch) -> None:
    def hoarding(self, a: Tensor) -> Tensor:
        z = torch.tanh(a)
        self.store(z, a.clone())
        return z

    monkeypatch.setattr(by_hand.Tanh, "forward", hoarding)
    monkeypatch.setattr(by_hand.Tanh, "backward", half)
    assert memory.stored_activations(SEED)["error"] > 0.1


# One loop


def test_the_loop_sees_every_class_of_the_project() -> None:
    found = loop.systems(SEED, torch.Generator().manual_seed(0))
    assert {type(module).__name__ for module, _, _ in found} == set(lightning_modules.__all__)


def test_a_system_whose_gradient_is_not_that_of_its_loss_is_found(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    (module, inputs, targets) = loop.systems(SEED, generator)[2]
    assert loop.slope_error(module, inputs, targets) < 1e-7
    before = [parameter.clone() for parameter in module.parameters()]
    module.network.output.weight.register_hook(lambda gradient: 2 * gradient)
    assert loop.slope_error(module, inputs, targets) > 0.1
    for parameter, old in zip(module.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, old, atol=1e-12, rtol=0)


def test_a_parameter_without_a_gradient_is_found() -> None:
    (module, inputs, targets) = loop.systems(SEED, torch.Generator().manual_seed(0))[2]
    module.forgotten = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert loop.slope_error(module, inputs, targets) == math.inf


# Helpers and measures


def test_relative_error_is_of_the_largest_truth_and_nan_is_an_error() -> None:
    assert chain_rule.relative_error(torch.tensor([1.0, 5.0]), torch.tensor([1.5, 5.0])) == pytest.approx(0.1)
    assert chain_rule.relative_error(torch.tensor([math.nan]), torch.ones(1)) == math.inf


def test_the_third_derivative_is_that_of_a_difference_of_differences() -> None:
    network = formulas.draw_network(SEED, chain_rule.DRAWS, "tanh")
    h = 1e-3
    third = sum(
        sign * chain_rule._moved(network, 2, place * h).loss for sign, place in ((1, 2), (-2, 1), (2, -1), (-1, -2))
    ) / (2 * h**3)
    torch.testing.assert_close(chain_rule._third_derivative(network), third, rtol=1e-3, atol=1e-4)


def test_memory_of_one_layer_is_what_one_counts() -> None:
    """Batch 2, inputs 3, width 5, outputs 4 in single precision: x, z, z − y by hand; x, z, ŷ, y by autograd."""
    assert memory._stored(1, 5, 2, 3, 4) == (4 * 2 * (3 + 5 + 4), 4 * 2 * (3 + 5 + 4 + 4))


def made_up(**recorded: float) -> Run:
    return Run(Condition(()), SEED, Path("nowhere"), {}, {"status": "ok", "measures": recorded})


def test_measures_are_decades_with_a_floor() -> None:
    assert measures.error_decades(made_up(error=1e-3)) == pytest.approx(-3)
    assert measures.error_decades(made_up(error=0.0)) == measures.NOTHING
    assert measures.transcribed_decades(made_up(transcribed=100.0)) == pytest.approx(2)
    assert math.isnan(measures.transcribed_decades(made_up(error=1.0)))
