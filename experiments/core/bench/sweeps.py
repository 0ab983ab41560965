"""What training costs as one size grows: slopes between the logarithms of size and time, and their picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments.core import drawing as d
from experiments.core.bench.workloads import Workload, conditions, ours, stacked

NETWORK = Workload("Digits", None, (64,) * 4, "none", 64, 1_197, 300, 3)
REPEATS = 3
# Between two logarithms of a size, time may grow as the size does, and a little more for the noise of the clock.
LINEAR, KNEE = 1.0, 1.2


@dataclass(frozen=True)
class Sweep:
    """The time of one training, whose cost is asked for as one of its sizes grows."""

    name: str
    workload: str
    sizes: Sequence[int]
    seconds: Callable[[int], float]


@dataclass(frozen=True)
class Growth:
    """A sweep with its figures."""

    name: str
    workload: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]  # medians
    slope: float  # of the least-squares line through the logarithms
    steepest: float  # between two neighbouring sizes

    @property
    def reached(self) -> bool:
        """Whether the cost grows no faster than the size, without a knee."""
        return self.slope <= LINEAR and self.steepest <= KNEE


SWEEPS = [
    Sweep("depth", f"hidden layers of 64 units; {NETWORK.description}", (2, 4, 8, 16, 32),
          lambda depth: ours(replace(NETWORK, hidden=(64,) * depth))),
    Sweep("width", f"units of each of four hidden layers; {NETWORK.description}", (16, 32, 64, 128, 256),
          lambda width: ours(replace(NETWORK, hidden=(width,) * 4))),
    Sweep("batch size", f"20 steps of as many samples each; {NETWORK.description}", (4, 8, 16, 32, 64),
          lambda size: ours(replace(NETWORK, batch_size=size, num_train=10 * size, epochs=2))),
    Sweep("seeds", f"in one stack; {NETWORK.description}", (1, 2, 4, 8, 16, 32), lambda seeds: stacked(NETWORK, seeds)),
    Sweep("conditions", f"of ten seeds each; {NETWORK.description}", (1, 2, 4, 8),
          lambda count: conditions(NETWORK, count)),
]  # fmt: skip


def measure(sweep: Sweep) -> Growth:
    """Measure every size in turn, several times; the first time is a warm-up."""
    rounds = [[sweep.seconds(size) for size in sweep.sizes] for _ in range(REPEATS + 1)][1:]
    seconds = [statistics.median(times) for times in zip(*rounds, strict=True)]
    x, y = np.log(sweep.sizes), np.log(seconds)
    return Growth(
        sweep.name,
        sweep.workload,
        tuple(sweep.sizes),
        tuple(seconds),
        float(np.polyfit(x, y, 1)[0]),
        float(max(np.diff(y) / np.diff(x))),
    )


def line(growth: Growth) -> str:
    """One sweep in words."""
    reached = "reached" if growth.reached else "not reached"
    return (
        f"cost against {growth.name}: slope {growth.slope:z.2f}, steepest {growth.steepest:.2f}, "
        f"target <= {LINEAR:g} and no knee, {reached} | {growth.workload}"
    )


def draw(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw time against size, a panel a sweep, beside the line of time that grows as the size does."""
    with mpl.rc_context(d.STYLE):
        figure = d.new_figure(4.6)
        grid = figure.subplots(1, len(found), sharey=True)
        for axes, growth in zip(grid, found, strict=True):
            sizes, seconds = np.array(growth["sizes"]), np.array(growth["seconds"])
            axes.loglog(sizes, seconds[0] * sizes / sizes[0], ":", color=d.GREY, gid=f"linear/{growth['name']}")
            axes.loglog(sizes, seconds, "o-", color=d.BLUE, gid=f"seconds/{growth['name']}")
            axes.set_xticks(sizes[::2], [str(size) for size in sizes[::2]])
            axes.minorticks_off()
            axes.set(title=f"slope {growth['slope']:z.2f}", xlabel=growth["name"])
        grid[0].set_ylabel("seconds (dotted: linear)")
        figure.savefig(path, dpi=144)
