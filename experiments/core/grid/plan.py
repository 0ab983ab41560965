"""The plan of one command: grid, seeds and directories."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from experiments.core.definitions import CHECKED, Claim, Experiment
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, check_known
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import (
    FIRST_SEED,
    Condition,
    Grid,
    check_claims,
    checked,
)

if TYPE_CHECKING:
    pass

# Seeds of a scale; otherwise those of the experiment.
SCALE_SEEDS = {"smoke": 2, "full": 20}
COUNTED_ONCE = (*CHECKED, "census")


@dataclass(frozen=True)
class Options:
    """The options of a command that runs or judges an experiment."""

    scale: str = "quick"
    seeds: int | None = None
    jobs: int = 2
    logger: str = "tensorboard"
    data: str | None = None
    first_seed: int = FIRST_SEED
    overrides: tuple[str, ...] = ()
    allow_import: str = ""
    runs: Path = Path("runs")


@dataclass(frozen=True)
class Plan:
    """The plan of one command: grid, seeds, directory, and whether its verdicts are official."""

    grid: Grid
    seeds: int
    jobs: int
    logger: str
    overrides: tuple[str, ...]
    directory: Path
    first_seed: int = FIRST_SEED
    allow_import: str = ""

    @property
    def official(self) -> bool:
        """Whether data, scale, seeds and overrides are the frozen ones; a claim's n is compared separately."""
        frozen = self.grid.data == self.grid.experiment.data[0] and self.grid.scale == "quick"
        return frozen and not self.other_seeds and not self.overrides

    @property
    def other_seeds(self) -> bool:
        """Whether the seeds differ from the official ones."""
        return self.first_seed != FIRST_SEED

    @property
    def tuned_axis(self) -> str:
        """The axis that the experiment tunes; empty without tuning."""
        return self.grid.experiment.tuning.axis if self.grid.experiment.tuning else ""

    @property
    def title(self) -> str:
        """The title: experiment, data, scale, and seeds if they are not the official ones."""
        words = f"{self.grid.name} on {self.grid.data} at {self.grid.scale} scale"
        return f"{words}, seeds from {self.first_seed} on" if self.other_seeds else words

    @property
    def command(self) -> str:
        """The command that repeats this plan."""
        words = ["python -m experiments run", self.grid.name, f"--scale {self.grid.scale}", f"--seeds {self.seeds}"]
        words += [f"--first-seed {self.first_seed}"] if self.other_seeds else []
        words += [f"--data {self.grid.data}", *self.overrides]
        words += [f"{catalogue.ALLOW_IMPORT} {self.allow_import}"] if self.allow_import else []
        return " ".join(words)

    def seeds_of(self, claim: Claim) -> range:
        """Return the seeds that decide a claim: as many as its n, unless the user asked for fewer than usual.

        More seeds than a check asks for would only repeat the draws of its error.
        """
        if self.seeds < self.grid.experiment.seeds:
            return self.seeds_from(min(self.seeds, claim.n) if claim.kind in COUNTED_ONCE else self.seeds)
        return self.seeds_from(claim.n if claim.kind in COUNTED_ONCE else max(self.seeds, claim.n))

    def seeds_from(self, n: int) -> range:
        """Return the first n seeds of this plan."""
        return range(self.first_seed, self.first_seed + n)

    @property
    def run_seeds(self) -> dict[Condition, range]:
        """The seeds of each condition: as many as its claims need."""
        wanted = dict.fromkeys(self.grid.conditions, self.seeds)
        for claim in self.grid.experiment.claims:
            for overrides in claim.used_conditions:
                condition = self.grid.find(overrides, claim.id)
                wanted[condition] = max(wanted[condition], len(self.seeds_of(claim)))
        return {condition: self.seeds_from(n) for condition, n in wanted.items()}

    @property
    def check_seeds(self) -> dict[str, range]:
        """The seeds of each check, by function name: as many as its claims need."""
        seeds = dict[str, range]()
        for claim in checked(self.grid.experiment.claims):
            seeds[claim.check] = max(seeds.get(claim.check, range(0)), self.seeds_of(claim), key=len)
        return seeds

    @property
    def gives_verdicts(self) -> bool:
        """Whether there are verdicts: not at smoke scale, nor with a single seed."""
        return self.grid.scale != "smoke" and self.seeds > 1


def make_plan(name: str, choice: Options) -> Plan:
    """Validate the options of a command, and choose the directory of its results.

    Raises:
        UserError: unknown experiment, scale, logger or data set, or a claim without a condition of the grid.
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
    run_directory.check_writable(directory)
    run_directory.refuse_links(directory)
    return Plan(
        grid, seeds, choice.jobs, choice.logger, choice.overrides, directory, choice.first_seed, choice.allow_import
    )


def _definition(name: str) -> Experiment:
    """Return the definition of an experiment, with the types of all fields validated."""
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
        # The first data set is in base.yaml.
        overlays = [path.stem for path in (catalogue.ROOT / name).glob("*.yaml")]
        for data in experiment.data[1:]:
            check_known("data set", data, overlays)
    return experiment
