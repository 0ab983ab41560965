"""A verdict: one row of `verdicts.json`, and how the file is written and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict

from experiments.core.definitions import (
    CONFIRMED,
    FAIL,
    INCONCLUSIVE,
    INFERENTIAL,
    NONE,
    NOTE,
    PASS,
    REFUTED,
    Kind,
    Value,
)
from experiments.core.files.errors import UserError
from experiments.core.files.json import Whole, read_json
from experiments.core.files.run_directory import write_json
from experiments.core.verdicts.inference import (
    Threshold,
)

WORDS = (CONFIRMED, REFUTED, INCONCLUSIVE, NONE, PASS, FAIL, NOTE)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One row of `verdicts.json`; numbers are in the unit of the measure."""

    # Reading back requires finite numbers.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)

    id: str
    experiment: str
    lecture_line: str
    slide: str
    source: str
    kind: Kind
    statement: str
    statement_fr: str
    measure: str
    conditions: tuple[dict[str, Value], ...]
    scope: str
    family: str  # the experiment, of its inferential primary claims; else empty
    direction: str
    threshold: Threshold | None
    effect: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float | None = None
    ci95_low: float | None = None
    ci95_high: float | None = None
    p_holm: float | None = None
    n: Whole
    n_diverged: Whole
    n_censored: Whole
    seeds_needed: Whole | None = None  # of a new seed set; None where more than `statistics.MOST_SEEDS`
    verdict: str = NONE
    reading: str = ""
    official: bool
    p: float | None = None  # not adjusted
    p_mcnemar: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    correlation: float | None = None  # between the two arms, over seeds
    primary: bool
    control: bool
    note: str
    undecidable: str = ""
    # If more than half of an arm never arrived, the verdict is on the share that did, and the effect is a bound.
    judged_on: str = "value"
    bound: str = ""
    draws: Whole
    counterexamples: Whole


def _shown_by(row: Verdict) -> Verdict:
    """Require known words, and a threshold for every effect that has a verdict."""
    if row.verdict not in WORDS:
        raise ValueError(f"{row.id} has a verdict that is none")
    compared = row.threshold is not None and row.direction in ("above", "below", "within")
    if not compared and (row.threshold is not None or row.kind in INFERENTIAL):
        raise ValueError(f"{row.id} has no threshold, or no direction")
    return row


# The content of `verdicts.json`.
Rows = tuple[Annotated[Verdict, AfterValidator(_shown_by)], ...]


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """Write `verdicts.json`, one object a claim, as strict JSON."""
    write_json(path, [asdict(verdict) for verdict in verdicts])


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a `verdicts.json`, which another version or somebody else may have written.

    Raises:
        UserError: there is none that can be read.
    """
    try:
        return list(read_json(path, Rows))
    except (OSError, ValueError):
        message = f"'{path}' does not hold verdicts as this version writes them: run its experiment again"
        raise UserError(message) from None
