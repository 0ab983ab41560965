"""The check of the activations that the forward pass stores for the backward pass."""

from __future__ import annotations

import itertools

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from lightning_modules import by_hand
from lightning_modules.by_hand import Linear, ModularNetwork, Module

REPEATS = 20
# Networks of the figure, one of each depth, in single precision.
SHOWN_DEPTHS = (1, 2, 4, 8, 16)
SHOWN_WIDTH, SHOWN_BATCH, SHOWN_INPUTS, SHOWN_OUTPUTS = 128, 64, 64, 10


def stored_activations(seed: int) -> dict[str, float]:
    """Compare the bytes stored for the backward pass with batch · (inputs + depth · width + outputs) numbers.

    Modules by hand store exactly these; autograd also stores the targets. `by_hand/…` and `autograd/…` are the KiB of
    one network at several depths.
    """
    generator, errors = Generator().manual_seed(seed), []
    for _ in range(REPEATS):
        depth = int(torch.randint(1, 17, (), generator=generator))
        batch, width, inputs, outputs = torch.randint(1, 10, (4,), generator=generator).tolist()
        numbers = batch * (inputs + depth * width + outputs)
        ours, theirs = _stored(depth, width, batch, inputs, outputs)
        errors += [abs(ours / (4 * numbers) - 1), abs(theirs / (4 * (numbers + batch * outputs)) - 1)]
    curves: dict[str, float] = {}
    for depth in SHOWN_DEPTHS:
        found = _stored(depth, SHOWN_WIDTH, SHOWN_BATCH, SHOWN_INPUTS, SHOWN_OUTPUTS)
        curves |= {
            f"{name}/depth={depth:02d}": size / 1024 for name, size in zip(("by_hand", "autograd"), found, strict=True)
        }
    return {"error": max(errors), "draws": float(REPEATS), **curves}


def _stored(depth: int, width: int, batch: int, inputs: int, outputs: int) -> tuple[int, int]:
    """Count the bytes that a tanh network stores for the backward pass, by hand and by autograd, without parameters."""
    sizes = [inputs, *[width] * depth]
    layers: list[Module] = []
    for m, n in itertools.pairwise(sizes):
        layers += [Linear(torch.zeros(n, m), torch.zeros(n)), by_hand.Tanh()]
    layers.append(Linear(torch.zeros(outputs, width), torch.zeros(outputs)))
    x, y = torch.zeros(batch, inputs), torch.zeros(batch, outputs)
    network, cost = ModularNetwork(layers), by_hand.MSE()
    cost(network(x), y)
    ours = _bytes([tensor for module in (*layers, cost) for tensor in module.stored])
    reference = nn.Sequential()
    for m, n in itertools.pairwise(sizes):
        reference.extend([nn.Linear(m, n), nn.Tanh()])
    reference.append(nn.Linear(width, outputs))
    kept: list[Tensor] = []
    own = {parameter.untyped_storage().data_ptr() for parameter in reference.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.mse_loss(reference(x), y)
    return ours, _bytes(kept)


def _bytes(tensors: list[Tensor]) -> int:
    """Count the bytes of tensors; shared storage counts once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
