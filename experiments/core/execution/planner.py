"""Turns a plan into tasks, and finished tasks into runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.core.execution.tasks import Task, check_hash
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, interrupts_wait
from experiments.core.files.yaml import parse_value
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import (
    Condition,
    chosen_values,
    full_key,
    laid,
    merged_files,
)
from experiments.core.grid.plan import Plan
from experiments.core.grid.runs import Found, Run

if TYPE_CHECKING:
    from lightning import LightningModule

# Files of each logger in a run's directory; a finished run without them is run again.
LOGGER_FILES = {"tensorboard": "events.out.tfevents.*", "wandb": "wandb/*run-*", "csv": "csv/metrics.csv"}


class Planner:
    """Turns conditions into tasks. Its constructor imports torch, which resolving configs needs."""

    def __init__(self, plan: Plan) -> None:
        with interrupts_wait():
            from experiments.core.training import command_line, config, parsing

        self.plan = plan
        self._parsing, self._config, self._command_line = parsing, config, command_line

    def tasks(
        self, condition: Condition, seeds: Sequence[int], tuned: Mapping[str, float], directory: Path
    ) -> list[Task]:
        """Return the tasks of a condition, one a seed."""
        with catalogue.found_in(self.place_of(condition)):
            config = self.config(condition, tuned)
        return [
            Task(
                label=f"{directory.name} seed={seed}",
                directory=directory / f"seed={seed}",
                seed=seed,
                config_hash=run_directory.config_hash({**config, "seed_everything": seed}),
                config=config,
                logger_files=LOGGER_FILES[self.plan.logger],
                cost=float(config["trainer"]["max_epochs"] or 0),
                stack=self.plan.grid.experiment.stack,
            )
            for seed in seeds
        ]

    def run_tasks(self, chosen: Mapping[Condition, float]) -> dict[Condition, list[Task]]:
        """Return the tasks of the grid by condition, with the values that tuning chose."""
        place, axis = self.plan.directory, self.plan.tuned_axis
        return {
            condition: self.tasks(condition, seeds, {axis: chosen.get(condition, 0.0)}, place / condition.name)
            for condition, seeds in self.plan.run_seeds.items()
        }

    def all_tasks(self, chosen: Mapping[Condition, float]) -> list[Task]:
        """Return the tasks of the grid, with the values that tuning chose."""
        return [task for tasks in self.run_tasks(chosen).values() for task in tasks]

    def config(self, condition: Condition, tuned: Mapping[str, float]) -> dict[str, Any]:
        """Return the resolved config of a condition.

        Raises:
            UserError: the files, the axes or the overrides are wrong.
        """
        base = self._base(condition)
        arguments = {"model": base["model"]["init_args"], "data": base["data"]["init_args"], "trainer": base["trainer"]}
        sections = {name: set(found) for name, found in arguments.items()}
        values = {full_key(key, sections): value for key, value in chosen_values(condition, tuned).items()}
        for override in self.plan.overrides:
            if override.partition("=")[0].removeprefix("--").replace(".init_args.", ".") in values:
                name = self.plan.grid.name
                raise UserError(f"'{override}' cannot hold for every run: the grid of '{name}' varies it")
        config, is_resolved = laid(base, values)
        return config if is_resolved else self._parsing.resolve(config)

    def _base(self, condition: Condition) -> dict[str, Any]:
        """Return the config of a condition's files and the user's overrides, resolved and built once as a test."""
        files = (*self.plan.grid.files(condition), *self._logger_file())
        config: dict[str, Any] = self._config.with_defaults(merged_files(files))
        for override in self.plan.overrides:
            option, _, text = override.partition("=")
            self._command_line.set_option(config, option, parse_value(text))
        return self._parsing.resolve(config, build=True)

    def place_of(self, condition: Condition) -> str:
        """Return the place that error messages name: the condition, unless the user overrides its config."""
        return "" if self.plan.overrides else f"experiments/{self.plan.grid.name}, condition '{condition.name}'"

    def build(self, condition: Condition, value: float) -> LightningModule:
        """Build data module and network of a condition, which refuse values out of range, without reading data.

        Args:
            condition: the condition.
            value: of its axis that is tuned, if it has one.
        """
        return self._parsing.build(self.config(condition, {self.plan.tuned_axis: value}), self.plan.first_seed)

    def load_data(self) -> None:
        """Load every data set once in this process, so that workers neither miss it nor download it twice.

        Raises:
            UserError: one is neither on this machine nor to be had.
        """
        sections = [self._base(condition)["data"] for condition in reversed(self.plan.grid.conditions)]
        for section in {section["class_path"]: section for section in sections}.values():
            self._parsing.load_data(section, self.plan.first_seed)

    def _logger_file(self) -> list[Path]:
        path = catalogue.folder("core") / "configs" / f"{self.plan.logger}.yaml"
        return [path] if path.is_file() else []


def check_tasks(plan: Plan) -> list[Task]:
    """Return the tasks of the checks of an experiment, one a check and seed."""
    tasks = []
    for name, seeds in plan.check_seeds.items():
        path = f"experiments.{plan.grid.name}.checks:{name}"
        with catalogue.found_in(f"experiments/{plan.grid.name}/checks.py"):
            fingerprint = check_hash(path)
        for seed in seeds:
            directory = plan.directory / f"check={name}" / f"seed={seed}"
            tasks.append(Task(f"{name} seed={seed}", directory, seed, fingerprint, check=path))
    return tasks


def find_finished(plan: Plan, chosen: Mapping[Condition, float]) -> Found:
    """Read the finished runs and checks; those whose hash does not match the plan are outdated.

    Args:
        plan: of the experiment.
        chosen: the values that tuning chose.
    """
    planner, runs, checks, outdated = Planner(plan), [], dict[str, list[Run]](), 0
    for condition, tasks in planner.run_tasks(chosen).items():
        for task, result in _finished(tasks):
            if result["config_hash"] == task.config_hash:
                runs.append(run_of(condition, task, result))
            else:
                outdated += 1
    for task, result in _finished(check_tasks(plan)):
        if result["config_hash"] == task.config_hash:
            run = Run(Condition(()), task.seed, task.directory, {}, result)
            checks.setdefault(task.check.partition(":")[2], []).append(run)
        else:
            outdated += 1
    return Found(runs, checks, outdated)


def run_of(condition: Condition, task: Task, result: Mapping[str, Any]) -> Run:
    """Return the finished run of a task."""
    # The name of an overlay belongs to the condition; the resolved config does not contain it.
    named = {key: value for key, value in condition.items if key == "config"}
    return Run(condition, task.seed, task.directory, {**result.get("settings", {}), **named}, result)


def _finished(tasks: Sequence[Task]) -> Iterator[tuple[Task, dict[str, Any]]]:
    for task in tasks:
        result = run_directory.read_result(task.directory)
        if result is not None and result.get("status") in ("ok", "diverged"):
            yield task, {"config_hash": "", **result}
