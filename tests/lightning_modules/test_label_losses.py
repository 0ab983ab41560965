"""The losses that stand beside binary cross-entropy, against loops and torch; what is predicted after softmax."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.label_losses import by_share, by_sign
from lightning_modules.losses import build_loss
from lightning_modules.metrics import EpochOutputs, build_metrics, collection


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def binary(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(("reduction", "outputs_counted"), [("mean", 4), ("sum", 1)])
def test_label_mse_is_the_squared_error_of_the_sigmoid(reduction: str, outputs_counted: int) -> None:
    outputs, targets = normal(9, 4).requires_grad_(), binary(9, 4)
    value = build_loss("label_mse", reduction=reduction).mean(outputs, targets)
    probability = 1 / (1 + (-outputs.detach()).exp())
    errors = probability - targets
    assert value.item() == pytest.approx(float((errors**2).sum()) / 9 / outputs_counted, rel=1e-12)
    (gradient,) = torch.autograd.grad(value, outputs)
    truth = 2 * errors * probability * (1 - probability) / 9 / outputs_counted
    torch.testing.assert_close(gradient, truth, atol=1e-12, rtol=0)


def test_label_softmax_shares_a_sample_among_its_labels() -> None:
    outputs = normal(4, 3).requires_grad_()
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    value = build_loss("label_softmax").mean(outputs, targets)
    log = outputs.detach().softmax(1).log()
    truth = -(log[0, 0] / 2 + log[0, 2] / 2 + log[1, 1] + log[3].sum() / 3) / 4
    assert value.item() == pytest.approx(truth.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, outputs)
    # A sample without labels teaches nothing.
    assert gradient[2].abs().max() == 0
    torch.testing.assert_close(gradient[1], (log[1].exp() - targets[1]) / 4, atol=1e-12, rtol=0)


def test_of_one_label_a_sample_label_softmax_is_cross_entropy() -> None:
    outputs, labels = normal(7, 5), torch.arange(7) % 5
    value = build_loss("label_softmax").mean(outputs, F.one_hot(labels, 5).double())
    assert value.item() == pytest.approx(build_loss("cross_entropy").mean(outputs, labels).item(), rel=1e-12)


@settings(max_examples=50)
@given(seed=st.integers(0, 999), labels=st.integers(1, 8), scale=st.floats(0, 30))
def test_softmax_never_predicts_nothing(seed: int, labels: int, scale: float) -> None:
    outputs = (scale * normal(6, labels, seed=seed)).float()
    predicted = by_share(outputs)
    assert predicted.any(1).all()
    # Apart from rounding, an equal share is a logit above the logarithm of the mean exponential.
    above = outputs.double() - (outputs.double().logsumexp(1, keepdim=True) - torch.tensor(labels).double().log())
    clear = above.abs() > 1e-4
    assert torch.equal(predicted[clear], (above > 0)[clear])


def test_equal_outputs_are_all_predicted_by_share_and_none_by_sign() -> None:
    assert by_share(torch.zeros(2, 3)).all()
    assert not by_sign(torch.zeros(2, 3)).any()


def test_what_is_counted_after_softmax_follows_its_shares() -> None:
    outputs, targets = normal(23, 3, seed=1), binary(23, 3, seed=2)
    loss = build_loss("label_softmax")
    kept = EpochOutputs()
    kept.add(loss.mean(outputs, targets), outputs, targets)
    metrics = collection("val", build_metrics(loss.kind, 3))
    metrics.update(**kept.metric_inputs(loss.predict))
    logged = {name: value.item() for name, value in metrics.compute().items()}
    predicted = (outputs.softmax(1) >= 1 / 3).numpy()
    assert logged == {
        "val/exact_match": pytest.approx(accuracy_score(targets.numpy(), predicted), rel=1e-12),
        "val/micro_f1": pytest.approx(f1_score(targets.numpy(), predicted, average="micro"), rel=1e-12),
    }
    assert not (predicted == (outputs > 0).numpy()).all()
