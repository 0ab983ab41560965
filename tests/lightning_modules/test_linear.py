"""Linear networks: the collapsed layer in float64 (1e-12), and training against scikit-learn's closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_modules.linear import LinearModel, LinearNetwork, LinearStack

Fit = Callable[..., lightning.Trainer]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def full_batch(x: Tensor, y: Tensor, steps: int = 1) -> DataLoader[Any]:
    # Several steps an epoch, because an epoch costs ten times a step.
    return DataLoader([(x, y)] * steps, batch_size=None)


def linear_model(**changes: Any) -> LinearModel:
    return LinearModel(**{"num_features": 4, "num_classes": 3, "seed": 0, **changes}).double()


def stack(**changes: Any) -> LinearStack:
    return LinearStack(**{"num_features": 4, "num_classes": 3, "hidden": [5, 2], "seed": 0, **changes}).double()


@settings(max_examples=60)
@given(
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 6),
    hidden=st.lists(st.integers(1, 6), max_size=5),
    bias=st.booleans(),
    initialization=st.sampled_from(["default", "xavier", "he", "orthogonal", "zero"]),
    seed=st.integers(0, 100),
)
def test_a_stack_collapses(
    inputs: int, outputs: int, hidden: list[int], bias: bool, initialization: str, seed: int
) -> None:
    network = LinearNetwork(inputs, outputs, hidden, seed=seed, bias=bias, initialization=initialization).double()
    if bias:
        for layer in (m for m in network.modules() if isinstance(m, nn.Linear)):
            layer.bias.data = normal(layer.out_features, seed=seed)
    single, x = network.collapse(), normal(7, inputs, seed=seed)
    assert type(single) is nn.Linear
    assert (single.in_features, single.out_features, single.bias is not None) == (inputs, outputs, bias)
    torch.testing.assert_close(single(x), network(x), atol=1e-12, rtol=0)
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == len(hidden) + 1
    # No parameter is shared: to train one leaves the other alone.
    before = network(x).clone()
    single.weight.data.add_(1)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_collapsed_layer_is_of_the_networks_type(dtype: torch.dtype) -> None:
    network = LinearNetwork(3, 2, [4], seed=0).to(dtype)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    single = network.collapse()
    assert {p.dtype for p in single.parameters()} == {dtype}
    assert all(p.requires_grad and p.grad_fn is None for p in single.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_two_neurons_as_the_slide_expands_them() -> None:
    network = LinearNetwork(2, 1, [2], seed=0).double()
    x = normal(6, 2)
    (w, b), (v, c) = (
        (layer.weight.tolist(), layer.bias.tolist()) for layer in (network.hidden[0].linear, network.output)
    )
    truth = [
        v[0][0] * (w[0][0] * one + w[0][1] * two + b[0]) + v[0][1] * (w[1][0] * one + w[1][1] * two + b[1]) + c[0]
        for one, two in x.tolist()
    ]
    torch.testing.assert_close(network(x)[:, 0], torch.tensor(truth, dtype=torch.float64), atol=1e-14, rtol=0)


def test_networks() -> None:
    assert [name for name, _ in linear_model().network.named_parameters()] == ["output.weight", "output.bias"]
    assert [name for name, _ in linear_model(bias=False).network.named_parameters()] == ["output.weight"]
    assert [tuple(p.shape) for p in stack(bias=False).network.parameters()] == [(5, 4), (2, 5), (3, 2)]
    model, x = linear_model(), normal(6, 2, 2)
    truth = x.flatten(1) @ model.network.output.weight.T + model.network.output.bias
    torch.testing.assert_close(model(x), truth, atol=1e-12, rtol=0)
    model = stack()
    torch.testing.assert_close(model(x), model.collapse()(x.flatten(1)), atol=1e-12, rtol=0)
    # The one layer's weights are those of a stack's last: streams are shared where shapes agree.
    one, other = linear_model(initialization="he"), stack(initialization="he", hidden=[4])
    assert torch.equal(one.network.output.weight, other.network.output.weight)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_full_batch_descent_reaches_least_squares(columns: int, bias: bool, trainer: Fit) -> None:
    x = normal(40, 4)
    y = x @ normal(4, columns, seed=1) + 3 + 0.5 * normal(40, columns, seed=2)
    model = linear_model(num_classes=columns, bias=bias, loss="mse", optimizer="sgd", lr=0.3 * columns)
    run = trainer(max_epochs=1)
    run.fit(model, full_batch(x, y, steps=250))
    truth = LinearRegression(fit_intercept=bias).fit(x, y)
    output = model.network.output
    torch.testing.assert_close(output.weight.detach(), torch.from_numpy(truth.coef_), atol=1e-4, rtol=0)
    if bias:
        torch.testing.assert_close(output.bias.detach(), torch.from_numpy(truth.intercept_), atol=1e-4, rtol=0)
    (tested,) = run.test(model, full_batch(x, y), verbose=False)
    assert tested["test/r2"] == pytest.approx(truth.score(x, y), abs=1e-6)


def test_softmax_regression_reaches_scikit_learns_loss(trainer: Fit) -> None:
    x = normal(60, 4)
    # Not separable: a fifth of the labels says something else.
    y = torch.where(torch.arange(60) % 5 == 0, torch.arange(60) % 3, x[:, :3].argmax(1))
    model = linear_model(lr=0.1)
    run = trainer(max_epochs=1)
    run.fit(model, full_batch(x, y, steps=300))
    (tested,) = run.test(model, full_batch(x, y), verbose=False)
    truth = LogisticRegression(C=float("inf"), tol=1e-8, max_iter=1000).fit(x, y)
    best = log_loss(y, truth.predict_proba(x))
    assert 0.2 < best < 1
    assert -1e-6 < tested["test/loss"] - best < 1e-3


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("build", [linear_model, stack])
def test_a_few_steps_decrease_the_loss(build: Callable[..., Any], loss: str, trainer: Fit) -> None:
    x = normal(30, 4)
    y = x @ normal(4, 3, seed=1) if loss == "mse" else x[:, :3].argmax(1)
    model, data = build(loss=loss, optimizer="sgd", lr=0.1), full_batch(x, y)
    run = trainer(max_epochs=1)
    (before,) = run.validate(model, data, verbose=False)
    run.fit(model, full_batch(x, y, steps=20))
    (after,) = run.validate(model, data, verbose=False)
    assert after["val/loss"] < 0.9 * before["val/loss"]


@pytest.mark.parametrize(
    ("build", "changes"),
    [(linear_model, {"bias": False}), (stack, {}), (stack, {"initialization": "he", "hidden": [3], "bias": False})],
)
def test_checkpoint_round_trip(
    build: Callable[..., Any], changes: dict[str, Any], trainer: Fit, tmp_path: Path
) -> None:
    x, y = normal(20, 4).float(), torch.arange(20) % 3
    model = build(**changes).float()
    run = trainer(max_epochs=2)
    run.fit(model, full_batch(x, y))
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = type(model).load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.hparams == model.hparams
    assert torch.equal(loaded(x), model(x))
    assert not torch.equal(loaded(x), build(**changes).float()(x))


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (linear_model, {"num_features": 0}, "num_features must be a whole number >= 1, not 0"),
        (linear_model, {"num_classes": 0}, "num_classes must be a whole number >= 1, not 0"),
        (linear_model, {"initialization": "hee"}, r"unknown initialization 'hee': did you mean 'he'\?"),
        (stack, {"hidden": []}, r"hidden must list at least one width, not \[\]"),
        (stack, {"hidden": [3, 0]}, "the size of a layer must be a whole number >= 1, not 0"),
        (stack, {"num_features": -1}, "num_features must be a whole number >= 1, not -1"),
    ],
)
def test_bad_arguments(build: Callable[..., Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build(**changes)
    assert "\n" not in str(error.value)


def test_wrong_number_of_features() -> None:
    with pytest.raises(ValueError, match=r"a batch must have 4 features a sample; its shape is \(2, 5\)"):
        linear_model()(normal(2, 5))
