"""The recurrent network against torch's RNN and autograd, and the norm of its gradient against ρ^T."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.recurrent import Recurrent, RecurrentNetwork

SHAPE = (2, 5, 3)


def network(shape: tuple[int, ...] = SHAPE, **changes: Any) -> RecurrentNetwork:
    return RecurrentNetwork(shape, 4, 6, **{"seed": 0, **changes}).double()


def samples(shape: tuple[int, ...] = SHAPE, n: int = 7) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def rows(x: Tensor) -> Tensor:
    """An image as the sequence of its rows, each with both channels, written out: (batch, rows, 2 · columns)."""
    return torch.stack([torch.cat([x[:, 0, row], x[:, 1, row]], dim=1) for row in range(x.shape[2])], dim=1)


def as_torch_rnn(built: RecurrentNetwork, cell: str) -> nn.RNN:
    """Torch's network with the same weights; its second bias, which adds to the first, is 0."""
    rnn = nn.RNN(built.input.in_features, 6, nonlinearity=cell, batch_first=True).double()
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(built.input.weight)
        rnn.bias_ih_l0.copy_(built.input.bias)
        rnn.weight_hh_l0.copy_(built.recurrent.weight)
        rnn.bias_hh_l0.zero_()
    return rnn


@pytest.mark.parametrize("cell", ["tanh", "relu"])
@pytest.mark.parametrize("gain", [1.0, 1.3])
def test_outputs_and_gradients_are_those_of_torch(cell: str, gain: float) -> None:
    built, x, y = network(activation=cell, recurrent_gain=gain), samples(), torch.arange(7) % 4
    rnn = as_torch_rnn(built, cell)
    states, _ = rnn(rows(x))
    outputs = F.linear(states[:, -1], built.output.weight, built.output.bias)
    close(built(x), outputs)
    ours = [built.input.weight, built.input.bias, built.recurrent.weight]
    theirs = [rnn.weight_ih_l0, rnn.bias_ih_l0, rnn.weight_hh_l0]
    found = torch.autograd.grad(F.cross_entropy(built(x), y), ours)
    expected = torch.autograd.grad(F.cross_entropy(outputs, y), theirs)
    for one, other in zip(found, expected, strict=True):
        close(one, other)
        assert one.abs().max() > 1e-3


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_gradient_of_a_linear_cell_is_a_power_of_the_spectral_radius(radius: float) -> None:
    steps = 20
    built = network((steps,), activation="identity", recurrent_gain=radius)
    driven = built.input(samples((steps,)).unsqueeze(2)).detach().requires_grad_()
    state = torch.zeros_like(driven[:, 0])
    for drive in driven.unbind(1):
        state = built.activation(drive + built.recurrent(state))
    direction = torch.randn(6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((state @ direction).sum(), driven)
    norms = gradient.norm(dim=2)
    expected = direction.norm() * radius ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    # The initial weight is rounded to single precision: an orthogonal matrix up to 1e-7, twenty times.
    torch.testing.assert_close(norms, expected.expand_as(norms), atol=0, rtol=1e-5)
    # The same through the network: its gradient reaches the first step as strong as this says.
    x = samples((steps,)).requires_grad_()
    (of_inputs,) = torch.autograd.grad(built(x)[:, 0].sum(), x)
    back = built.output.weight[0].clone()
    for t in range(steps - 1, -1, -1):
        close(of_inputs[:, t], (back @ built.input.weight).expand(7, 1)[:, 0])
        back = back @ built.recurrent.weight


@pytest.mark.parametrize("gain", [0.7, 1.2])
def test_recurrent_weight_is_orthogonal_times_its_gain(gain: float) -> None:
    weight = network(recurrent_gain=gain).recurrent.weight
    torch.testing.assert_close(weight @ weight.T, gain**2 * torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("shape", "steps", "expected"),
    [
        ((1, 3, 2), None, [[0, 1], [2, 3], [4, 5]]),
        ((2, 3, 2), None, [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]),
        ((2, 3, 2), 6, [[0, 1], [6, 7], [2, 3], [8, 9], [4, 5], [10, 11]]),
        ((2, 3, 2), 2, [[0, 1, 6, 7, 2, 3], [8, 9, 4, 5, 10, 11]]),
        ((1, 2, 2), 4, [[0], [1], [2], [3]]),
        ((2, 3), None, [[0, 3], [1, 4], [2, 5]]),
        ((4,), None, [[0], [1], [2], [3]]),
        ((4,), 2, [[0, 1], [2, 3]]),
        ((4,), 1, [[0, 1, 2, 3]]),
    ],
)
def test_how_a_sample_is_read(shape: tuple[int, ...], steps: int | None, expected: list[list[int]]) -> None:
    x = torch.arange(torch.tensor(shape).prod().item()).reshape(1, *shape).expand(3, *shape)
    assert network(shape, steps=steps).sequence(x).tolist() == [expected] * 3


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    n=st.integers(1, 4),
    activation=st.sampled_from(["tanh", "relu", "identity", "gelu"]),
)
def test_any_shape_and_the_number_of_calls(shape: tuple[int, ...], n: int, activation: str) -> None:
    built, calls = network(shape, activation=activation), []
    built.activation.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].shape))
    assert built(samples(shape, n)).shape == (n, 4)
    # Instruments see a step at each call.
    assert calls == [(n, 6)] * (shape[0] if len(shape) == 1 else shape[1])


def test_weights_depend_on_seed_and_layer_only() -> None:
    before = torch.random.get_rng_state()
    one, other = network(), network(activation="relu", recurrent_gain=2.0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.input.weight, other.input.weight)
    close(2 * one.recurrent.weight, other.recurrent.weight)
    assert not torch.equal(one.recurrent.weight, network(seed=1).recurrent.weight)
    assert one.recurrent.bias is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 7}, r"steps must divide the 30 numbers of a sample \(2, 5, 3\), not 7"),
        ({"steps": 0}, "steps must be a whole number >= 1, not 0"),
        ({"width": 0}, "the size of a layer must be a whole number >= 1, not 0"),
        ({"num_classes": 0}, "num_classes must be a whole number >= 1, not 0"),
        ({"activation": "tan"}, r"unknown activation 'tan': did you mean 'tanh'\?"),
        ({"initialization": "glorot"}, "unknown initialization 'glorot'"),
        ({"recurrent_gain": 0.0}, "recurrent_gain must be a finite number > 0, not 0.0"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Recurrent(**{"sample_shape": SHAPE, "num_classes": 4, "width": 6, "seed": 0, **changes})
    assert "\n" not in str(error.value)


def test_a_batch_of_another_shape() -> None:
    for x in (samples().flatten(1), samples((2, 3, 5))):
        with pytest.raises(ValueError, match=r"a batch must have samples of shape \(2, 5, 3\); its shape is"):
            network()(x)


def test_it_remembers_repeats_itself_and_comes_back_from_a_checkpoint(trainer: Any, tmp_path: Path) -> None:
    """The label is the sign of the first of six steps."""
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    y, finals = (x[:, 0] > 0).long(), []
    for _ in range(2):
        model = Recurrent(sample_shape=(6,), num_classes=2, width=8, seed=0, lr=0.03)
        run = trainer(max_epochs=25)
        run.fit(model, DataLoader(TensorDataset(x, y), batch_size=32))
        finals.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*finals)
    assert run.callback_metrics["train/accuracy"].item() > 0.95
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Recurrent.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert torch.equal(loaded(x), model(x))
