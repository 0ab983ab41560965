"""Checks of the modules written by hand against torch's layers and autograd."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from experiments.backprop.chain_rule import relative_error
from lightning_modules import by_hand
from lightning_modules.by_hand import BatchNorm, Chain, LayerNorm, Linear, ModularNetwork, Module

ACTIVATIONS: dict[str, tuple[type[Module], type[nn.Module]]] = {
    "sigmoid": (by_hand.Sigmoid, nn.Sigmoid),
    "tanh": (by_hand.Tanh, nn.Tanh),
    "relu": (by_hand.ReLU, nn.ReLU),
}
# Torch's names of the parameters of normalisations.
TORCH_NAMES = {"scale": "weight", "shift": "bias"}
EPS = 1e-5
REPEATS = 10
DEPTHS = (1, 2, 5, 20)
# Least count of numbers to normalise over: two always become ±1, with a gradient of 0 up to rounding.
NORMALIZED = 4


def modules(seed: int) -> dict[str, float]:
    """Compare linear, sigmoid, tanh and ReLU with torch: forward, delta, gradients, number of parameters."""
    generator, errors, draws = Generator().manual_seed(seed), [], 0
    for _ in range(REPEATS):
        batch, inputs, outputs = _sizes(generator, 3)
        pairs: list[tuple[Module, nn.Module]] = [(_linear(inputs, outputs, generator), nn.Linear(inputs, outputs))]
        pairs += [(ours(), theirs()) for ours, theirs in ACTIVATIONS.values()]
        for ours, theirs in pairs:
            errors.append(_difference(ours, theirs.double(), _normal(generator, batch, inputs), generator))
            draws += 1
        learnt = sum(parameter.numel() for ours, _ in pairs[1:] for parameter in ours.parameters())
        errors.append(float(learnt))
    return {"error": max(errors), "draws": float(draws)}


def linear_module(seed: int) -> dict[str, float]:
    """Compare ∂L/∂w_jn = δ_n z_j and δ_j = Σ_n δ_n w_jn of a last linear module with autograd, for the squared error.

    `transcribed` is the error of the transcribed index, w_in with z_j, which gives the gradient of other weights.
    """
    generator, errors, wrong, transcribed = Generator().manual_seed(seed), [], 0, []
    for _ in range(2 * REPEATS):
        batch, inputs, outputs = _sizes(generator, 3)
        z = _normal(generator, batch, inputs).requires_grad_()
        weight = _normal(generator, inputs, outputs).requires_grad_()  # the slide's W: from j to n
        y = _normal(generator, batch, outputs)
        loss = F.mse_loss(z @ weight, y)
        delta_z, gradient = torch.autograd.grad(loss, (z, weight))
        with torch.no_grad():
            delta = 2 / (batch * outputs) * (z @ weight - y)
            by_formula = torch.einsum("bn,bj->jn", delta, z)
            errors.append(relative_error(by_formula, gradient))
            errors.append(relative_error(torch.einsum("bn,jn->bj", delta, weight), delta_z))
            # Row i of the gradient with the z of another unit j.
            off = relative_error(by_formula.roll(1, 0), gradient)
            transcribed.append(off)
            wrong += off > 0.01
    return {
        "error": max(errors),
        "draws": float(len(transcribed)),
        "counterexamples": float(wrong),
        "transcribed": float(torch.tensor(transcribed).median()),
    }


def mse_delta(seed: int) -> dict[str, float]:
    """Compare δ^end = 2/N (z − y) with the gradient of torch's MSELoss, for N = batch · outputs and for smaller N.

    With N = batch, the gradient is too large by a factor of outputs; with N = outputs, by a factor of batch.
    `transcribed` is the relative error with N = batch.
    """
    generator, errors, wrong, too_large = Generator().manual_seed(seed), [], 0, []
    for _ in range(2 * REPEATS):
        batch, outputs = _sizes(generator, 2)
        z, y = _normal(generator, batch, outputs).requires_grad_(), _normal(generator, batch, outputs)
        (truth,) = torch.autograd.grad(nn.MSELoss()(z, y), z)
        with torch.no_grad():
            errors.append(relative_error(2 / (batch * outputs) * (z - y), truth))
            cost = by_hand.MSE()
            cost(z, y)
            errors.append(relative_error(cost.backward(), truth))
            others = [relative_error(2 / n * (z - y), truth) for n in (batch, outputs)]
            too_large.append(others[0])
            wrong += all(error > 0.01 for error in others)
    return {
        "error": max(errors),
        "draws": float(len(too_large)),
        "counterexamples": float(wrong),
        "transcribed": float(torch.tensor(too_large).median()),
    }


def autograd(seed: int) -> dict[str, float]:
    """Compare gradients by hand with autograd, for networks of one to twenty layers, each cost and normalisation."""
    generator, errors, draws = Generator().manual_seed(seed), [], 0
    for depth in DEPTHS:
        for cost_name in ("mse", "cross_entropy", "bce"):
            for normalization in ("none", "batch", "layer"):
                errors.append(_network_error(depth, cost_name, normalization, generator))
                draws += 1
    return {"error": max(errors), "draws": float(draws)}


def batch_norm(seed: int) -> dict[str, float]:
    """Compare BatchNorm with torch, forward and backward, and verify that each unit has mean 0 over the batch."""
    return _normalization(seed, BatchNorm, nn.BatchNorm1d, axis=0)


def layer_norm(seed: int) -> dict[str, float]:
    """Compare LayerNorm with torch, forward and backward, and verify that each sample has mean 0 over its units."""
    return _normalization(seed, LayerNorm, nn.LayerNorm, axis=1)


def clipping(seed: int) -> dict[str, float]:
    """Verify that clipping bounds the norm by c, keeps the direction, and does not change a shorter gradient."""
    generator, errors = Generator().manual_seed(seed), []
    for _ in range(5 * REPEATS):
        parameters = [nn.Parameter(_normal(generator, *_sizes(generator, 2))) for _ in range(3)]
        scale = 10 ** (4 * torch.rand((), generator=generator, dtype=torch.float64) - 2)
        for parameter in parameters:
            parameter.grad = scale * _normal(generator, *parameter.shape)
        before = _flat(parameters)
        bound = float(before.norm() * 10 ** (2 * torch.rand((), generator=generator, dtype=torch.float64) - 1))
        nn.utils.clip_grad_norm_(parameters, bound)
        after = _flat(parameters)
        errors.append(max(0.0, float(after.norm()) / bound - 1))
        errors.append(relative_error(after / after.norm(), before / before.norm()))
        if float(before.norm()) <= bound:
            errors.append(relative_error(after, before))
    return {"error": max(errors), "draws": 5.0 * REPEATS}


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _sizes(generator: Generator, count: int, least: int = 2) -> list[int]:
    """Draw sizes from `least` to 9; with a size of 1, formulas with different indices would agree."""
    sizes: list[int] = torch.randint(least, 10, (count,), generator=generator).tolist()
    return sizes


def _linear(inputs: int, outputs: int, generator: Generator) -> Linear:
    return Linear(_normal(generator, outputs, inputs) / math.sqrt(inputs), _normal(generator, outputs))


def _flat(parameters: list[nn.Parameter]) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])


@torch.no_grad()
def _copy_parameters(ours: Module, theirs: nn.Module) -> None:
    for name, parameter in ours.named_parameters():
        theirs.get_parameter(TORCH_NAMES.get(name, name)).copy_(parameter)


def _difference(ours: Module, theirs: nn.Module, x: Tensor, generator: Generator) -> float:
    """Compute the largest difference of forward, delta and gradients between a module and torch's."""
    _copy_parameters(ours, theirs)
    leaf = x.clone().requires_grad_()
    expected = theirs(leaf)
    with torch.no_grad():
        outputs = ours(x)
    delta = _normal(generator, *outputs.shape)
    expected.backward(delta)
    ours.zero_grad()
    assert leaf.grad is not None  # of a leaf that went through a layer
    errors = [relative_error(outputs, expected), relative_error(ours.backward(delta), leaf.grad)]
    for name, parameter in ours.named_parameters():
        truth = theirs.get_parameter(TORCH_NAMES.get(name, name)).grad
        assert truth is not None
        assert parameter.grad is not None
        errors.append(relative_error(parameter.grad, truth))
    return max(errors)


def _hidden(inputs: int, outputs: int, normalization: str, generator: Generator) -> list[Module]:
    names = list(ACTIVATIONS)
    activation = ACTIVATIONS[names[int(torch.randint(2, (), generator=generator))]][0]()
    layers: dict[str, Callable[[int], Module]] = {"batch": BatchNorm, "layer": LayerNorm}
    between = [layers[normalization](outputs).double()] if normalization in layers else []
    return [_linear(inputs, outputs, generator), *between, activation]


def _network_error(depth: int, cost_name: str, normalization: str, generator: Generator) -> float:
    """Compute the largest error of any parameter's gradient; depth counts the linear layers."""
    batch = 8
    sizes = _sizes(generator, depth + 1, NORMALIZED)
    layers: list[Module] = []
    for m, n in itertools.pairwise(sizes[:-1]):
        layers += _hidden(m, n, normalization, generator)
    layers.append(_linear(sizes[-2], sizes[-1], generator))
    x, outputs = _normal(generator, batch, sizes[0]), sizes[-1]
    by_autograd = Chain(copy.deepcopy(layers))
    if cost_name == "cross_entropy":
        targets = torch.randint(outputs, (batch,), generator=generator)
    else:
        targets = torch.randint(2, (batch, outputs), generator=generator).double()
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": F.mse_loss,
        "cross_entropy": F.cross_entropy,
        "bce": F.binary_cross_entropy_with_logits,
    }
    losses[cost_name](by_autograd(x), targets).backward()  # type: ignore[no-untyped-call]
    network = ModularNetwork(layers)
    cost = {"mse": by_hand.MSE, "cross_entropy": by_hand.CrossEntropy, "bce": by_hand.BCE}[cost_name]()
    cost(network(x), targets)
    network.backward(cost.backward())
    truths = [parameter.grad for parameter in by_autograd.parameters()]
    # A bias before BatchNorm has no effect; an error relative to its gradient of 0 up to rounding is meaningless.
    scale = max(float(truth.abs().max()) for truth in truths if truth is not None)
    errors = [
        float((parameter.grad - truth).abs().max()) / max(float(truth.abs().max()), 1e-3 * scale)
        for parameter, truth in zip(network.parameters(), truths, strict=True)
        if parameter.grad is not None and truth is not None
    ]
    return max(errors) if len(errors) == len(truths) else math.inf


def _normalization(seed: int, ours: type[Module], theirs: type[nn.Module], axis: int) -> dict[str, float]:
    generator, errors = Generator().manual_seed(seed), []
    for _ in range(2 * REPEATS):
        batch, units = _sizes(generator, 2, NORMALIZED)
        x = 2 + 3 * _normal(generator, batch, units)
        module = ours(units).double()  # type: ignore[call-arg]
        reference = theirs(units).double()
        mean, variance = x.mean(axis, keepdim=True), x.var(axis, correction=0, keepdim=True)
        centred = (x - mean) / (variance + EPS).sqrt()
        with torch.no_grad():
            errors.append(relative_error(centred, reference(x)))
            errors.append(float(reference(x).mean(axis).abs().max()))
            for parameter in module.parameters():
                parameter.copy_(_normal(generator, units))
        errors.append(_difference(module, reference, x, generator))
    return {"error": max(errors), "draws": 2.0 * REPEATS}
