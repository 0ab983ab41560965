"""`list`: the experiments, with their data sets."""

from __future__ import annotations

import argparse

from experiments.core.files.errors import say
from experiments.core.grid import catalogue


def call(_: argparse.Namespace) -> int:
    """Answer the command `list`."""
    for name in catalogue.names():
        experiment = catalogue.load(name)
        say(f"{name:16} {experiment.title}: {catalogue.summary(name)}")
        data = ", ".join(experiment.data)
        say(f"{'':16} {len(experiment.claims)} claims; data: {data}; make exp-{name.replace('_', '-')}")
    return 0
