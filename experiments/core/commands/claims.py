"""`claims`: list the claims as sentences, each with its id and threshold, as frozen before the run."""

from __future__ import annotations

import argparse

from experiments.core.files.errors import say
from experiments.core.grid import catalogue


def call(options: argparse.Namespace) -> int:
    """Answer the command `claims`."""
    for experiment in [options.experiment] if options.experiment else catalogue.names():
        for claim in catalogue.load(experiment).claims:
            given = {"above": claim.above, "below": claim.below, "within ±": claim.within, "tolerance": claim.tolerance}
            words = [f"{word} {value:g}" for word, value in given.items() if value is not None]
            threshold = words[0] if words else "no threshold"
            say(f"{claim.statement} ({claim.id} | {claim.kind}, {threshold}, n = {claim.n})")
    return 0
