"""Comparison of the slide's table of sub-policies with torchvision."""

from __future__ import annotations

from torchvision.transforms import AutoAugment, AutoAugmentPolicy

Step = tuple[str, float, int | None]
SubPolicy = tuple[Step, Step]

# As transcribed; None where the slide gives a magnitude for an operation without one, as in torchvision.
TABLE: tuple[SubPolicy, ...] = (
    (("ShearX", 0.9, 7), ("Invert", 0.2, None)),
    (("ShearY", 0.7, 6), ("Solarize", 0.4, 8)),
    (("ShearX", 0.9, 4), ("AutoContrast", 0.8, None)),
    (("Invert", 0.9, None), ("Equalize", 0.6, None)),
    (("ShearY", 0.8, 5), ("AutoContrast", 0.7, None)),
)
FIRST: SubPolicy = (("ShearX", 0.9, 4), ("Invert", 0.2, None))


def sub_policies(seed: int) -> dict[str, float]:
    """Count the table's entries that torchvision's list contains, as transcribed and with the corrected first entry.

    Returns:
        `found`: entries found as transcribed; `counterexamples`: entries not found as transcribed; `error`: entries not
        found with the corrected first entry; `draws`: number of comparisons.
    """
    del seed  # nothing is random
    known = list(AutoAugment(AutoAugmentPolicy.SVHN).policies)
    missing = [entry for entry in TABLE if entry not in known]
    still_missing = [entry for entry in (FIRST, *TABLE[1:]) if entry not in known]
    return {
        "found": float(len(TABLE) - len(missing)),
        "counterexamples": float(len(missing)),
        "error": float(len(still_missing)),
        "draws": float(len(TABLE) * len(known)),
    }
