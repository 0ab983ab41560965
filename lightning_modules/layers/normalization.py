"""Normalisation of a layer's outputs, by the names used in configs."""

from __future__ import annotations

from torch import nn

from lightning_modules.layers import choose

NORMALIZATIONS: dict[str, type[nn.BatchNorm1d] | type[nn.LayerNorm] | None] = {
    "none": None,
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
POSITIONS = {"before": "of the activation's input", "after": "of the activation's output"}


def normalization(name: str, num_features: int) -> nn.Module | None:
    """Build a normalisation with a learned scale (initially 1) and shift (initially 0), eps 1e-5, biased variance.

    Args:
        name: "none"; "batch", which normalises each unit over the mini-batch (Ioffe & Szegedy 2015); or "layer", which
            normalises each sample over its units (Ba et al. 2016).
        num_features: units of the layer.

    Returns:
        The module, or None for "none".

    Raises:
        ValueError: unknown name.
    """
    build = choose("normalization", name, NORMALIZATIONS)
    return None if build is None else build(num_features)
