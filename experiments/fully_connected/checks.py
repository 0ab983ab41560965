"""Without training: which layers the known architectures have, and what a rearrangement of pixels is to a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.fully_connected import FullyConnectedNetwork

DRAWS = 200
PIXELS = 49
KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "batch_norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    "layer_norm": (nn.LayerNorm,),
    "dropout": (nn.Dropout, nn.Dropout2d, nn.Dropout3d),
}


def rearranged(first: Tensor, order: Tensor) -> Tensor:
    """Rearrange the columns of a first layer as the pixels of its inputs are: (units, pixels) to the same."""
    return first[:, order]


def permutation_makes_no_difference(seed: int) -> dict[str, float]:
    """For rearranged pixels there is a network that computes the same: the one with rearranged first weights.

    A fully connected layer gives every pixel a column of its own; none of them knows its neighbours.
    """
    generator = torch.Generator().manual_seed(seed)
    network = FullyConnectedNetwork(PIXELS, 10, [16], seed=seed).double()
    other = FullyConnectedNetwork(PIXELS, 10, [16], seed=seed).double()
    images = torch.randn(DRAWS, PIXELS, generator=generator, dtype=torch.float64)
    order = torch.randperm(PIXELS, generator=generator)
    first = next(module for module in other.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.weight.copy_(rearranged(first.weight, order))
        value, truth = other(images[:, order]), network(images)
    error = ((value - truth).abs() / (1 + truth.abs())).max()
    return {"error": float(error), "draws": float(DRAWS)}


def torchvision_layers(_seed: int) -> dict[str, float]:
    """Count the families of torchvision's image classifiers that contain each kind of layer.

    A family is a module of torchvision, such as `resnet`, and stands for one architecture; its smallest member, by
    parameters, represents it. The seed makes no difference.

    Returns:
        `<kind>`: share of the families with at least one such layer; `<kind>/<family>`: 1 or 0; `families`.
    """
    numbers: dict[str, float] = {}
    members = _smallest_members()
    for family, name in members.items():
        network = _without_weights(name)
        for kind, classes in KINDS.items():
            found = any(isinstance(module, classes) for module in network.modules())
            numbers[f"{kind}/{family}"] = float(found)
    shares = {k: sum(numbers[f"{k}/{family}"] for family in members) / len(members) for k in KINDS}
    return {**shares, "families": float(len(members)), **numbers}


def _smallest_members() -> dict[str, str]:
    """Names of the smallest classifiers of torchvision by family."""
    # Imported here: it costs a second that the other check need not pay.
    from torchvision import models

    smallest: dict[str, tuple[int, str]] = {}
    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        size = int(models.get_model_weights(name).DEFAULT.meta["num_params"])
        smallest[family] = min(smallest.get(family, (size, name)), (size, name))
    return {family: name for family, (_, name) in sorted(smallest.items())}


def _without_weights(name: str) -> nn.Module:
    """Build a classifier of torchvision whose weights have shapes and no memory, where that is possible."""
    from torchvision import models

    # Of these two, random weights take minutes, and a warning says so.
    unfilled = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            network: nn.Module = models.get_model(name, weights=None, **unfilled)
    except NotImplementedError:
        # RegNet computes its widths with tensors, which must have values.
        with torch.random.fork_rng(devices=[]):
            network = models.get_model(name, weights=None)
    return network
