"""`claims`: what is claimed, as frozen before its run."""

from __future__ import annotations

import argparse

from experiments.core.files.errors import say
from experiments.core.grid import catalogue


def call(options: argparse.Namespace) -> int:
    """Answer the command `claims`."""
    for experiment in [options.experiment] if options.experiment else catalogue.names():
        for claim in catalogue.load(experiment).claims:
            given = {"above": claim.above, "below": claim.below, "within ±": claim.within, "tolerance": claim.tolerance}
            threshold = next(
                (f"{word} {value:g}" for word, value in given.items() if value is not None), "no threshold"
            )
            say(f"{claim.id:24} {claim.kind}, {threshold}, n = {claim.n}: {claim.statement}")
    return 0
