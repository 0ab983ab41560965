"""The perceptron update for update against scikit-learn's, its cost against autograd, Novikoff's bound against SVC."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import sklearn.linear_model
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.svm import SVC
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.perceptron import Perceptron, PerceptronNetwork, mistakes, novikoff_bound, perceptron_cost

Fit = Callable[..., lightning.Trainer]
CORNERS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
FUNCTIONS = list(itertools.product([0, 1], repeat=4))
AND, XOR = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 0])


def points(samples: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def separable(samples: int, features: int, seed: int = 0, shift: float = 0.3) -> tuple[Tensor, Tensor]:
    x, teacher = points(samples, features, seed), points(1, features, seed + 1)[0]
    return x, (x @ teacher + shift > 0).long()


def model(features: int, **changes: Any) -> Perceptron:
    return Perceptron(**{"num_features": features, "num_classes": 2, "seed": 0, **changes}).double()


def parameters(module: Perceptron) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.network.parameters()])


class Record(lightning.Callback):
    """The batches in the order they came, the weights after each epoch, and what was logged of it."""

    def __init__(self) -> None:
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.epochs: list[tuple[int, Tensor, dict[str, float]]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append((batch[0], batch[1]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
        self.epochs.append((len(self.batches), parameters(pl_module).clone(), logged))


def learn(
    module: Perceptron, x: Tensor, y: Tensor, trainer: Fit, size: int = 1, shuffle: bool = True, **arguments: Any
) -> Record:
    record, torch_order = Record(), torch.Generator().manual_seed(7)
    loader = DataLoader(TensorDataset(x, y), batch_size=size, shuffle=shuffle, generator=torch_order)
    callbacks = [record, *arguments.pop("callbacks", [])]
    trainer(callbacks=callbacks, **arguments).fit(module, loader)
    return record


def convergence() -> EarlyStopping:
    """As the docstring of the class says."""
    return EarlyStopping("train/error", mode="min", stopping_threshold=1e-9, patience=1_000_000)


def by_hand(x: Tensor, y: Tensor, epochs: int, bias: bool = True) -> tuple[list[int], Tensor]:
    """The algorithm, from weights of zero: the updates of each epoch until one has none, and the weights."""
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1) if bias else x
    w, updates = torch.zeros(rows.shape[1], dtype=x.dtype), []
    for _ in range(epochs):
        before, count = w.clone(), 0
        for row, label in zip(rows, (2 * y - 1).tolist(), strict=True):
            if label * (w @ row) <= 0:
                w, count = w + label * row, count + 1
        updates.append(count)
        if torch.equal(w, before):
            break
    return updates, w


# --- The cost


@pytest.mark.parametrize("direction", [1, -1])
def test_cost_and_gradient(direction: int) -> None:
    outputs = torch.tensor([[2.0], [-3.0], [0.5], [-0.25], [0.0], [0.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 1, 0, 0, 1, 0])
    name = "descent" if direction == 1 else "ascent"
    for ties, at_zero in (("mistakes", 1.0), ("correct", 0.0)):
        cost = perceptron_cost(outputs, labels, ties, name)
        assert cost.item() == pytest.approx((3 + 0.5) / 6, rel=1e-12)
        (gradient,) = torch.autograd.grad(cost, outputs)
        truth = direction * torch.tensor([0, -1, 1, 0, -at_zero, at_zero], dtype=torch.float64)[:, None] / 6
        torch.testing.assert_close(gradient, truth, atol=1e-15, rtol=0)
        assert mistakes(outputs, labels, ties).tolist() == [False, True, True, False, at_zero == 1, at_zero == 1]


@settings(max_examples=50)
@given(samples=st.integers(1, 8), features=st.integers(1, 5), bias=st.booleans(), seed=st.integers(0, 1000))
def test_cost_is_the_hinge_at_zero(samples: int, features: int, bias: bool, seed: int) -> None:
    network = PerceptronNetwork(features, seed=seed, bias=bias, initialization="he").double()
    x, labels = points(samples, features, seed), torch.arange(samples) % 2
    weights = list(network.parameters())
    ours = torch.autograd.grad(perceptron_cost(network(x), labels), weights)
    f = x @ weights[0][0] + (weights[1] if bias else 0)
    theirs = torch.autograd.grad((-(2 * labels - 1) * f).clamp_min(0).mean(), weights)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_network(bias: bool) -> None:
    network = PerceptronNetwork(12, seed=0, bias=bias, initialization="he").double()
    x = points(5, 12)
    truth = torch.tensor([sum(w * v for w, v in zip(network.output.weight[0].tolist(), row, strict=True)) for row in x])
    torch.testing.assert_close(network(x.reshape(5, 3, 4))[:, 0], truth.double(), atol=1e-12, rtol=0)
    assert [name for name, _ in network.named_parameters()] == ["output.weight", "output.bias"][: 1 + bias]
    zero = PerceptronNetwork(12, seed=0, bias=bias)
    assert not any(parameter.any() for parameter in zero.parameters())


# --- The algorithm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lr", [1.0, 0.3])
@pytest.mark.parametrize("separated", [True, False])
def test_update_for_update_as_scikit_learn(bias: bool, lr: float, separated: bool, trainer: Fit) -> None:
    x, y = separable(20, 4)
    if not separated:
        y = torch.where(torch.arange(20) % 5 == 0, 1 - y, y)
    record = learn(model(4, bias=bias, lr=lr), x, y, trainer, max_epochs=4)
    theirs = sklearn.linear_model.Perceptron(penalty=None, eta0=lr, fit_intercept=bias, shuffle=False)
    first = 0
    for end, ours, _ in record.epochs:
        epoch = record.batches[first:end]
        theirs.partial_fit(torch.cat([a for a, _ in epoch]), torch.cat([b for _, b in epoch]), classes=[0, 1])
        truth = np.concatenate([theirs.coef_[0], theirs.intercept_]) if bias else theirs.coef_[0]
        np.testing.assert_allclose(ours.numpy(), truth, atol=1e-10, rtol=0)
        first = end
    assert len(record.epochs) == 4
    assert not torch.equal(record.batches[0][0], record.batches[20][0])  # the epochs' orders differ
    assert parameters(model(4, bias=bias)).abs().sum() == 0
    assert record.epochs[-1][1].abs().sum() > 0


def test_metrics(trainer: Fit) -> None:
    x, y = separable(30, 4)
    y = torch.where(torch.arange(30) % 5 == 0, 1 - y, y)
    module = model(4)
    record = learn(module, x, y, trainer, max_epochs=3)
    w, first = torch.zeros(5, dtype=torch.float64), 0
    for end, _, logged in record.epochs:
        cost, updates, right = 0.0, 0, 0
        for row, label in record.batches[first:end]:
            sign, homogeneous = 2 * label.item() - 1, torch.cat([row[0], torch.ones(1, dtype=torch.float64)])
            f = (w @ homogeneous).item()
            cost, right = cost + max(0.0, -sign * f), right + ((f > 0) == (sign > 0))
            if sign * f <= 0:
                w, updates = w + sign * homogeneous, updates + 1
        first = end
        assert logged == {
            "train/loss": pytest.approx(cost / 30, rel=1e-12),
            "train/error": pytest.approx(updates / 30, rel=1e-12),
            "train/accuracy": pytest.approx(right / 30, rel=1e-12),
            "lr": 1.0,
        }
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    run = trainer()
    (tested,) = run.test(module, loader, verbose=False)
    f = torch.cat(run.predict(module, loader))[:, 0]
    margins = (2 * y - 1) * f
    assert tested == {
        "test/loss": pytest.approx((-margins).clamp_min(0).mean().item(), rel=1e-12),
        "test/error": pytest.approx((margins <= 0).double().mean().item(), rel=1e-12),
        "test/accuracy": pytest.approx(((f > 0) == (y == 1)).double().mean().item(), rel=1e-12),
    }


def test_accuracy_of_weights_of_zero(trainer: Fit) -> None:
    loader = DataLoader(TensorDataset(points(4, 2), torch.tensor([0, 1, 0, 0])), batch_size=4)
    (tested,) = trainer().test(model(2), loader, verbose=False)
    # Every sample is a tie: a mistake, and told to be of class 0.
    assert tested == {"test/loss": 0.0, "test/error": 1.0, "test/accuracy": 0.75}


def test_it_stops_after_the_first_epoch_without_a_mistake(trainer: Fit) -> None:
    x, y = separable(12, 3, seed=2)
    updates, w = by_hand(x, y, epochs=500)
    assert len(updates) > 5
    module = model(3)
    record = learn(module, x, y, trainer, shuffle=False, max_epochs=500, callbacks=[convergence()])
    assert [logged["train/error"] for *_, logged in record.epochs] == pytest.approx(
        [u / 12 for u in updates], abs=1e-12
    )
    torch.testing.assert_close(parameters(module), w, atol=1e-10, rtol=0)
    assert sum(updates) <= novikoff_bound(x, y)
    assert record.epochs[-1][2]["train/accuracy"] == 1


def test_it_never_stops_on_xor(trainer: Fit) -> None:
    record = learn(model(2), CORNERS, XOR, trainer, max_epochs=30, callbacks=[convergence()])
    assert len(record.epochs) == 30
    assert all(logged["train/error"] > 0 for *_, logged in record.epochs)


def test_the_strict_inequality_never_begins(trainer: Fit) -> None:
    x, y = separable(20, 3)
    module = model(3, ties="correct")
    record = learn(module, x, y, trainer, max_epochs=9, callbacks=[convergence()])
    assert len(record.epochs) == 1
    assert record.epochs[0][2]["train/error"] == 0
    assert not parameters(module).any()
    # From other weights it does, and ends without a mistake.
    module = model(3, ties="correct", initialization="he")
    record = learn(module, x, y, trainer, max_epochs=500, callbacks=[convergence()])
    assert record.epochs[0][2]["train/error"] > 0
    assert len(record.epochs) < 500
    assert ((module(x)[:, 0] > 0) == (y == 1)).all()


def test_ascent_learns_to_be_wrong(trainer: Fit) -> None:
    x, y = separable(40, 3)
    # Ascent moves away from y x only where there is a mistake: its error does not fall, and its cost grows.
    record = learn(model(3, direction="ascent"), x, y, trainer, max_epochs=4)
    losses = [logged["train/loss"] for *_, logged in record.epochs]
    assert losses == sorted(losses)
    assert losses[-1] > 4 * losses[0] > 0
    assert record.epochs[-1][2]["train/error"] > 0.9
    # One step is the opposite of descent's.
    down, up = model(3, initialization="he"), model(3, initialization="he", direction="ascent")
    start = parameters(down)
    learn(down, x, y, trainer, size=40, max_epochs=1)
    learn(up, x, y, trainer, size=40, max_epochs=1)
    torch.testing.assert_close(parameters(up) - start, start - parameters(down), atol=1e-12, rtol=0)
    assert not torch.equal(parameters(down), start)


def test_a_larger_batch_descends_its_mean_cost(trainer: Fit) -> None:
    x, y = separable(23, 3)
    module = model(3, initialization="he", lr=0.5)
    record = learn(module, x, y, trainer, size=5, max_epochs=4)
    other = PerceptronNetwork(3, seed=0, initialization="he").double()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.5)
    for inputs, labels in record.batches:
        optimizer.zero_grad()
        (-(2 * labels - 1) * other(inputs)[:, 0]).clamp_min(0).mean().backward()
        optimizer.step()
    truth = torch.cat([p.detach().flatten() for p in other.parameters()])
    torch.testing.assert_close(parameters(module), truth, atol=1e-12, rtol=0)


@pytest.mark.parametrize("changes", [{}, {"bias": False, "ties": "correct", "direction": "ascent", "lr": 0.5}])
def test_checkpoint_round_trip(changes: dict[str, Any], trainer: Fit, tmp_path: Path) -> None:
    x, y = separable(20, 3)
    module = model(3, **{"initialization": "he", **changes}).float()
    run = trainer(max_epochs=2)
    run.fit(module, DataLoader(TensorDataset(x.float(), y)))
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Perceptron.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.hparams == module.hparams
    assert torch.equal(loaded(x.float()), module(x.float()))
    assert not torch.equal(loaded(x.float()), model(3, **{"initialization": "he", **changes}).float()(x.float()))


# --- Novikoff's bound


def svc_bound(rows: np.ndarray[Any, Any], y: Tensor) -> float:
    """(R/γ)² from scikit-learn: with every point and its opposite, the best hyperplane goes through the origin."""
    signed = (2 * y.numpy() - 1)[:, None] * rows
    labels = np.repeat([1, -1], len(rows))
    svc = SVC(kernel="linear", C=1e10, tol=1e-8).fit(np.concatenate([signed, -signed]), labels)
    return float((rows**2).sum(1).max() * (svc.coef_**2).sum())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_bound_against_scikit_learn(bias: bool, seed: int) -> None:
    x, y = separable(30, 3, seed, shift=0.3 if bias else 0.0)
    rows = np.concatenate([x, np.ones((30, 1))], axis=1) if bias else x.numpy()
    # The tolerance is that of SVC's own iterations.
    assert novikoff_bound(x, y, bias) == pytest.approx(svc_bound(rows, y), rel=1e-4)


def test_bound_in_closed_form() -> None:
    two = torch.tensor([[3.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    # w = (1, 0): R = 3, γ = 1.
    assert novikoff_bound(two, torch.tensor([1, 0]), bias=False) == pytest.approx(9, rel=1e-9)
    # y (x, 1) = (3, 1) and (1, −1): the least w with both products >= 1 is (1, −1)/2, and R² = 10.
    assert novikoff_bound(two[:, :1], torch.tensor([1, 0])) == pytest.approx(5, rel=1e-9)
    # w = (1, 1, −1): R = √3, and the least margin is 1 of ‖w‖ = √3.
    assert novikoff_bound(CORNERS, AND) == pytest.approx(9, rel=1e-9)
    # w = (1, 0, 0).
    assert novikoff_bound(CORNERS, torch.tensor([0, 0, 1, 1])) == pytest.approx(3, rel=1e-9)
    assert novikoff_bound(CORNERS, torch.tensor([0, 0, 1, 1]), bias=False) == pytest.approx(2, rel=1e-9)
    # One class: w = w0 alone.
    assert novikoff_bound(CORNERS, torch.ones(4, dtype=torch.int64)) == pytest.approx(3, rel=1e-9)


@pytest.mark.parametrize(("bias", "count"), [(True, 14), (False, 4)])
def test_boolean_functions(bias: bool, count: int) -> None:
    found = set()
    for labels in FUNCTIONS:
        y = torch.tensor(labels)
        updates, _ = by_hand(CORNERS, y, epochs=60, bias=bias)
        try:
            bound = novikoff_bound(CORNERS, y, bias)
        except ValueError:
            assert updates[-1] > 0
        else:
            assert updates[-1] == 0
            assert sum(updates) <= bound + 1e-9
            found.add(labels)
    assert len(found) == count
    assert {tuple(XOR.tolist()), tuple((1 - XOR).tolist())}.isdisjoint(found)


@settings(max_examples=50)
@given(
    samples=st.integers(2, 25),
    features=st.integers(1, 5),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
    bias=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_no_more_updates_than_the_bound(samples: int, features: int, scale: float, bias: bool, seed: int) -> None:
    x, y = separable(samples, features, seed, shift=0.3 if bias else 0.0)
    x = scale * x
    bound = novikoff_bound(x, y, bias)
    assume(bound < 3000)
    updates, _ = by_hand(x, y, epochs=3001, bias=bias)
    assert updates[-1] == 0
    assert sum(updates) <= bound * (1 + 1e-9)


@settings(max_examples=30)
@given(samples=st.integers(2, 20), features=st.integers(1, 4), bias=st.booleans(), seed=st.integers(0, 1000))
def test_not_separable(samples: int, features: int, bias: bool, seed: int) -> None:
    x, y = separable(samples, features, seed)
    # The same point in both classes.
    x, y = torch.cat([x, x[:1]]), torch.cat([y, 1 - y[:1]])
    with pytest.raises(ValueError, match=f"^the {samples + 1} samples are not linearly separable with"):
        novikoff_bound(x, y, bias)


def test_bound_of_what_cannot_be() -> None:
    for bias in (True, False):
        with pytest.raises(
            ValueError, match=f"the 4 samples are not linearly separable {'with' if bias else 'without'} a"
        ):
            novikoff_bound(CORNERS, XOR, bias)
    with pytest.raises(ValueError, match="not linearly separable without a bias"):
        novikoff_bound(torch.zeros(3, 2), torch.tensor([0, 0, 0]), bias=False)
    with pytest.raises(ValueError, match="label 2 is out of range: 2 classes have labels 0 to 1"):
        novikoff_bound(CORNERS, torch.tensor([0, 1, 2, 0]))
    with pytest.raises(
        ValueError, match=r"novikoff_bound needs labels of shape \(4,\) and type torch.int64, not \(3,\)"
    ):
        novikoff_bound(CORNERS, torch.tensor([0, 1, 1]))


# --- Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_features": 0}, "num_features must be a whole number >= 1, not 0"),
        ({"num_classes": 3}, "a perceptron tells 2 classes apart, not 3"),
        ({"num_classes": 1}, "a perceptron tells 2 classes apart, not 1"),
        ({"ties": "mistake"}, r"unknown ties 'mistake': did you mean 'mistakes'\? valid: mistakes, correct"),
        ({"direction": "up"}, "unknown direction 'up': valid: descent, ascent"),
        ({"initialization": "zeros"}, r"unknown initialization 'zeros': did you mean 'zero'\?"),
        ({"loss": "mse"}, "unknown loss of a perceptron 'mse': valid: perceptron"),
        ({"reduction": "sum"}, "perceptron does not use reduction=sum; these losses do: one_hot_mse, bce, naive_bce"),
        (
            {"output_activation": "sigmoid"},
            "perceptron does not use output_activation=sigmoid; these losses do: one_hot",
        ),
        ({"lr": 0.0}, "lr must be a finite number > 0, not 0.0"),
        ({"beta1": 0.9}, "sgd does not use beta1"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Perceptron(**{"num_features": 3, "num_classes": 2, "seed": 0, **changes})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([0, 1, 2]), "label 2 is out of range: 2 classes have labels 0 to 1"),
        # The slide's own −1 and +1 are not this project's labels.
        (torch.tensor([1, 1, -1]), "label -1 is out of range"),
        (torch.tensor([[0], [1], [1]]), r"perceptron needs labels of shape \(3,\) and type torch.int64, not \(3, 1\)"),
        (torch.tensor([0.0, 1.0, 1.0]), r"not \(3,\) and torch.float32"),
    ],
)
def test_bad_targets(targets: Tensor, message: str, trainer: Fit) -> None:
    with pytest.raises(ValueError, match=message):
        learn(model(2), points(3, 2), targets, trainer, size=3, max_epochs=1)
