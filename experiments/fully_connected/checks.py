"""Checks without training: layers of known architectures, and the effect of permuted pixels on a network."""

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
    """Permute the columns of a first layer like the pixels of its inputs: (units, pixels) to (units, pixels)."""
    return first[:, order]


def permutation_makes_no_difference(seed: int) -> dict[str, float]:
    """Compare a network on images with a network of permuted first weights on permuted images.

    Both compute the same outputs, because a fully connected layer has a separate column for every pixel and does not
    use which pixels are neighbours.
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

    A family is a module of torchvision, such as `resnet`, for one architecture; its member with the fewest parameters
    represents it. The seed has no effect.

    Returns:
        `<kind>`: share of the families with at least one such layer; `<kind>/<family>`: 1 or 0; `families`: number of
        families.
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
    """Return the name of torchvision's smallest classifier of each family."""
    # Imported here, because the import takes a second, which the other check does not need.
    from torchvision import models

    smallest: dict[str, tuple[int, str]] = {}
    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__.rpartition(".")[2]
        size = int(models.get_model_weights(name).DEFAULT.meta["num_params"])
        smallest[family] = min(smallest.get(family, (size, name)), (size, name))
    return {family: name for family, (_, name) in sorted(smallest.items())}


def _without_weights(name: str) -> nn.Module:
    """Build a classifier of torchvision, on the meta device if possible."""
    from torchvision import models

    # Initialising these two takes minutes and emits a warning.
    unfilled = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            network: nn.Module = models.get_model(name, weights=None, **unfilled)
    except NotImplementedError:
        # RegNet computes its widths from tensor values, which meta tensors do not have.
        with torch.random.fork_rng(devices=[]):
            network = models.get_model(name, weights=None)
    return network
