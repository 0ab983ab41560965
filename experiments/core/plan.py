"""What one call of `run` will do: which runs, with which seeds, in which directories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from experiments.core import allow_list, catalogue, records
from experiments.core.definitions import CHECKED, Claim, Experiment
from experiments.core.errors import UserError, check_known
from experiments.core.execution import Task, check_hash
from experiments.core.grid import (
    FIRST_SEED,
    Condition,
    Grid,
    check_claims,
    checked,
    chosen_values,
    full_key,
    laid,
    merged_files,
)
from experiments.core.interrupts import interrupts_wait
from experiments.core.verdicts import check_claims as check_thresholds
from experiments.core.yaml_files import parse_value

if TYPE_CHECKING:
    from lightning import LightningModule

# Files of a logger in a run's directory, below which a finished run without them is run again.
LOGGER_FILES = {"tensorboard": "events.out.tfevents.*", "wandb": "wandb/*run-*", "csv": "csv/metrics.csv"}
# Of a scale that has its own number; else the experiment's.
SCALE_SEEDS = {"smoke": 2, "full": 20}
COUNTED_ONCE = (*CHECKED, "census")


@dataclass(frozen=True)
class Options:
    """What a user chose for one call of `run`."""

    scale: str = "quick"
    seeds: int | None = None
    jobs: int = 2
    logger: str = "tensorboard"
    data: str | None = None
    first_seed: int = FIRST_SEED
    overrides: tuple[str, ...] = ()
    runs: Path = Path("runs")


@dataclass(frozen=True)
class Plan:
    """What one call of `run` will do: the grid, the seeds, the place, and whether its verdicts count."""

    grid: Grid
    seeds: int
    jobs: int
    logger: str
    overrides: tuple[str, ...]
    directory: Path
    first_seed: int = FIRST_SEED

    @property
    def official(self) -> bool:
        """Whether data, scale, seeds and overrides are the frozen ones; each claim's n is looked at besides."""
        frozen = self.grid.data == self.grid.experiment.data[0] and self.grid.scale == "quick"
        return frozen and not self.other_seeds and not self.overrides

    @property
    def other_seeds(self) -> bool:
        """Whether the seeds are others than the official ones."""
        return self.first_seed != FIRST_SEED

    @property
    def tuned_axis(self) -> str:
        """The axis whose values the experiment's tuning chooses; empty without one."""
        return self.grid.experiment.tuning.axis if self.grid.experiment.tuning else ""

    @property
    def title(self) -> str:
        """What was run, in words: experiment, data, scale, seeds where they are not the usual ones."""
        words = f"{self.grid.name} on {self.grid.data} at {self.grid.scale} scale"
        return f"{words}, seeds from {self.first_seed} on" if self.other_seeds else words

    @property
    def command(self) -> str:
        """The command that repeats it."""
        words = ["python -m experiments run", self.grid.name, f"--scale {self.grid.scale}", f"--seeds {self.seeds}"]
        words += [f"--first-seed {self.first_seed}"] if self.other_seeds else []
        words += [f"--data {self.grid.data}", *self.overrides]
        words += [f"{allow_list.OPTION} {allow_list.allowed()}"] if allow_list.allowed() else []
        return " ".join(words)

    def seeds_of(self, claim: Claim) -> range:
        """The seeds that decide a claim: as many as its own n, unless fewer than usual were asked for.

        More seeds than a check asks for would only repeat the draws of its error.
        """
        if self.seeds < self.grid.experiment.seeds:
            return self.seeds_from(min(self.seeds, claim.n) if claim.kind in COUNTED_ONCE else self.seeds)
        return self.seeds_from(claim.n if claim.kind in COUNTED_ONCE else max(self.seeds, claim.n))

    def seeds_from(self, n: int) -> range:
        """So many seeds, from the first of this plan on."""
        return range(self.first_seed, self.first_seed + n)

    @property
    def run_seeds(self) -> dict[Condition, range]:
        """The seeds of each condition: as many as the claims that use it ask for."""
        wanted = dict.fromkeys(self.grid.conditions, self.seeds)
        for claim in self.grid.experiment.claims:
            for overrides in claim.used_conditions:
                condition = self.grid.find(overrides, claim.id)
                wanted[condition] = max(wanted[condition], len(self.seeds_of(claim)))
        return {condition: self.seeds_from(n) for condition, n in wanted.items()}

    @property
    def gives_verdicts(self) -> bool:
        """Whether anything may be concluded: not at smoke scale, nor from a single seed."""
        return self.grid.scale != "smoke" and self.seeds > 1


def make_plan(name: str, choice: Options) -> Plan:
    """Check what a user chose and decide where its results go.

    Raises:
        UserError: an unknown experiment, scale, logger or data set, or a claim that names no condition.
    """
    experiment = _definition(name)
    check_known("scale", choice.scale, catalogue.SCALES)
    check_known("logger", choice.logger, catalogue.LOGGERS)
    data = choice.data or experiment.scale_data.get(choice.scale, experiment.data[0])
    check_known("data set", data, experiment.data)
    file = f"experiments/{name}/experiment.py"
    with catalogue.found_in(file):
        grid = Grid.build(name, experiment, choice.scale, data)
        check_claims(grid)
    with catalogue.blamed_on(file):
        check_thresholds(experiment.claims)
    usual = SCALE_SEEDS.get(choice.scale, experiment.seeds)
    seeds = choice.seeds or usual
    parts = [name]
    parts += [data] if data != experiment.data[0] else []
    parts += [choice.scale] if choice.scale != "quick" else []
    parts += [f"seeds={seeds}"] if seeds != usual else []
    parts += [f"first_seed={choice.first_seed}"] if choice.first_seed != FIRST_SEED else []
    if choice.overrides:
        parts.append(hashlib.sha256("\n".join(sorted(choice.overrides)).encode()).hexdigest()[:6])
    directory = choice.runs / "-".join(parts)
    records.check_writable(directory)
    records.refuse_links(directory)
    return Plan(grid, seeds, choice.jobs, choice.logger, choice.overrides, directory, choice.first_seed)


def _definition(name: str) -> Experiment:
    """The definition of an experiment, every field of the type that it should have."""
    experiment = catalogue.load(name)
    with catalogue.found_in(f"experiments/{name}/experiment.py"):
        try:
            TypeAdapter(Experiment).validate_python(experiment)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UserError(f"{place}: {first['msg']}; it is {first['input']!r}") from None
        for scale in (*experiment.scale_data, *experiment.scale_grid):
            check_known("scale", scale, catalogue.SCALES)
        for data in experiment.scale_data.values():
            check_known("data set", data, experiment.data)
        # The first is that of base.yaml.
        overlays = [path.stem for path in (catalogue.ROOT / name).glob("*.yaml")]
        for data in experiment.data[1:]:
            check_known("data set", data, overlays)
    return experiment


class Planner:
    """Turns conditions into tasks. Importing torch to resolve a config is paid here, once."""

    def __init__(self, plan: Plan) -> None:
        with interrupts_wait():
            from experiments.core import config, parsing

        self.plan = plan
        self._parsing, self._config = parsing, config

    def tasks(
        self, condition: Condition, seeds: Sequence[int], tuned: Mapping[str, float], directory: Path
    ) -> list[Task]:
        """The runs of a condition, one for each seed."""
        with catalogue.found_in(self.place_of(condition)):
            config = self.config(condition, tuned)
        return [
            Task(
                label=f"{directory.name} seed={seed}",
                directory=directory / f"seed={seed}",
                seed=seed,
                config_hash=records.config_hash({**config, "seed_everything": seed}),
                config=config,
                logger_files=LOGGER_FILES[self.plan.logger],
                cost=float(config["trainer"]["max_epochs"] or 0),
                stack=self.plan.grid.experiment.stack,
            )
            for seed in seeds
        ]

    def run_tasks(self, chosen: Mapping[Condition, float]) -> dict[Condition, list[Task]]:
        """Every run of the grid by its condition, with the values that tuning chose."""
        place, axis = self.plan.directory, self.plan.tuned_axis
        return {
            condition: self.tasks(condition, seeds, {axis: chosen.get(condition, 0.0)}, place / condition.name)
            for condition, seeds in self.plan.run_seeds.items()
        }

    def all_tasks(self, chosen: Mapping[Condition, float]) -> list[Task]:
        """Every run of the grid, with the values that tuning chose."""
        return [task for tasks in self.run_tasks(chosen).values() for task in tasks]

    def config(self, condition: Condition, tuned: Mapping[str, float]) -> dict[str, Any]:
        """The resolved config of a condition.

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
        """What the files of a condition and a person's overrides say, resolved, and tried by building it."""
        files = (*self.plan.grid.files(condition), *self._logger_file())
        config: dict[str, Any] = self._config.with_defaults(merged_files(files))
        for override in self.plan.overrides:
            option, _, text = override.partition("=")
            self._config.lay(config, option, parse_value(text))
        return self._parsing.resolve(config, build=True)

    def place_of(self, condition: Condition) -> str:
        """What is to blame for a wrong config: the condition, unless a person changes it."""
        return "" if self.plan.overrides else f"experiments/{self.plan.grid.name}, condition '{condition.name}'"

    def build(self, condition: Condition, value: float) -> LightningModule:
        """Build data module and network of a condition, which refuse values out of range; no data are read.

        Args:
            condition: the condition.
            value: of its axis that is tuned, if it has one.
        """
        return self._parsing.build(self.config(condition, {self.plan.tuned_axis: value}), self.plan.first_seed)

    def load_data(self) -> None:
        """Read every data set here, once: if one is missing, no worker needs to find out, and no two download it.

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
    """The checks of an experiment, one for each seed of each claim that needs no training."""
    tasks = {}
    for claim in checked(plan.grid.experiment.claims):
        path = f"experiments.{plan.grid.name}.checks:{claim.check}"
        with catalogue.found_in(f"experiments/{plan.grid.name}/checks.py"):
            fingerprint = check_hash(path)
        for seed in plan.seeds_of(claim):
            directory = plan.directory / f"check={claim.check}" / f"seed={seed}"
            tasks[directory] = Task(f"{claim.check} seed={seed}", directory, seed, fingerprint, check=path)
    return list(tasks.values())
