"""Results of `vanishing`, and of `architectures`, without any training: every number of every run is another one.

What figures, report and dashboards show is compared with these; a wrong column, condition or seed cannot agree.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from experiments.core.commands import run as runner
from experiments.core.execution.planner import Planner, check_tasks
from experiments.core.execution.tasks import Task, check_function
from experiments.core.execution.workers import Pool
from experiments.core.files import run_directory
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, Plan, make_plan
from experiments.core.verdicts.results import Results

EPOCHS, STEPS = 3, 10
DIVERGED = ("normalization=layer", 1001)
MISSING = ("residual=True", 1002)
FAILED = ("depth=4", 1000)
TUNED_LR = 0.03

Wanted = Callable[[str, int], bool]


def everything(_condition: str, _seed: int) -> bool:
    """All runs exist."""
    return True


def build(runs: Path, *, wanted: Wanted = everything, **choice: object) -> Results:
    """Write the files of all runs of a plan and judge them.

    Args:
        runs: where.
        wanted: which runs exist, by condition and seed.
        choice: what `run` was asked for, as in `Options`.
    """
    plan = make_plan("vanishing", Options(runs=runs, **choice))  # type: ignore[arg-type]
    tuned = {c: TUNED_LR for c in plan.grid.conditions if c.overrides.get("lr") == "tuned"}
    for place, (condition, tasks) in enumerate(Planner(plan).run_tasks(tuned).items()):
        for task in tasks:
            if wanted(condition.name, task.seed) and (condition.name, task.seed) != MISSING:
                _write_run(task, condition, np.random.default_rng([place, task.seed]))
    for task in check_tasks(plan):
        content = {
            "status": "ok",
            "seed": task.seed,
            "config_hash": task.config_hash,
            "measures": check_function(task.check)(task.seed),
        }
        run_directory.write_json(task.directory / run_directory.RESULT, content)
    _write_tuning(plan, list(tuned))
    return runner.judge(plan, tuned, Pool(jobs=1))


def _write_run(task: Task, condition: Condition, rng: np.random.Generator) -> None:
    directory, seed = task.directory, task.seed
    directory.mkdir(parents=True)
    overrides = condition.overrides
    at_start = overrides.get("config") == "initialization"
    depth = int(overrides.get("depth", 10 if at_start else 8))
    diverged = (condition.name, seed) == DIVERGED
    layers = [f"layer_{index + 1:02d}" for index in range(depth)]
    rows: list[tuple[int, int, str, float]] = []
    rate = rng.uniform(0.1, 0.9)
    for index, layer in enumerate(layers):
        rows.append((0, 0, f"gradient/delta_a/{layer}", 10 ** (rate * (index - depth) + rng.normal(0, 0.05))))
        for name in ("gradient/weight", "activation/mean", "activation/std"):
            rows.append((0, 0, f"{name}/{layer}", rng.uniform(0.2, 0.8)))
    rows += [(0, 0, f"activation/histogram/bin_{i:02d}", share) for i, share in enumerate(rng.dirichlet(np.ones(32)))]
    for low, high in ((0, 1), (6, 8)):
        for name in ("delta_a", "derivative"):
            rows.append((0, 0, f"saturation/{name}/{low}-{high}", rng.uniform(0.1, 0.9)))
    # What is drawn of a start must not be the last value instead.
    rows += [(0, 1, name, rng.uniform(0.1, 0.9)) for _, _, name, _ in list(rows)]
    for epoch in range(0 if at_start else 1 if diverged else EPOCHS):
        step = STEPS * (epoch + 1)
        for metric in ("val/loss", "val/accuracy", "train/loss", "train/accuracy"):
            # A run that diverges may have been good before.
            rows.append((epoch, step, metric, 0.9 if diverged else rng.uniform(0.05, 0.95)))
        rows += [(epoch, step - 5, f"gradient/delta_a/{layer}", rng.uniform(0.1, 0.9)) for layer in layers]
        rows += [(epoch, step, f"activation/dead/{layer}", rng.uniform(0.0, 0.5)) for layer in layers]
    if diverged:
        rows.append((1, 2 * STEPS, "train/loss", math.nan))
    run_directory.append_metrics(directory / run_directory.METRICS, rows)
    measures = {name: value for _, _, name, value in rows}
    measures |= {f"initial/{name}": value for _, step, name, value in rows if step == 0}
    if not at_start and not diverged:
        measures |= {"test/accuracy": rng.uniform(0.1, 0.9), "test/loss": rng.uniform(0.1, 0.9)}
    status = "diverged" if diverged else "failed" if (condition.name, seed) == FAILED else "ok"
    data = {
        "name": "Digits",
        "sha256": "0f" * 32,
        "train": 1200,
        "validation": 297,
        "test": 300,
        "disjoint_test": False,
    }
    environment = {"versions": {"python": "3.11.7", "torch": "2.15.0"}, "device": "cpu", "threads": 1}
    run_directory.write_json(
        directory / run_directory.RESULT,
        {
            "status": status,
            "config_hash": task.config_hash,
            "seed": seed,
            "settings": run_directory.settings_of(task.config),
            "measures": measures,
            "data": data,
            "environment": environment,
        },
    )


def build_architectures(runs: Path) -> Results:
    """Three seeds of every architecture at random scores; their references are real."""
    plan = make_plan("architectures", Options(runs=runs, seeds=3))
    draws = np.random.default_rng(0)
    for condition, tasks in Planner(plan).run_tasks({}).items():
        for task in tasks:
            write_config(task.directory, condition.name, task.seed)
            regression = condition.name in ("linear_regression", "two_layer")
            score = {"test/r2" if regression else "test/accuracy": draws.uniform(0.2, 0.9)}
            kept = {} if condition.name == "input_optimization" else score
            content = {
                "status": "ok",
                "seed": task.seed,
                "config_hash": task.config_hash,
                "settings": run_directory.settings_of(task.config),
                "measures": {"train/loss": draws.uniform(), **kept},
            }
            run_directory.write_json(task.directory / run_directory.RESULT, content)
    return runner.judge(plan, {}, Pool(jobs=1))


def write_config(directory: Path, architecture: str, seed: int) -> None:
    """Write the config that a run of this architecture leaves."""
    content = yaml.safe_load((catalogue.ROOT / "architectures" / f"{architecture}.yaml").read_text(encoding="utf-8"))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / run_directory.CONFIG).write_text(
        yaml.safe_dump({**content, "seed_everything": seed}), encoding="utf-8"
    )


def _write_tuning(plan: Plan, conditions: list[Condition]) -> None:
    with (plan.directory / "tuning.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["condition", "lr", "val/loss", "seeds", "chosen", "at_edge"])
        for place, condition in enumerate(conditions):
            for value in (0.01, TUNED_LR, 0.1):
                edge = place == 0 and value == 0.1
                chosen = value == TUNED_LR if place else edge
                writer.writerow([condition.name, value, 1 + place + value, 3, int(chosen), int(edge)])


def table(results: Results) -> pd.DataFrame:
    """results.csv, read back from its file."""
    return pd.read_csv(results.plan.directory / "results.csv")
