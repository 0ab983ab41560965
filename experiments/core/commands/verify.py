"""`verify`: run an experiment again beside its results, and compare with the kept reference."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace

from experiments.core.commands.for_each import Finish, for_each, options_of
from experiments.core.commands.run import find_figure, judge
from experiments.core.definitions import Claim
from experiments.core.execution.schedule import Schedule
from experiments.core.execution.workers import Pool
from experiments.core.files import environment, run_directory
from experiments.core.files.errors import UserError, say
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import FIRST_SEED
from experiments.core.grid.plan import Options, Plan
from experiments.core.report import pages, terminal
from experiments.core.verdicts import reference, verification
from experiments.core.verdicts.reference import Reference


def call(options: argparse.Namespace) -> int:
    """Answer the command `verify`."""
    return verify(options.experiment, options_of(options), only_exact=options.exact, keep_answers=options.keep)


def verify(name: str, choice: Options, *, only_exact: bool, keep_answers: bool) -> int:
    """Run an experiment, or every one, again beside its results, and compare with the reference.

    Args:
        name: of the experiment, or `all`.
        choice: with the official first seed the same seeds are run from nothing; another is another seed set.
        only_exact: only the exact claims, which need no training and must come out on every machine.
        keep_answers: write the comparison with another seed set into the experiment's folder.

    Returns:
        0, or 1 if some claim came out differently.

    Raises:
        UserError: what would be run is not what the reference is of, or an answer is to be kept that nobody keeps.
    """
    if choice.scale != "quick" or choice.seeds is not None or choice.data is not None:
        raise UserError("verify runs what the reference is of: it takes no --scale, --seeds or --data")
    if keep_answers and choice.first_seed == FIRST_SEED:
        raise UserError("--keep is about another seed set: give --first-seed as well")

    def begin(plan: Plan, pool: Pool, rank: int) -> Finish:
        if name == catalogue.ALL and not reference.exists(plan.grid.name):
            say(f"{plan.title}: no reference yet")
            return lambda: 0
        kept = reference.read(plan.grid.name)
        if not plan.other_seeds:
            run_directory.empty(plan.directory)
        claims = [claim for claim in plan.grid.experiment.claims if claim.kind == "exact" or not only_exact]
        schedule = Schedule(plan, pool, rank, find_figure, only_exact=only_exact) if claims else None

        def finish() -> int:
            answers, good = _answers(schedule, kept, claims) if schedule else ([], verification.GOOD)
            run_directory.write_json(plan.directory / "verify.json", [asdict(answer) for answer in answers])
            if keep_answers:
                pages.keep_other_seeds(plan, answers)
            terminal.print_answers(plan.title, answers, {claim.id: claim.statement for claim in claims})
            return 0 if verification.summarize(answers, good)["good"] else 1

        return finish

    return for_each(name, replace(choice, runs=choice.runs / "verify"), begin)


def _answers(
    schedule: Schedule, kept: Reference, claims: Sequence[Claim]
) -> tuple[list[verification.Answer], Collection[str]]:
    """How the claims came out again, and the answers with which all is well."""
    failed = schedule.finish()["failed"]
    if failed:
        raise UserError(f"{failed} runs failed")
    results = judge(schedule.plan, schedule.chosen, schedule.pool)
    judged = [verdict for verdict in results.verdicts if verdict.id in {claim.id for claim in claims}]
    if schedule.plan.other_seeds:
        return verification.other_seeds(kept, judged, results.samples), verification.GOOD
    changed = environment.other_arithmetic(kept.environment, results.environment)
    if changed:
        say(f"Other arithmetic than the reference's, so seeds that part ways are judged as other seeds: {changed}")
    else:
        say("The arithmetic of the reference: compared seed by seed")
    answers = verification.same_seeds(kept, judged, results.samples, same_arithmetic=not changed)
    return answers, verification.GOOD_ELSEWHERE if changed else verification.GOOD
