"""Losses and penalties against their formulas (1e-12), and what their targets must look like."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.losses import LOSSES
from lightning_modules.penalties import penalized, penalty


def test_cross_entropy() -> None:
    outputs = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], dtype=torch.float64)
    labels = torch.tensor([1, 0])
    truth = sum(
        math.log(sum(math.exp(o) for o in row)) - row[k]
        for row, k in zip(outputs.tolist(), labels.tolist(), strict=True)
    )
    loss = LOSSES["cross_entropy"]
    assert loss.mean(outputs, labels).item() == pytest.approx(truth / 2, rel=1e-12)
    assert loss.totals["accuracy"](outputs, labels).item() == 1
    # Printed as exponentials it would overflow.
    assert loss.mean(torch.tensor([[1000.0, 0.0]]), torch.tensor([1])).item() == 1000


def test_mse_is_the_mean_over_all_elements() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.0, 2.0], [1.0, 2.0]])
    assert LOSSES["mse"].mean(outputs, targets).item() == pytest.approx((1 + 0 + 4 + 9) / 4, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("cross_entropy", torch.tensor([0, 3]), "label 3 is out of range: 3 classes have labels 0 to 2"),
        # Torch would leave this sample out without a word.
        ("cross_entropy", torch.tensor([0, -100]), "label -100 is out of range"),
        ("cross_entropy", torch.tensor([[0], [1]]), r"labels of shape \(2,\) and type torch.int64, not \(2, 1\)"),
        ("cross_entropy", torch.tensor([0, 1, 2]), r"labels of shape \(2,\) and type torch.int64, not \(3,\)"),
        ("cross_entropy", torch.tensor([0.0, 1.0]), "type torch.int64, not .* torch.float32"),
        # Torch would read these as probabilities.
        ("cross_entropy", torch.zeros(2, 3), r"not \(2, 3\) and torch.float32"),
        # Torch would broadcast these.
        ("mse", torch.zeros(3), r"targets of the outputs' shape \(2, 3\) and type torch.float32, not \(3,\)"),
        ("mse", torch.zeros(2, 1), r"not \(2, 1\)"),
        ("mse", torch.zeros(2, 3, dtype=torch.int64), "not .* torch.int64"),
    ],
)
def test_wrong_targets(loss: str, targets: torch.Tensor, message: str) -> None:
    def check(outputs: torch.Tensor) -> None:
        LOSSES[loss].check_shape(outputs, targets)
        LOSSES[loss].check_values(outputs, targets)

    with pytest.raises(ValueError, match=message) as error:
        check(torch.zeros(2, 3))
    assert "\n" not in str(error.value)


def test_penalty_and_its_gradient() -> None:
    w = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([[-4.0]], dtype=torch.float64, requires_grad=True)
    value = penalty([w, v], l1=0.1, l2=0.01)
    assert value.item() == pytest.approx(0.1 * (1 + 2 + 0.5 + 3 + 4) + 0.01 * (1 + 4 + 0.25 + 9 + 16), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, w)
    torch.testing.assert_close(gradient, 0.1 * w.sign() + 0.02 * w, atol=1e-12, rtol=0)
    assert penalty([w], l1=0.1, l2=0.0).item() == pytest.approx(0.65, rel=1e-12)
    assert penalty([w], l1=0.0, l2=0.1).item() == pytest.approx(1.425, rel=1e-12)


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_only_weights_are_penalized(normalization: str) -> None:
    network = FullyConnectedNetwork(4, 3, [5, 5], seed=0, normalization=normalization)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(parameter)] for parameter in penalized(network)} == {
        "hidden.0.linear.weight",
        "hidden.1.linear.weight",
        "output.weight",
    }
