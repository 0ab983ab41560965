"""The rows of the benchmark: two measurements in turn, their ratio, and the target it is held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from experiments.core import catalogue
from experiments.core.bench.workloads import (
    Workload,
    augmented,
    augmented_one_by_one,
    bare,
    bare_stacked,
    by_hand,
    grid,
    instrumented,
    memory,
    ours,
    stacked,
    stacked_by_hand,
    usual,
)

EPOCH = Workload("FashionMNIST", 28, (64, 128, 64), "batch", 128, 55_000, 5_000, 1)
DEEP = Workload("FashionMNIST", 28, (100,) * 5, "batch", 64, 10_000, 1_000, 1)
SMALL = Workload("Digits", None, (64,) * 8, "none", 64, 1_197, 300, 5)
TINY = Workload("Digits", None, (8,), "none", 64, 256, 64, 1)
INSTRUMENTED = catalogue.folder("vanishing") / "base.yaml"
IMAGES = 2_000
RUNS = 500
MANY = 10
MOST = 30


@dataclass(frozen=True)
class Row:
    """A ratio of two times, or of two sizes. `better` is where the target wants it: below or above.

    Without a target it is the floor of the rows beside it: what is left when all that is ours is taken away.
    """

    name: str
    workload: str
    pair: Callable[[], tuple[float, float]]
    target: float | None
    better: str = "below"
    repeats: int = 5


def _row(name: str, workload: Workload, first: Callable[[], float], second: Callable[[], float], target: float | None,
         better: str = "below", repeats: int = 5) -> Row:  # fmt: skip
    return Row(name, workload.description, lambda: (first(), second()), target, better, repeats)


def _per_run(workload: Workload, seeds: int) -> Callable[[], float]:
    return lambda: stacked(workload, seeds) / seeds


def _bare_per_run(workload: Workload, seeds: int) -> Callable[[], float]:
    return lambda: bare_stacked(workload, seeds) / seeds


def _by_hand_per_run(workload: Workload, seeds: int) -> Callable[[], float]:
    return lambda: stacked_by_hand(workload, seeds) / seeds


ROWS = [
    _row("one run / by hand", EPOCH, lambda: ours(EPOCH), lambda: by_hand(EPOCH), 1.5, repeats=3),
    _row("one run / by hand", DEEP, lambda: ours(DEEP), lambda: by_hand(DEEP), 1.5),
    _row("bare Trainer / by hand", EPOCH, lambda: bare(EPOCH), lambda: by_hand(EPOCH), None, repeats=3),
    _row("bare Trainer / by hand", DEEP, lambda: bare(DEEP), lambda: by_hand(DEEP), None),
    _row("usual recipe / one run", DEEP, lambda: usual(DEEP), lambda: ours(DEEP), 5.0, "above", repeats=3),
    _row("usual recipe / one run", EPOCH, lambda: usual(EPOCH), lambda: ours(EPOCH), 8.0, "above", repeats=2),
    _row("10 seeds, per run / by hand", DEEP, _per_run(DEEP, MANY), lambda: by_hand(DEEP), 0.65, repeats=3),
    _row("10 seeds, per run / by hand", SMALL, _per_run(SMALL, MANY), lambda: by_hand(SMALL), 0.45),
    _row("10 seeds, bare Trainer, per run / by hand", DEEP, _bare_per_run(DEEP, MANY), lambda: by_hand(DEEP), None,
         repeats=3),
    _row("10 seeds, bare Trainer, per run / by hand", SMALL, _bare_per_run(SMALL, MANY), lambda: by_hand(SMALL), None),
    _row("10 seeds by hand, per run / by hand", DEEP, _by_hand_per_run(DEEP, MANY), lambda: by_hand(DEEP), None,
         repeats=3),
    _row("10 seeds by hand, per run / by hand", SMALL, _by_hand_per_run(SMALL, MANY), lambda: by_hand(SMALL), None),
    _row("10 seeds, per run / one run", DEEP, _per_run(DEEP, MANY), lambda: ours(DEEP), 0.4, repeats=3),
    _row("10 seeds, per run / one run", SMALL, _per_run(SMALL, MANY), lambda: ours(SMALL), 0.3),
    _row("10 seeds, in all / usual recipe, one run", DEEP, lambda: stacked(DEEP, MANY), lambda: usual(DEEP), 1.0,
         repeats=3),
    _row("10 seeds, in all / usual recipe, one run", EPOCH, lambda: stacked(EPOCH, MANY), lambda: usual(EPOCH), 0.7,
         repeats=2),
    _row("30 seeds, per run / by hand", DEEP, _per_run(DEEP, MOST), lambda: by_hand(DEEP), 0.55, repeats=2),
    _row("30 seeds, per run / by hand", SMALL, _per_run(SMALL, MOST), lambda: by_hand(SMALL), 0.4, repeats=3),
    _row("30 seeds, bare Trainer, per run / by hand", SMALL, _bare_per_run(SMALL, MOST), lambda: by_hand(SMALL), None,
         repeats=3),
    _row("30 seeds by hand, per run / by hand", DEEP, _by_hand_per_run(DEEP, MOST), lambda: by_hand(DEEP), None,
         repeats=2),
    _row("30 seeds by hand, per run / by hand", SMALL, _by_hand_per_run(SMALL, MOST), lambda: by_hand(SMALL), None,
         repeats=3),
    Row("vanishing's instruments on / off", "experiments/vanishing/base.yaml, one seed",
        lambda: (instrumented(INSTRUMENTED, True), instrumented(INSTRUMENTED, False)), 1.1, repeats=15),
    Row("one process / two", f"16 runs of: {SMALL.description}", lambda: (grid(SMALL, 16, 1), grid(SMALL, 16, 2)),
        1.8, "above", repeats=3),
    Row("torchvision's affine on PIL images / batched, a draw for each",
        f"{IMAGES:,} images of 28 × 28 pixels, batches of {EPOCH.batch_size}",
        lambda: (augmented_one_by_one(EPOCH, IMAGES), augmented(EPOCH, IMAGES)), 12.0, "above"),
    Row("memory after the last run / after a tenth", f"{RUNS} runs of: {TINY.description}",
        lambda: memory(TINY, RUNS), 1.05, repeats=1),
]  # fmt: skip


def _gpu_rows() -> list[Row]:
    """What is asked of a GPU: no target is known for it yet. Each fit is warmed up by the first of its repeats."""
    rows = []
    for workload in (replace(DEEP, accelerator="gpu"), replace(EPOCH, accelerator="gpu")):
        bf16, compiled = replace(workload, precision="bf16-mixed"), replace(workload, compiled=True)
        cpu = replace(workload, accelerator="cpu")
        rows += [
            _row("gpu: one run / by hand", workload, partial(ours, workload), partial(by_hand, workload), None),
            _row("gpu: usual recipe / one run", workload, partial(usual, workload), partial(ours, workload), None,
                 repeats=2),
            _row("gpu: 10 seeds, per run / one run", workload, _per_run(workload, MANY), partial(ours, workload), None),
            _row("gpu: 30 seeds, per run / one run", workload, _per_run(workload, MOST), partial(ours, workload), None),
            _row("gpu: one run, cpu / gpu", workload, partial(ours, cpu), partial(ours, workload), None),
            _row("gpu: 10 seeds, bf16 / float32", bf16, _per_run(bf16, MANY), _per_run(workload, MANY), None),
            _row("gpu: 10 seeds, compiled / not", compiled, _per_run(compiled, MANY), _per_run(workload, MANY), None),
        ]  # fmt: skip
    return rows


GPU_ROWS = _gpu_rows()
