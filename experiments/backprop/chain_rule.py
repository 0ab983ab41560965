"""Checks of the chain rule on the slides' small network, and from layer to layer.

All checks are pure functions of a seed. `error` is the largest error divided by the largest true value of the layer,
which is stricter than an absolute error for small gradients.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch
from torch import Tensor, nn

from experiments.backprop import formulas
from experiments.backprop.formulas import FUNCTIONS, SmallNetwork, draw_network

DRAWS = 100
DEPTHS = (1, 2, 5, 10, 20)
# A formula with a larger relative error than this is wrong; rounding errors are much smaller.
WRONG = 0.01
# Steps h of the central difference, and the step that the claim uses.
STEPS = tuple(10.0**-k for k in range(1, 13))
STEP = 1e-5


def forward_pass(seed: int) -> dict[str, float]:
    """Compare a_j = w_0j + Σ_i w_ij z_i and z_j = g(a_j), unit by unit, with torch's layers."""
    errors = []
    for network in _networks(seed):
        g = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}[network.activation]()
        theirs = []
        for draw in range(DRAWS):
            hidden, output = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
            with torch.no_grad():
                hidden.weight.copy_(network.first[draw, 1:].T)
                hidden.bias.copy_(network.first[draw, 0])
                output.weight.copy_(network.second[draw, 1:][None])
                output.bias.copy_(network.second[draw, :1])
                theirs.append(nn.Sequential(hidden, g, output, g)(network.x[draw : draw + 1])[0, 0])
        errors.append(relative_error(network.outputs, torch.stack(theirs)))
    return {"error": max(errors), "draws": 2.0 * DRAWS}


def last_layer(seed: int) -> dict[str, float]:
    """Compare the slide's gradient of the last layer with autograd."""
    errors = [relative_error(formulas.last_layer(n), _autograd(n, "second")) for n in _networks(seed)]
    return {"error": max(errors), "draws": 2.0 * DRAWS}


def first_layer(seed: int) -> dict[str, float]:
    """Compare the slide's gradient of the first layer with autograd."""
    errors = [relative_error(formulas.first_layer(n), _autograd(n, "first")) for n in _networks(seed)]
    return {"error": max(errors), "draws": 2.0 * DRAWS}


def first_layer_transcription(seed: int) -> dict[str, float]:
    """Compare the gradient of the first layer, with and without the factor g'(a_j) w_j1^(2), with autograd."""
    return _compare(
        [(formulas.first_layer(n), formulas.first_layer_transcribed(n), _autograd(n, "first")) for n in _networks(seed)]
    )


def last_layer_transcription(seed: int) -> dict[str, float]:
    """Compare the gradient of the last layer, correct and with w_12 instead of w_21 in a_3, with autograd.

    With w_12, a_3 does not depend on w_21, whose gradient would be 0. This network has a second output unit, because
    w_12^(2) leads to it.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(DRAWS, 3, 2, generator=generator, dtype=torch.float64).requires_grad_()
    z = torch.randn(DRAWS, 2, generator=generator, dtype=torch.float64)
    activation = weights[:, 0, 0] + torch.einsum("di,di->d", z, weights[:, 1:, 0])
    transcribed = weights[:, 0, 0] + weights[:, 1, 0] * z[:, 0] + weights[:, 1, 1] * z[:, 1]
    truth = _gradient(activation.sum(), weights)[:, :, 0]
    return _compare([(formulas.with_one(z), _gradient(transcribed.sum(), weights)[:, :, 0], truth)])


def finite_differences(seed: int) -> dict[str, float]:
    """Compare the slides' gradients of both layers with central differences, and record the error for each step h.

    `measured/…` is the median over draws of |difference − gradient| for the weight w_11^(1) at each h. `theory/…` is
    the median of h²/6 |∂³L/∂w³| + ε L / h, the truncation error of the Taylor series plus the rounding error.
    """
    errors: list[float] = []
    measured: dict[float, list[Tensor]] = {h: [] for h in STEPS}
    predicted: dict[float, list[Tensor]] = {h: [] for h in STEPS}
    for network in _networks(seed):
        gradient = torch.cat([formulas.first_layer(network).flatten(1), formulas.last_layer(network)], 1)
        columns = [_central(network, index, STEP) for index in range(9)]
        errors.append(relative_error(torch.stack(columns, 1), gradient))
        third = _third_derivative(network)
        for h in STEPS:
            measured[h].append((_central(network, 2, h) - gradient[:, 2]).abs())
            predicted[h].append(h**2 / 6 * third.abs() + torch.finfo(torch.float64).eps * network.loss / h)
    curves = {f"measured/h={h:.0e}": _median(values) for h, values in measured.items()}
    theory = {f"theory/h={h:.0e}": _median(values) for h, values in predicted.items()}
    return {"error": max(errors), "draws": 2.0 * DRAWS, **curves, **theory}


def general_case(seed: int) -> dict[str, float]:
    """Compare δ_j = g'(a_j) Σ_k w_jk δ_k of hidden layers, and the transcribed form with g'(a_k), with autograd.

    `median/…` is the median over draws of the transcribed form's error, relative to the largest δ_j of a draw.
    `decades` is log10 of the median over both activations.
    """
    generator = torch.Generator().manual_seed(seed)
    compared, medians = [], {}
    for activation, (g, slope) in FUNCTIONS.items():
        a_j, weights, last = (
            torch.randn(DRAWS, *shape, generator=generator, dtype=torch.float64) for shape in ((4,), (4, 5), (5,))
        )
        a_j.requires_grad_()
        a_k = (weights * g(a_j)[:, :, None]).sum(1)
        # Any cost of a weighted sum over the units k is suitable.
        loss = (last * g(a_k)).sum(1).square()
        delta_k, truth = torch.autograd.grad(loss.sum(), (a_k, a_j))
        a_j, a_k = a_j.detach(), a_k.detach()
        holds = formulas.propagated(slope(a_j), weights, delta_k)
        transcribed = formulas.propagated_transcribed(slope(a_k), weights, delta_k)
        compared.append((holds, transcribed, truth))
        medians[f"median/{activation}"] = float(_by_draw(transcribed, truth).median())
    pooled = torch.cat([_by_draw(transcribed, truth) for _, transcribed, truth in compared])
    return {**_compare(compared), **medians, "decades": math.log10(float(pooled.median()))}


def delta_index(seed: int) -> dict[str, float]:
    """Compare δ_j = ∂L/∂a_j with autograd, and the form with i instead of j, which refers to the layer below."""
    compared = []
    for network in _networks(seed):
        a, second = network.a.detach().requires_grad_(), network.second
        g, _ = FUNCTIONS[network.activation]
        outputs = g(second[:, 0] + (second[:, 1:] * g(a)).sum(1))
        truth = _gradient((outputs - network.y).square().sum(), a)
        holds = formulas.propagated(
            network.slope(network.a), second[:, 1:, None], formulas.output_delta(network)[:, None]
        )
        # The layer below is the input, with x_i as activation of unit i.
        below = formulas.propagated(torch.ones_like(network.x), network.first[:, 1:], truth)
        compared.append((holds, below, truth))
    return _compare(compared)


def delta_recursion(seed: int) -> dict[str, float]:
    """Compare δ by recursion and ∂L/∂w_ij = z_i δ_j with autograd, through up to twenty layers."""
    generator = torch.Generator().manual_seed(seed)
    errors, draws = [], 0
    for depth in DEPTHS:
        for activation in FUNCTIONS:
            for _ in range(2):
                errors.append(_recursion_error(depth, activation, generator))
                draws += depth
    return {"error": max(errors), "draws": float(draws)}


def _recursion_error(depth: int, activation: str, generator: torch.Generator) -> float:
    """Compute the largest error of any layer of a random network for one sample."""
    g, slope = FUNCTIONS[activation]
    sizes = torch.randint(2, 9, (depth + 1,), generator=generator).tolist()
    weights = [
        (torch.randn(m, n, generator=generator, dtype=torch.float64) / math.sqrt(m)).requires_grad_()
        for m, n in itertools.pairwise(sizes)
    ]
    z = [torch.randn(sizes[0], generator=generator, dtype=torch.float64)]
    a: list[Tensor] = []
    for weight in weights:
        a.append(z[-1] @ weight)
        z.append(g(a[-1]))
    target = torch.randn(sizes[-1], generator=generator, dtype=torch.float64)
    truths = torch.autograd.grad((z[-1] - target).square().sum(), [*a, *weights])
    with torch.no_grad():
        delta = 2 * slope(a[-1]) * (z[-1] - target)
        errors = []
        for layer in range(depth - 1, -1, -1):
            errors.append(relative_error(delta, truths[layer]))
            errors.append(relative_error(z[layer][:, None] * delta, truths[depth + layer]))
            if layer:
                delta = formulas.propagated(slope(a[layer - 1]), weights[layer], delta)
    return max(errors)


def relative_error(values: Tensor, truth: Tensor) -> float:
    """Compute the largest error divided by the largest true value; infinite if it is not finite."""
    error = float((values - truth).detach().abs().max() / truth.detach().abs().max().clamp(min=1e-300))
    return error if math.isfinite(error) else math.inf


def _networks(seed: int) -> list[SmallNetwork]:
    return [draw_network(seed, DRAWS, activation) for activation in FUNCTIONS]


def _gradient(value: Tensor, of: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, of, create_graph=True)
    return gradient


def _autograd(network: SmallNetwork, layer: str) -> Tensor:
    """Compute the gradient of each draw's loss from the summed loss, because draws share no weights."""
    leaf = getattr(network, layer).clone().requires_grad_()
    return _gradient(dataclasses.replace(network, **{layer: leaf}).loss.sum(), leaf)


def _moved(network: SmallNetwork, index: int, by: Tensor | float) -> SmallNetwork:
    """Return the network with weight `index` changed: 0 to 5 in the first layer, row by row, 6 to 8 in the second."""
    first, second = network.first.flatten(1).clone(), network.second.clone()
    moved, column = (first, index) if index < 6 else (second, index - 6)
    moved[:, column] = moved[:, column] + by
    return dataclasses.replace(network, first=first.reshape(-1, 3, 2), second=second)


def _central(network: SmallNetwork, index: int, h: float) -> Tensor:
    return (_moved(network, index, h).loss - _moved(network, index, -h).loss) / (2 * h)


def _third_derivative(network: SmallNetwork) -> Tensor:
    """Compute ∂³L/∂w³ for w = w_11^(1), (draws,)."""
    by = torch.zeros(DRAWS, dtype=torch.float64, requires_grad=True)
    value = _moved(network, 2, by).loss
    for _ in range(3):
        value = _gradient(value.sum(), by)
    return value.detach()


def _median(values: list[Tensor]) -> float:
    return float(torch.cat(values).median())


def _by_draw(values: Tensor, truth: Tensor) -> Tensor:
    """Compute the largest error of each draw divided by its largest true value, (draws,)."""
    return (values - truth).detach().flatten(1).abs().amax(1) / truth.detach().flatten(1).abs().amax(1)


def _compare(compared: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, float]:
    """Compute the error of the correct form, and count the draws on which the transcribed form is wrong.

    Args:
        compared: values of the correct form, values of the transcribed form, and true values; (draws, …) each.
    """
    errors = torch.cat([_by_draw(transcribed, truth) for _, transcribed, truth in compared])
    return {
        "error": max(relative_error(holds, truth) for holds, _, truth in compared),
        "draws": float(len(errors)),
        "counterexamples": float((errors > WRONG).sum()),
        "transcribed": float(errors.median()),
    }
