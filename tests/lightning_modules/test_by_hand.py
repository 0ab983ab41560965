"""The modules written by hand against autograd (1e-10), finite differences (1e-6), torch's layers and the slides."""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lightning_modules import by_hand
from lightning_modules.by_hand import (
    BCE,
    MSE,
    BatchNorm,
    Chain,
    Cost,
    CrossEntropy,
    Dropout,
    LayerNorm,
    Linear,
    ModularNetwork,
    Module,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

EXACT = {"atol": 1e-12, "rtol": 0}
GRADIENT = {"atol": 1e-10, "rtol": 1e-10}
ACTIVATIONS: dict[str, tuple[type[Module], type[nn.Module]]] = {
    "sigmoid": (Sigmoid, nn.Sigmoid),
    "tanh": (Tanh, nn.Tanh),
    "relu": (ReLU, nn.ReLU),
}
NORMALIZATIONS: dict[str, tuple[Any, Any]] = {"batch": (BatchNorm, nn.BatchNorm1d), "layer": (LayerNorm, nn.LayerNorm)}
COSTS: dict[str, tuple[Callable[[], Cost], Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": (MSE, F.mse_loss),
    "cross_entropy": (CrossEntropy, F.cross_entropy),
    "bce mean": (BCE, F.binary_cross_entropy_with_logits),
    "bce sum": (
        lambda: BCE("sum"),
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z),
    ),
}


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def linear(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> Linear:
    return Linear(draws(outputs, inputs, seed=seed), draws(outputs, seed=seed + 1) if bias else None)


def targets_for(cost: str, outputs: int, batch: int) -> Tensor:
    g = Generator().manual_seed(7)
    if cost == "cross_entropy":
        return torch.randint(outputs, (batch,), generator=g)
    if cost == "mse":
        return torch.randn(batch, outputs, generator=g, dtype=torch.float64)
    return torch.randint(2, (batch, outputs), generator=g).double()


@pytest.fixture
def no_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", forbidden)
    monkeypatch.setattr(torch.autograd, "grad", forbidden)
    monkeypatch.setattr(Tensor, "backward", forbidden)


def test_torch_only_and_no_autograd_in_the_code() -> None:
    for path in Path(by_hand.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in imported} <= {"__future__", "abc", "collections", "typing", "torch"} | {
            "lightning_modules"
        }
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not names & {"autograd", "func", "enable_grad", "set_grad_enabled", "requires_grad_", "retain_grad"}


# --- One module at a time

MODULES: dict[str, tuple[Module, nn.Module, dict[str, str]]] = {
    "linear": (linear(4, 3), nn.Linear(4, 3), {}),
    "linear without bias": (linear(4, 3, bias=False), nn.Linear(4, 3, bias=False), {}),
    "sigmoid": (Sigmoid(), nn.Sigmoid(), {}),
    "tanh": (Tanh(), nn.Tanh(), {}),
    "relu": (ReLU(), nn.ReLU(), {}),
    "softmax": (Softmax(), nn.Softmax(1), {}),
    "dropout": (Dropout(0.4), nn.Dropout(0.4), {}),
    "batch": (BatchNorm(4), nn.BatchNorm1d(4), {"scale": "weight", "shift": "bias"}),
    "layer": (LayerNorm(4), nn.LayerNorm(4), {"scale": "weight", "shift": "bias"}),
}


def twins(name: str) -> tuple[Module, nn.Module, dict[str, str]]:
    """A module, torch's own with the same random parameters, and how torch calls the parameters."""
    ours, theirs, names = copy.deepcopy(MODULES[name])
    ours.double()
    theirs.double()
    with torch.no_grad():
        for k, (key, parameter) in enumerate(ours.named_parameters()):
            parameter.copy_(draws(*parameter.shape, seed=k))
            theirs.get_parameter(names.get(key, key)).copy_(parameter)
    return ours, theirs, names


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_torchs(name: str, mode: str) -> None:
    ours, theirs, names = twins(name)
    for step in range(3):
        ours.train(mode == "train" or step == 0)
        theirs.train(mode == "train" or step == 0)
        x = 2 + 3 * draws(6, 4, seed=step)
        leaf = x.clone().requires_grad_()
        torch.manual_seed(step)
        expected = theirs(leaf)
        torch.manual_seed(step)
        outputs = ours(x)
        torch.testing.assert_close(outputs, expected, **EXACT)
        delta = draws(*outputs.shape, seed=10 + step)
        ours.zero_grad()
        theirs.zero_grad()
        before = ours.backward(delta)
        expected.backward(delta)
        assert not before.requires_grad
        torch.testing.assert_close(before, leaf.grad, **GRADIENT)
        for key, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter.grad, theirs.get_parameter(names.get(key, key)).grad, **GRADIENT)
    if isinstance(ours, BatchNorm):
        torch.testing.assert_close(ours.running_mean, theirs.get_buffer("running_mean"), **EXACT)
        torch.testing.assert_close(ours.running_variance, theirs.get_buffer("running_var"), **EXACT)


@pytest.mark.parametrize("name", COSTS)
def test_a_cost_is_torchs(name: str) -> None:
    build, torchs = COSTS[name]
    # Far out too: where e^z overflows, the cost and its gradient stay finite.
    for scale in (1.0, 1000.0):
        z, y, cost = scale * draws(8, 3), targets_for(name, 3, 8), build()
        leaf = z.clone().requires_grad_()
        expected = torchs(leaf, y)
        expected.backward()
        torch.testing.assert_close(cost(z, y), expected, atol=0, rtol=1e-12)
        torch.testing.assert_close(cost.backward(), leaf.grad, **GRADIENT)


def test_delta_end_as_on_the_slides() -> None:
    z, y, labels = draws(8, 3), draws(8, 3, seed=1), torch.arange(8) % 3
    mse, cross_entropy, bce = MSE(), CrossEntropy(), BCE("sum")
    mse(z, y)
    # N = batch · outputs.
    torch.testing.assert_close(mse.backward(), 2 / 24 * (z - y), **EXACT)
    exponentials = z.exp()
    shares = exponentials / exponentials.sum(1, keepdim=True)
    torch.testing.assert_close(cross_entropy(z, labels), -shares[range(8), labels].log().mean(), **EXACT)
    torch.testing.assert_close(cross_entropy.backward(), (shares - torch.eye(3)[labels]) / 8, **EXACT)
    # Both terms under the minus sign.
    there, probability = (y > 0).double(), 1 / (1 + (-z).exp())
    likelihood = there * probability.log() + (1 - there) * (1 - probability).log()
    torch.testing.assert_close(bce(z, there), -likelihood.sum() / 8, **EXACT)
    torch.testing.assert_close(bce.backward(), (probability - there) / 8, **EXACT)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "softmax", "dropout"])
def test_nothing_to_learn(name: str) -> None:
    module, _, _ = twins(name)
    assert len(list(module.parameters())) == 0
    module(draws(2, 4))
    module.backward(draws(2, 4))
    module.update(0.1)


def test_stored_z() -> None:
    network = ModularNetwork([linear(4, 3), Tanh(), linear(3, 2)])
    x = draws(5, 4)
    first, tanh, second = network.in_order
    outputs = network(x)
    z1 = torch.tanh(x @ first.weight.T + first.bias)
    for module, z in ((first, x), (tanh, z1), (second, z1)):
        torch.testing.assert_close(module.stored, (z,), **EXACT)
        assert not module.stored[0].requires_grad
    assert not outputs.requires_grad


def test_dropout_draws_nothing_in_evaluation_or_at_0() -> None:
    z = draws(3, 4)
    before = torch.get_rng_state()
    for dropout in (Dropout(0.5).eval(), Dropout(0.0)):
        assert torch.equal(dropout(z), z)
        assert torch.equal(dropout.backward(z), z)
    assert torch.equal(torch.get_rng_state(), before)


def test_statistics_follow_the_mode_of_the_forward_pass() -> None:
    # A look at the validation set between both ways would otherwise change the gradient.
    norm, x, delta = BatchNorm(4).double(), draws(6, 4), draws(6, 4, seed=1)
    norm(x)
    expected = norm.backward(delta)
    norm(x)
    norm.eval()
    assert torch.equal(norm.backward(delta), expected)


# --- Whole networks


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Module], list[nn.Module], Tensor, Tensor, str]:
    """A random network twice, by hand and of torch's layers, with equal parameters; a batch, targets and a cost."""
    normalization = draw(st.sampled_from(["none", "batch", "layer"]))
    batch = draw(st.integers(2 if normalization == "batch" else 1, 7))
    cost = draw(st.sampled_from(sorted(COSTS)))
    depth = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 9), min_size=depth + 1, max_size=depth + 1))
    sizes[-1] = max(sizes[-1], 2) if cost == "cross_entropy" else sizes[-1]
    seed = draw(st.integers(0, 1000))
    ours: list[Module] = []
    theirs: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(inputs, outputs)
        with torch.no_grad():
            layer.weight.copy_(draws(outputs, inputs, seed=seed + k) * inputs**-0.5)
            layer.bias.copy_(draws(outputs, seed=seed + 10 + k))
        theirs.append(layer.double())
        ours.append(Linear(layer.weight, layer.bias))
        if k == depth - 1:
            break
        if normalization != "none":
            mine, torchs = (build(outputs).double() for build in NORMALIZATIONS[normalization])
            with torch.no_grad():
                for a, b in zip(mine.parameters(), torchs.parameters(), strict=True):
                    a.copy_(draws(outputs, seed=seed + 20 + k))
                    b.copy_(a)
            ours.append(mine)
            theirs.append(torchs)
        for into, activation in zip(
            (ours, theirs), ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))], strict=True
        ):
            into.append(activation())
    return ours, theirs, draws(batch, sizes[0], seed=seed + 30), targets_for(cost, sizes[-1], batch), cost


@settings(max_examples=100)
@given(problem=problems())
def test_gradients_of_random_networks(problem: tuple[list[Module], list[nn.Module], Tensor, Tensor, str]) -> None:
    ours, theirs, x, y, name = problem
    build, torchs = COSTS[name]
    network, cost, reference, leaf = ModularNetwork(ours), build(), nn.Sequential(*theirs), x.clone().requires_grad_()
    expected = torchs(reference(leaf), y)
    expected.backward()
    loss = cost(network(x), y)
    before = network.backward(cost.backward())
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(before, leaf.grad, **GRADIENT)
    gradients = []
    for parameter, other in zip(network.parameters(), reference.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, **GRADIENT)
        gradients.append(parameter.grad)
    check_by_differences(network, cost, x, y, [*gradients, before])


def check_by_differences(network: Module, cost: Cost, x: Tensor, y: Tensor, gradients: list[Tensor]) -> None:
    """Compare the gradient in a random direction of parameters and input with a central difference along it."""
    parameters = list(network.parameters())
    direction = [draws(*g.shape, seed=50 + k) for k, g in enumerate(gradients)]
    size = torch.cat([d.flatten() for d in direction]).norm()
    start = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def at(step: float) -> tuple[float, list[Tensor]]:
        for p, origin, d in zip(parameters, start, direction[:-1], strict=True):
            p.copy_(origin + step * d / size)
        value = cost(network(x + step * direction[-1] / size), y).item()
        return value, [m.stored[0] > 0 for m in network.modules() if isinstance(m, ReLU)]

    h = 1e-5
    (up, kinks), (down, other_kinks) = at(h), at(-h)
    if not all(torch.equal(a, b) for a, b in zip(kinks, other_kinks, strict=True)):
        return  # between both points a ReLU changes its mind
    slope = sum((g * d / size).sum().item() for g, d in zip(gradients, direction, strict=True))
    norm = torch.cat([g.flatten() for g in gradients]).norm().item()
    assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-6 * max(norm, 1e-3))


@pytest.mark.parametrize("g", ACTIVATIONS)
def test_chain_rule_of_two_neurons(g: str) -> None:
    """Slides "Calcul du gradient: chain rule": two hidden neurons and one output, all with g; one sample."""
    activation, _ = ACTIVATIONS[g]
    derivative = {
        "sigmoid": lambda a: torch.sigmoid(a) * torch.sigmoid(-a),
        "tanh": lambda a: 1 / torch.cosh(a) ** 2,
        "relu": lambda a: (a > 0).double(),
    }[g]
    hidden, output, cost = linear(2, 2, seed=1), linear(2, 1, seed=1), MSE()
    network = ModularNetwork([hidden, activation(), output, activation()])
    x, y = draws(1, 2, seed=3), torch.tensor([[0.7]], dtype=torch.float64)
    prediction = network(x)
    cost(prediction, y)
    network.backward(cost.backward())
    a = x[0] @ hidden.weight.detach().T + hidden.bias.detach()
    z = activation()(a[None])[0]
    a3 = output.weight.detach()[0] @ z + output.bias.detach()[0]
    # Last layer: 2 g'(a3) (ŷ − y) z_i.
    delta_3 = 2 * derivative(a3) * (prediction - y)[0, 0]
    assert abs(delta_3) > 1e-3
    torch.testing.assert_close(output.weight.grad, (delta_3 * z)[None], **EXACT)
    torch.testing.assert_close(output.bias.grad, delta_3[None], **EXACT)
    # First layer: ∂L/∂a3 · g'(a_j) w_j1 · x_i.
    for j in range(2):
        delta_j = delta_3 * derivative(a[j]) * output.weight[0, j].detach()
        torch.testing.assert_close(hidden.weight.grad[j], delta_j * x[0], **EXACT)
        torch.testing.assert_close(hidden.bias.grad[j], delta_j, **EXACT)


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_delta_recursion(depth: int) -> None:
    """Slide "Cas général dans les couches intermédiaires", with g' at the neuron itself: δ_j = g'(a_j) Σ_k w_jk δ_k."""
    linears = [linear(5, 5, seed=k) for k in range(depth + 1)]
    activations = [Tanh() for _ in range(depth)]
    pairs = zip(linears[:-1], activations, strict=True)
    network = ModularNetwork([*itertools.chain.from_iterable(pairs), linears[-1]])
    cost, x, y = MSE(), draws(4, 5), draws(4, 5, seed=9)
    cost(network(x), y)
    # In the lecture's general case delta is ∂L/∂a: what the activations give back.
    seen, delta = [], cost.backward()
    for module in reversed(network.in_order):
        delta = module.backward(delta)
        if isinstance(module, Tanh):
            seen.insert(0, delta)
    following = 2 / 20 * (network(x) - y)
    a = x
    pre = []
    for layer in linears[:-1]:
        a = (a if not pre else torch.tanh(a)) @ layer.weight.detach().T + layer.bias.detach()
        pre.append(a)
    for j in reversed(range(depth)):
        sums = torch.stack([following @ linears[j + 1].weight.detach()[:, unit] for unit in range(5)], 1)
        following = (1 - torch.tanh(pre[j]) ** 2) * sums
        torch.testing.assert_close(seen[j], following, atol=1e-12, rtol=1e-12)
        z = x if j == 0 else torch.tanh(pre[j - 1])
        torch.testing.assert_close(linears[j].weight.grad, following.T @ z, atol=1e-12, rtol=1e-12)


def test_training_by_hand_is_torchs_sgd(no_autograd: None) -> None:
    # Gradients of two networks, the one stepped by update and the other by torch.
    network = ModularNetwork([linear(4, 6), BatchNorm(6).double(), ReLU(), linear(6, 2)])
    twin = copy.deepcopy(network)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    x, y, losses = draws(16, 4), draws(16, 2, seed=1), []
    for _ in range(20):
        for net in (network, twin):
            cost = MSE()
            losses.append(cost(net(x), y).item())
            net.zero_grad()
            net.backward(cost.backward())
        network.update(0.1)
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-14, rtol=0)


def test_gradients_add_up() -> None:
    network, cost, x, y = ModularNetwork([linear(3, 2), Sigmoid()]), MSE(), draws(8, 3), draws(8, 2)
    cost(network(x), y)
    network.backward(cost.backward())
    whole = [p.grad for p in network.parameters()]
    network.zero_grad()
    for part in (slice(0, 4), slice(4, 8)):
        cost(network(x[part]), y[part])
        network.backward(cost.backward() / 2)
    torch.testing.assert_close([p.grad for p in network.parameters()], whole, **EXACT)


def test_a_chain_is_a_module() -> None:
    layers = [linear(4, 3), Tanh(), linear(3, 2), Softmax()]
    flat, nested = ModularNetwork(layers), ModularNetwork({"hidden": Chain(layers[:2]), "end": Chain(layers[2:])})
    x, delta = draws(5, 4), draws(5, 2)
    assert torch.equal(flat(x), nested(x))
    assert torch.equal(flat.backward(delta), nested.backward(delta))
    assert [name for name, _ in nested.named_parameters()][:2] == ["hidden.0.weight", "hidden.0.bias"]


def test_a_chain_can_be_differentiated_and_leaves_no_graph_behind() -> None:
    network, cost = Chain([linear(4, 3), BatchNorm(3).double(), Tanh(), linear(3, 2), Dropout(0.5)]), CrossEntropy()
    loss = cost(network(draws(5, 4)), torch.tensor([0, 1, 1, 0, 1]))
    loss.backward()
    stored = [t for m in [*network.in_order, cost] for t in m.stored]
    assert not any(t.requires_grad for t in stored)
    copy.deepcopy(network)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: linear(4, 3)(draws(5, 2)), r"a batch must have 4 features a sample; its shape is \(5, 2\)"),
        (lambda: linear(4, 3)(draws(4)), r"a batch must have 4 features a sample; its shape is \(4,\)"),
        (lambda: LayerNorm(1)(draws(5, 2)), r"a batch must have 1 features a sample; its shape is \(5, 2\)"),
        (lambda: BatchNorm(2)(draws(1, 2)), "BatchNorm needs a training batch of at least 2 samples, not 1"),
        (lambda: BatchNorm(0), "num_features must be a whole number >= 1, not 0"),
        (lambda: Linear(draws(3)), r"weight must be \(outputs, inputs\) and bias \(outputs,\) or None, not \(3,\) and"),
        (lambda: Linear(draws(3, 4), draws(4)), r"not \(3, 4\) and \(4,\)"),
        (lambda: Dropout(1.0), "dropout must be a finite number >= 0 and < 1, not 1.0"),
        (lambda: BCE("summ"), r"unknown reduction 'summ': did you mean 'sum'\?"),
        # Torch would broadcast these.
        (lambda: MSE()(draws(5, 1), draws(5)), r"mse needs targets of the outputs' shape \(5, 1\)"),
        (lambda: BCE()(draws(5, 2), draws(5, 1)), r"bce needs targets of the outputs' shape \(5, 2\)"),
        (lambda: CrossEntropy()(draws(5, 2), draws(5, 2)), r"cross_entropy needs labels of shape \(5,\)"),
        (lambda: ModularNetwork([]), "a network needs at least one module"),
        (lambda: ModularNetwork([relu := ReLU(), relu]), "give each place of the network a module of its own"),
    ],
)
def test_bad_input(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        wrong()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: linear(2, 2).backward(draws(1, 2)), "Linear.backward needs a forward pass before it"),
        (lambda: MSE().backward(), "MSE.backward needs a forward pass before it"),
        (lambda: ModularNetwork([linear(2, 2)]).update(0.1), "ModularNetwork.update needs a backward pass before it"),
    ],
)
def test_wrong_order(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        wrong()
