"""Losses and penalties against their formulas (1e-12), their numerical limits, and the targets that they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, r2_score
from torch import Tensor

from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.losses import LOSSES, Loss, build_loss, validate_label_range
from lightning_modules.metrics import EpochOutputs, build_metrics, collection
from lightning_modules.penalties import penalized_weights, penalty

REDUCE: dict[str, Callable[[list[float]], float]] = {"mean": lambda row: sum(row) / len(row), "sum": sum}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def binary(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double()


def softmax(row: list[float]) -> list[float]:
    return [math.exp(z) / sum(map(math.exp, row)) for z in row]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def cross_entropy_by_loops(outputs: Tensor, labels: Tensor) -> float:
    rows = list(zip(outputs.tolist(), labels.tolist(), strict=True))
    return sum(-math.log(softmax(row)[k]) for row, k in rows) / len(rows)


@pytest.mark.parametrize("name", ["cross_entropy", "naive_cross_entropy"])
def test_cross_entropy(name: str) -> None:
    outputs = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 0])
    loss = build_loss(name)
    value = loss.mean(outputs, labels)
    assert value.item() == pytest.approx(cross_entropy_by_loops(outputs, labels), rel=1e-12)
    assert epoch(loss, outputs.detach(), labels, [2]) == {"accuracy": 0.5}
    (gradient,) = torch.autograd.grad(value, outputs)
    # Softmax minus one-hot, over the batch.
    truth = [
        [s - (i == k) for i, s in enumerate(softmax(row))] for row, k in zip(outputs.tolist(), [1, 0], strict=True)
    ]
    torch.testing.assert_close(gradient, torch.tensor(truth, dtype=torch.float64) / 2, atol=1e-12, rtol=0)


def test_mse_is_the_mean_over_all_elements() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[0.0, 2.0], [1.0, 2.0]])
    assert build_loss("mse").mean(outputs, targets).item() == pytest.approx((1 + 0 + 4 + 9) / 4, rel=1e-12)


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid", "softmax"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_hot_mse(output_activation: str, reduction: str) -> None:
    outputs, labels = normal(4, 3).requires_grad_(), torch.tensor([2, 0, 1, 2])
    apply = {
        "identity": lambda row: row,
        "sigmoid": lambda row: [sigmoid(z) for z in row],
        "softmax": softmax,
    }[output_activation]
    total, slopes = 0.0, []
    for row, k in zip(outputs.tolist(), labels.tolist(), strict=True):
        shares = apply(row)
        errors = [share - (i == k) for i, share in enumerate(shares)]
        total += REDUCE[reduction]([e * e for e in errors])
        scale = 2 / (4 * (3 if reduction == "mean" else 1))
        derivative = {
            "identity": lambda i, j, _s: float(i == j),
            "sigmoid": lambda i, j, s: (i == j) * s[i] * (1 - s[i]),
            "softmax": lambda i, j, s: s[i] * ((i == j) - s[j]),
        }[output_activation]
        slopes.append([scale * sum(errors[i] * derivative(i, j, shares) for i in range(3)) for j in range(3)])
    loss = build_loss("one_hot_mse", output_activation, reduction)
    value = loss.mean(outputs, labels)
    assert value.item() == pytest.approx(total / 4, rel=1e-12)
    (gradient,) = torch.autograd.grad(value, outputs)
    torch.testing.assert_close(gradient, torch.tensor(slopes, dtype=torch.float64), atol=1e-12, rtol=0)
    correct = sum(
        max(range(3), key=row.__getitem__) == k for row, k in zip(outputs.tolist(), labels.tolist(), strict=True)
    )
    assert epoch(loss, outputs.detach(), labels, [3, 1]) == {"accuracy": pytest.approx(correct / 4, rel=1e-12)}


@pytest.mark.parametrize("name", ["bce", "naive_bce"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_bce_is_scikit_learns_log_loss_of_each_label(name: str, reduction: str) -> None:
    outputs, targets = normal(9, 4).requires_grad_(), binary(9, 4)
    probability = torch.sigmoid(outputs.detach())
    truth = [log_loss(targets[:, k], probability[:, k], labels=[0, 1]) for k in range(4)]
    value = build_loss(name, reduction=reduction).mean(outputs, targets)
    assert value.item() == pytest.approx(REDUCE[reduction](truth), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, outputs)
    scale = 9 * (4 if reduction == "mean" else 1)
    torch.testing.assert_close(gradient, (probability - targets) / scale, atol=1e-12, rtol=0)


def test_options_that_are_not_given() -> None:
    outputs, labels, targets = normal(5, 3), torch.tensor([0, 1, 2, 1, 0]), binary(5, 3)
    plain, full = build_loss("one_hot_mse"), build_loss("one_hot_mse", "identity", "mean")
    assert torch.equal(plain.mean(outputs, labels), full.mean(outputs, labels))
    assert torch.equal(build_loss("bce").mean(outputs, targets), build_loss("bce", None, "mean").mean(outputs, targets))


@settings(max_examples=50)
@given(batch=st.integers(1, 5), outputs=st.integers(2, 6), seed=st.integers(0, 99), scale=st.floats(0.01, 5))
def test_naive_and_safe_forms_agree(batch: int, outputs: int, seed: int, scale: float) -> None:
    z, labels = scale * normal(batch, outputs, seed=seed), torch.arange(batch) % outputs
    one, other = build_loss("naive_cross_entropy").mean(z, labels), build_loss("cross_entropy").mean(z, labels)
    assert one.item() == pytest.approx(other.item(), rel=1e-9, abs=1e-12)
    targets = binary(batch, outputs, seed=seed)
    for reduction in REDUCE:
        one, other = (build_loss(name, reduction=reduction).mean(z, targets) for name in ("naive_bce", "bce"))
        assert one.item() == pytest.approx(other.item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("z", [89.0, 1000.0])
def test_naive_forms_overflow_in_single_precision(z: float) -> None:
    outputs = torch.tensor([[z, 0.0]])
    for label, truth in ((0, 0.0), (1, z)):
        labels = torch.tensor([label])
        assert not build_loss("naive_cross_entropy").mean(outputs, labels).isfinite()
        assert build_loss("cross_entropy").mean(outputs, labels).item() == pytest.approx(truth, rel=1e-6)
        output, target = torch.tensor([[z]]), torch.tensor([[1.0 - label]])
        assert not build_loss("naive_bce").mean(output, target).isfinite()
        assert build_loss("bce").mean(output, target).item() == pytest.approx(truth, rel=1e-6)
    # Just below, the exponential still fits.
    assert build_loss("naive_cross_entropy").mean(torch.tensor([[88.0, 88.0]]), torch.tensor([0])).isfinite()


def epoch(loss: Loss, outputs: Tensor, targets: Tensor, sizes: list[int]) -> dict[str, float]:
    """What is counted beside the loss in an epoch of batches of these sizes."""
    kept = EpochOutputs()
    for own, wanted in zip(outputs.split(sizes), targets.split(sizes), strict=True):
        kept.add(loss.mean(own, wanted), own, wanted)
    metrics = collection("val", build_metrics(loss.kind, outputs.shape[1]))
    metrics.update(**kept.metric_inputs(loss.predict))
    return {name.removeprefix("val/"): value.item() for name, value in metrics.compute().items()}


@pytest.mark.parametrize("sizes", [[23], [5, 5, 5, 5, 3], [1, 20, 2]])
@pytest.mark.parametrize("name", ["bce", "naive_bce", "label_mse"])
def test_exact_match_and_micro_f1_of_an_epoch(name: str, sizes: list[int]) -> None:
    outputs, targets = normal(23, 3, seed=1), binary(23, 3, seed=2)
    predicted = (outputs > 0).numpy()
    assert epoch(build_loss(name), outputs, targets, sizes) == {
        "exact_match": pytest.approx(accuracy_score(targets.numpy(), predicted), rel=1e-12),
        "micro_f1": pytest.approx(f1_score(targets.numpy(), predicted, average="micro", zero_division=0), rel=1e-12),
    }


def test_micro_f1_of_nothing_predicted_and_nothing_there() -> None:
    logged = epoch(build_loss("bce"), -torch.ones(4, 3), torch.zeros(4, 3), [4])
    assert logged == {"exact_match": 1.0, "micro_f1": 0.0}
    assert f1_score(np.zeros((4, 3)), np.zeros((4, 3)), average="micro", zero_division=0) == 0


@pytest.mark.parametrize("sizes", [[23], [5, 5, 5, 5, 3], [1, 20, 2]])
@pytest.mark.parametrize("columns", [1, 3])
def test_r2_of_an_epoch(columns: int, sizes: list[int]) -> None:
    # Numbers with a mean far from 0, as a price has.
    targets = 150 + 70 * normal(23, columns, seed=1) * torch.arange(1, columns + 1)
    outputs = targets + 30 * normal(23, columns, seed=2)
    logged = epoch(build_loss("mse"), outputs, targets, sizes)
    assert logged == {"r2": pytest.approx(r2_score(targets, outputs), rel=1e-10)}
    single = epoch(build_loss("mse"), outputs.float(), targets.float(), sizes)
    assert single["r2"] == pytest.approx(logged["r2"], rel=1e-6)
    # Whatever the unit of the numbers.
    small = epoch(build_loss("mse"), 1e-4 * outputs, 1e-4 * targets, sizes)
    assert small["r2"] == pytest.approx(logged["r2"], rel=1e-10)


# Of 0.3 and 1.1, rounding leaves a variance a little above 0.
@pytest.mark.parametrize("value", [0.0, 0.3, 1.1, 1e6])
def test_r2_of_targets_that_do_not_vary_is_zero(value: float) -> None:
    targets = torch.full((7, 2), value, dtype=torch.float64)
    targets[:, 1] = normal(7)
    outputs = torch.zeros(7, 2, dtype=torch.float64)
    other = r2_score(targets[:, 1], outputs[:, 1])
    assert epoch(build_loss("mse"), outputs, targets, [4, 3]) == {"r2": pytest.approx(other / 2, rel=1e-10)}


def test_r2_of_one_sample_is_zero() -> None:
    assert epoch(build_loss("mse"), torch.zeros(1, 2), torch.ones(1, 2), [1]) == {"r2": 0.0}


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
        ("naive_cross_entropy", torch.tensor([0, 3]), "label 3 is out of range"),
        ("naive_cross_entropy", torch.tensor([[0], [1]]), r"naive_cross_entropy needs labels of shape \(2,\)"),
        ("one_hot_mse", torch.tensor([-1, 0]), "label -1 is out of range: 3 classes have labels 0 to 2"),
        ("one_hot_mse", torch.zeros(2, 3), r"one_hot_mse needs labels of shape \(2,\) and type torch.int64"),
        ("bce", torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 1.0]]), r"a target of 2 is out of range: .* \(1\) or not"),
        ("bce", torch.tensor([[0.0, 1.0, 0.5], [0.0, 1.0, 1.0]]), "a target of 0.5 is out of range"),
        ("naive_bce", torch.tensor([[0.0, 1.0, math.nan], [0.0, 1.0, 1.0]]), "a target of nan is out of range"),
        ("bce", torch.tensor([0, 1]), r"bce needs targets of the outputs' shape \(2, 3\) and type torch.float32"),
        ("bce", torch.zeros(2, 3, dtype=torch.int64), "not .* torch.int64"),
        ("naive_bce", torch.zeros(2, 1), r"naive_bce needs targets of the outputs' shape \(2, 3\) .*, not \(2, 1\)"),
        # Torch would broadcast these.
        ("mse", torch.zeros(3), r"targets of the outputs' shape \(2, 3\) and type torch.float32, not \(3,\)"),
        ("mse", torch.zeros(2, 1), r"not \(2, 1\)"),
        ("mse", torch.zeros(2, 3, dtype=torch.int64), "not .* torch.int64"),
    ],
)
def test_wrong_targets(loss: str, targets: torch.Tensor, message: str) -> None:
    def check(outputs: torch.Tensor) -> None:
        built = build_loss(loss)
        built.validate_shape(outputs, targets)
        built.validate_values(outputs, targets)

    with pytest.raises(ValueError, match=message) as error:
        check(torch.zeros(2, 3))
    assert "\n" not in str(error.value)


def test_a_column_against_a_vector() -> None:
    with pytest.raises(ValueError, match=r"mse needs targets of the outputs' shape \(5, 1\) .*, not \(5,\)"):
        build_loss("mse").validate_shape(torch.zeros(5, 1), torch.zeros(5))


@pytest.mark.parametrize("name", ["cross_entropy", "naive_cross_entropy", "one_hot_mse"])
def test_one_class(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} needs at least 2 classes, not 1$"):
        build_loss(name).validate_shape(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64))


def test_good_targets_pass() -> None:
    of_labels = dict.fromkeys(["bce", "naive_bce", "label_mse", "label_softmax"], torch.eye(2, 3))
    outputs, good = torch.zeros(2, 3), {**of_labels, "mse": torch.ones(2, 3)}
    for name in LOSSES:
        loss, targets = build_loss(name), good.get(name, torch.tensor([2, 0]))
        loss.validate_shape(outputs, targets)
        loss.validate_values(outputs, targets)
    validate_label_range(torch.tensor([0, 1]), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "naive"}, "unknown loss 'naive'"),
        (
            {"name": "msee"},
            r"unknown loss 'msee': did you mean 'mse'\? valid: cross_entropy, naive_cross_entropy, one_hot",
        ),
        (
            {"name": "one_hot_mse", "output_activation": "tanh"},
            "unknown output_activation 'tanh': valid: identity, sigmoid",
        ),
        ({"name": "one_hot_mse", "reduction": "summ"}, r"unknown reduction 'summ': did you mean 'sum'\?"),
        ({"name": "bce", "reduction": "none"}, "unknown reduction 'none'"),
    ],
)
def test_bad_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build_loss(**arguments)
    assert "\n" not in str(error.value)


OPTIONS = {"output_activation": "identity", "reduction": "mean"}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", LOSSES)
def test_an_option_has_an_effect_or_is_refused(name: str, option: str) -> None:
    if option in LOSSES[name]:
        build_loss(name, **{option: OPTIONS[option]})
        return
    users = "one_hot_mse" if option == "output_activation" else "one_hot_mse, bce, naive_bce, label_mse"
    with pytest.raises(ValueError, match=f"^{name} does not use {option}={OPTIONS[option]}; these losses do: {users}$"):
        build_loss(name, **{option: OPTIONS[option]})


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
    assert {names[id(parameter)] for parameter in penalized_weights(network)} == {
        "hidden.0.linear.weight",
        "hidden.1.linear.weight",
        "output.weight",
    }
