"""The fully connected network against the chain rule written by hand, and the meaning of each option."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.fully_connected import FullyConnectedNetwork, hidden_widths
from lightning_modules.layers.dropout import BatchDropout
from lightning_modules.layers.dropout import dropout as build_dropout


def network(hidden: list[int] | None = None, **arguments: Any) -> FullyConnectedNetwork:
    return FullyConnectedNetwork(6, 3, [5, 5] if hidden is None else hidden, seed=0, **arguments).double()


def samples(n: int = 7, features: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pre_activations(net: FullyConnectedNetwork, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Read a as the instruments do: the input of every submodule whose last name is `activation`."""
    seen: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for name, module in net.named_modules()
        if name.rpartition(".")[2] == "activation"
    ]
    outputs = net(x)
    for hook in hooks:
        hook.remove()
    return seen, outputs


DERIVATIVES = {
    "sigmoid": (torch.sigmoid, lambda a: torch.sigmoid(a) * (1 - torch.sigmoid(a))),
    "tanh": (torch.tanh, lambda a: 1 - torch.tanh(a) ** 2),
    "relu": (lambda a: a * (a > 0), lambda a: (a > 0).double()),
}


@pytest.mark.parametrize("activation", DERIVATIVES)
def test_gradients_by_the_chain_rule(activation: str) -> None:
    g, derivative = DERIVATIVES[activation]
    net = network([5, 4, 7], activation=activation, initialization="he")
    x, labels = samples(), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    seen, outputs = pre_activations(net, x)
    for a in seen:
        a.retain_grad()
    F.cross_entropy(outputs, labels).backward()

    layers = [net.hidden[i].linear for i in range(3)]
    zs, pre = [x], []
    for layer in layers:
        pre.append(zs[-1] @ layer.weight.T + layer.bias)
        zs.append(g(pre[-1]))
    logits = zs[-1] @ net.output.weight.T + net.output.bias
    delta = (logits.exp() / logits.exp().sum(1, keepdim=True) - F.one_hot(labels, 3)) / len(x)
    tolerance = {"atol": 1e-10, "rtol": 0}
    torch.testing.assert_close(net.output.weight.grad, delta.T @ zs[-1], **tolerance)
    torch.testing.assert_close(net.output.bias.grad, delta.sum(0), **tolerance)
    following = net.output
    for k in (2, 1, 0):
        delta = (delta @ following.weight) * derivative(pre[k])
        torch.testing.assert_close(seen[k], pre[k], **tolerance)
        torch.testing.assert_close(seen[k].grad, delta, **tolerance)
        torch.testing.assert_close(layers[k].weight.grad, delta.T @ zs[k], **tolerance)
        torch.testing.assert_close(layers[k].bias.grad, delta.sum(0), **tolerance)
        following = layers[k]


def batch_normalized(a: Tensor) -> Tensor:
    return (a - a.mean(0)) / (a.var(0, unbiased=False) + 1e-5).sqrt()


def layer_normalized(a: Tensor) -> Tensor:
    return (a - a.mean(1, keepdim=True)) / (a.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize(("name", "normalized"), [("batch", batch_normalized), ("layer", layer_normalized)])
@pytest.mark.parametrize("position", [None, "before", "after"])
def test_normalization_position(name: str, normalized: Any, position: str | None) -> None:
    net = network([5], activation="tanh", normalization=name, normalization_position=position)
    x, layer = samples(), net.hidden[0]
    (a,), outputs = pre_activations(net, x)
    linear = x @ layer.linear.weight.T + layer.linear.bias
    expected_a = linear if position == "after" else normalized(linear)
    z = normalized(torch.tanh(linear)) if position == "after" else torch.tanh(expected_a)
    torch.testing.assert_close(a, expected_a, atol=1e-12, rtol=0)
    torch.testing.assert_close(outputs, z @ net.output.weight.T + net.output.bias, atol=1e-12, rtol=0)


def test_batch_normalization_in_evaluation_uses_running_statistics() -> None:
    net = network([5], activation="identity", normalization="batch")
    x = samples(50)
    linear = x @ net.hidden[0].linear.weight.T + net.hidden[0].linear.bias
    net(x)
    net.eval()
    (a,), _ = pre_activations(net, x)
    mean, variance = 0.1 * linear.mean(0), 0.9 + 0.1 * linear.var(0)
    torch.testing.assert_close(a, (linear - mean) / (variance + 1e-5).sqrt(), atol=1e-12, rtol=0)


def test_residual_where_sizes_agree() -> None:
    net = network([6, 4, 4, 7], activation="tanh", residual=True)
    x = samples()
    seen, outputs = pre_activations(net, x)
    z = x
    for layer, a, agrees in zip(net.hidden, seen, [True, False, True, False], strict=True):
        linear = z @ layer.linear.weight.T + layer.linear.bias
        # a is taken before the sum.
        torch.testing.assert_close(a, linear, atol=1e-12, rtol=0)
        z = torch.tanh(linear) + (z if agrees else 0)
    torch.testing.assert_close(outputs, z @ net.output.weight.T + net.output.bias, atol=1e-12, rtol=0)


def test_dropout() -> None:
    net = network([400], activation="sigmoid", dropout=0.25)
    x = samples(20)
    hidden: list[Tensor] = []
    net.hidden[0].register_forward_hook(lambda _m, _i, z: hidden.append(z))
    net(x)
    net.eval()
    net(x)
    train, evaluation = hidden
    torch.testing.assert_close(evaluation, torch.sigmoid(net.hidden[0].linear(x)), atol=0, rtol=0)
    kept = train != 0
    torch.testing.assert_close(train[kept], evaluation[kept] / 0.75, atol=1e-12, rtol=0)
    # 8000 draws: 5 standard errors are 5·√(.25·.75/8000) = .024.
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.024)


def test_without_biases() -> None:
    net = network([5, 4], activation="tanh", bias=False)
    x = samples()
    first, second = (layer.linear.weight for layer in net.hidden)
    truth = torch.tanh(torch.tanh(x @ first.T) @ second.T) @ net.output.weight.T
    torch.testing.assert_close(net(x), truth, atol=1e-12, rtol=0)
    assert [name for name, _ in net.named_parameters()] == [
        *("hidden.0.linear.weight", "hidden.1.linear.weight", "output.weight")
    ]
    # tanh is odd, and so is the whole network then.
    torch.testing.assert_close(net(-x), -net(x), atol=1e-12, rtol=0)


@pytest.mark.parametrize("mask", ["sample", "batch"])
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_moments_of_dropout(mask: str, p: float) -> None:
    torch.manual_seed(0)
    units = 40_000
    layer = build_dropout(p, mask)
    factors = layer(torch.ones(2, units, dtype=torch.float64))[0]
    assert set(factors.tolist()) == {0.0, 1 / (1 - p)}
    # Of one unit: mean 1 and variance p/(1 − p); 4 standard errors, the fourth moment that of a scaled Bernoulli.
    variance = p / (1 - p)
    fourth = (1 - p) * (1 / (1 - p) - 1) ** 4 + p
    assert factors.mean().item() == pytest.approx(1, abs=4 * math.sqrt(variance / units))
    spread = math.sqrt((fourth - variance**2) / units)
    assert (factors - 1).square().mean().item() == pytest.approx(variance, abs=4 * spread)


def test_one_mask_for_a_batch_or_one_for_each_sample() -> None:
    torch.manual_seed(0)
    x = 1 + samples(20, 50).abs()
    each, shared = build_dropout(0.5), build_dropout(0.5, "batch")
    kept = shared(x) != 0
    assert (kept == kept[0]).all()
    assert 0 < kept[0].sum() < 50
    assert not torch.equal(kept[0], shared(x)[0] != 0)  # the next iteration's mask is another
    different = each(x) != 0
    assert not (different == different[0]).all()


@pytest.mark.parametrize("mask", ["sample", "batch"])
def test_dropout_by_the_global_generator_in_training_only(mask: str) -> None:
    layer, x = build_dropout(0.5, mask), samples(6, 50)
    torch.manual_seed(3)
    one = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), one)
    layer.eval()
    before = torch.get_rng_state()
    assert torch.equal(layer(x), x)
    assert torch.equal(torch.get_rng_state(), before)


def test_gradient_through_a_mask_of_the_batch() -> None:
    torch.manual_seed(0)
    x = samples(5, 30).requires_grad_()
    z = build_dropout(0.25, "batch")(x)
    (gradient,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(gradient, (z != 0).double() / 0.75, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, nn.Dropout),
        ({"dropout_mask": "sample"}, nn.Dropout),
        ({"dropout_mask": "batch"}, BatchDropout),
    ],
)
def test_dropout_of_a_network(arguments: dict[str, Any], kind: type[nn.Module]) -> None:
    net = network([5, 5], dropout=0.3, **arguments)
    assert [(type(layer.dropout), layer.dropout.p) for layer in net.hidden] == [(kind, 0.3)] * 2


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["linear", "activation"]),
        ({"normalization": "layer", "dropout": 0.5}, ["linear", "normalization", "activation", "dropout"]),
    ],
)
def test_names_that_instruments_rely_on(arguments: dict[str, Any], names: list[str]) -> None:
    net = network([5, 5, 5], **arguments)
    assert [name for name, _ in net.named_children()] == ["hidden", "output"]
    for layer in net.hidden:
        assert [name for name, _ in layer.named_children()] == names
    assert all(isinstance(layer.linear, nn.Linear) for layer in net.hidden)


def test_images_are_flattened() -> None:
    net = FullyConnectedNetwork(12, 3, [5], seed=0).double()
    images = torch.randn(4, 1, 3, 4, dtype=torch.float64)
    assert torch.equal(net(images), net(images.reshape(4, 12)))


def test_it_is_a_pure_function() -> None:
    # What training several seeds as one stack needs: three networks in one call, equal to each alone.
    nets = [FullyConnectedNetwork(6, 3, [5, 5], seed=k, normalization="layer").double() for k in range(3)]
    x = samples()
    parameters, buffers = torch.func.stack_module_state(nets)

    def call(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(copy.deepcopy(nets[0]), (p, b), (x,))

    together = torch.func.vmap(call)(parameters, buffers)
    torch.testing.assert_close(together, torch.stack([net(x) for net in nets]), atol=1e-12, rtol=0)


@settings(max_examples=25)
@given(
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    hidden=st.lists(st.integers(1, 9), max_size=4),
    batch=st.integers(2, 6),
    normalization=st.sampled_from(["none", "batch", "layer"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shapes(
    inputs: int, outputs: int, hidden: list[int], batch: int, normalization: str, dtype: torch.dtype
) -> None:
    net = FullyConnectedNetwork(inputs, outputs, hidden, seed=0, normalization=normalization).to(dtype)
    y = net(torch.ones(batch, inputs, dtype=dtype))
    assert y.shape == (batch, outputs)
    assert y.dtype == dtype
    sizes = [inputs, *hidden, outputs]
    scales = 0 if normalization == "none" else 2 * sum(hidden)
    parameters = sum((n + 1) * m for n, m in itertools.pairwise(sizes)) + scales
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "rellu"}, r"unknown activation 'rellu': did you mean 'relu'\?"),
        ({"normalization": "bach"}, r"unknown normalization 'bach': did you mean 'batch'\? valid: none, batch, layer"),
        ({"normalization": "batch", "normalization_position": "befor"}, r"did you mean 'before'\?"),
        ({"normalization_position": "after"}, "normalization_position=after has no effect: normalization is none"),
        ({"initialization": "hee"}, r"unknown initialization 'hee': did you mean 'he'\?"),
        ({"gain": -1.0}, "gain must be a finite number > 0, not -1.0"),
        ({"output_gain": 0.0}, "gain must be a finite number > 0, not 0.0"),
        ({"dropout": 1.0}, "dropout must be a finite number >= 0 and < 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must be a finite number >= 0 and < 1, not -0.1"),
        ({"dropout_mask": "sample"}, "dropout_mask=sample has no effect: dropout is 0"),
        ({"dropout_mask": "batch"}, "dropout_mask=batch has no effect: dropout is 0"),
        (
            {"dropout": 0.5, "dropout_mask": "bach"},
            r"unknown dropout_mask 'bach': did you mean 'batch'\? valid: sample",
        ),
        ({"initialization": "zero", "gain": 2.0}, "gain=2.0 has no effect: initialization is zero"),
        ({"hidden": [4, 0]}, "the size of a layer must be a whole number >= 1, not 0"),
        ({"hidden": [4, 5], "residual": True}, r"residual=True has no effect: .*\[6, 4, 5\] have the same size"),
    ],
)
def test_bad_options(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        network(**arguments)
    assert "\n" not in str(error.value)


def test_the_gain_of_the_output_scales_no_other_layer() -> None:
    usual, sure = (network([5, 4], output_gain=gain) for gain in (1.0, 30.0))
    for name, parameter in usual.named_parameters():
        factor = 30.0 if name.startswith("output.") else 1.0
        torch.testing.assert_close(dict(sure.named_parameters())[name], factor * parameter, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(7, 5), (6,), (7, 1, 2, 2)])
def test_wrong_number_of_features(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a batch must have 6 features a sample; its shape is"):
        network()(torch.zeros(shape, dtype=torch.float64))


def test_hidden_widths() -> None:
    assert hidden_widths(3, 4, None) == [4, 4, 4]
    assert hidden_widths(None, None, [5, 2]) == [5, 2]


@pytest.mark.parametrize(
    ("given_widths", "message"),
    [
        ((None, None, None), "give depth and width or hidden: depth=None, width=None"),
        ((3, None, None), "give depth and width or hidden: depth=3, width=None"),
        ((None, 4, None), "give depth and width or hidden: depth=None, width=4"),
        ((3, None, [4]), "not both: depth=3"),
        ((None, 4, [4]), "not both: depth=None, width=4"),
        ((0, 4, None), "depth must be a whole number >= 1, not 0"),
        ((2, -4, None), "width must be a whole number >= 1, not -4"),
        ((2.5, 4, None), "depth must be a whole number >= 1, not 2.5"),
        ((None, None, []), r"hidden must list at least one width, not \[\]"),
    ],
)
def test_bad_widths(given_widths: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hidden_widths(*given_widths)
