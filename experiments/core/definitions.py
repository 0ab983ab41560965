"""Defines experiments: axes, tuning, claims and their constructors. Standard library only.

`experiments/<name>/experiment.py` builds one `Experiment` from these. Everything here is data that can be read,
listed and checked without importing torch; what it means to run it lives in the other modules of `core`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Value = str | int | float | bool
Overrides = Mapping[str, Value]
Kind = Literal[
    "effect",
    "equivalence",
    "non-inferiority",
    "proportion",
    "exact",
    "transcription",
    "pitfall",
    "census",
    "measured",
    "not testable",
]
Source = Literal["lecture", "beyond"]

INFERENTIAL: tuple[Kind, ...] = ("effect", "equivalence", "non-inferiority", "proportion")
CHECKED: tuple[Kind, ...] = ("exact", "transcription", "pitfall")
SHOWN: tuple[Kind, ...] = ("measured", "census")
TUNED = "tuned"

CONFIRMED, REFUTED, INCONCLUSIVE = "CONFIRMED", "REFUTED", "INCONCLUSIVE"
PASS, FAIL = "PASS", "FAIL"
# The verdict of a transcription or a pitfall: it counts neither for nor against the lecture.
NOTE = "NOTE"
# No verdict: because of the kind or the scale, or with too few seeds or draws.
NONE = "NONE"

# The default note of a control.
CONTROL = "Expected to be refuted: it shows that this experiment can refute."


class DefinitionError(ValueError):
    """The definition of an experiment is not valid; the message names the claim or axis and the nearest valid word."""


class _Strict:
    """Makes pydantic validate the types of all fields strictly when an experiment is planned."""

    __pydantic_config__: ClassVar = {"strict": True, "revalidate_instances": "always", "allow_inf_nan": False}


@dataclass(frozen=True)
class Axes(_Strict):
    """A block of the grid: the product of its axes."""

    values: Mapping[str, Sequence[Value]]

    def __iter__(self) -> Iterator[dict[str, Value]]:
        for combination in itertools.product(*self.values.values()):
            yield dict(zip(self.values, combination, strict=True))


def axes(**values: Value | Sequence[Value]) -> Axes:
    """Build a block of the grid.

    Args:
        values: one axis each, a list of values or a single one. The name is the last word of a Lightning CLI key of
            the base config (`depth` for `model.init_args.depth`). Three names are special: `config` names an overlay
            YAML of the experiment's folder; the value `"tuned"` stands for the value that the experiment's tuning
            chooses for that condition; a name with dots is a full CLI key.
    """
    return Axes({k: [v] if isinstance(v, str | int | float | bool) else list(v) for k, v in values.items()})


@dataclass(frozen=True)
class Tuning(_Strict):
    """Chooses the value of conditions with the value `"tuned"`, with equal trials for all of them."""

    axis: str
    # The candidates by value of the key `by`.
    candidates: Mapping[Value, Sequence[float]]
    # A key of the config, or `config` for the name of the overlay; if empty, `candidates[""]` is for all conditions.
    by: str = ""
    # Disjoint from the evaluation seeds, which start at 1000.
    seeds: Sequence[int] = (900, 901, 902)
    # A recorded or derived measure, averaged over the tuning seeds; a leading minus maximises it. A diverged run counts
    # as infinite.
    minimize: str = "val/loss"

    def __post_init__(self) -> None:
        if len({len(values) for values in self.candidates.values()}) != 1:
            raise DefinitionError(
                f"tuning of {self.axis}: every value of {self.by} needs the same number of candidates"
            )


@dataclass(frozen=True)
class Claim(_Strict):
    """A sentence that can be false, and everything that decides it; frozen before its run.

    The number a claim is about is, per seed: `measure` of the condition `where`; or the difference of the measure
    between `where` and `minus`; or `contrast` of the measure over `conditions`. A claim that needs no training names a
    pure function of `checks.py` instead, `check`: one that is exact, a transcription or a pitfall is about the error
    that it returns, any other about the number that `measure` names.

    The functions below build one claim of each kind. Each takes only the fields that its kind can have.
    """

    id: str  # begins with its line of the lecture: "L44-sigmoid-decay"
    statement: str
    statement_fr: str
    kind: Kind
    measure: str = ""
    where: Overrides | None = None
    minus: Overrides | None = None
    contrast: str = ""
    conditions: Sequence[Overrides] = ()
    check: str = ""
    # Exactly one, in the unit of the measure. `within` is the half-width of an equivalence, `above`/`below` the
    # smallest effect of interest of an effect and the p0 of a proportion, `tolerance` that of a check. The margin of a
    # non-inferiority ("not worse by more than") is on the wrong side of 0: `above=-0.02`, or `below=0.02` if less is
    # better.
    above: float | None = None
    below: float | None = None
    within: float | None = None
    tolerance: float | None = None
    # Number of seeds; 0 means the default: 30 for a proportion, 10 otherwise.
    n: int = 0
    # The value of the measure for a diverged run; without it, a diverged run makes the claim undecidable.
    if_diverged: float | None = None
    # For a time to a target: the name of a measure that is 1 if the run arrived within its budget, else 0. A run that
    # did not arrive counts with its budget; if most runs of an arm did not, the shares that arrived are judged.
    arrived: str = ""
    # The smallest step of the measure (1 for a count), used as the spread of values that are all equal.
    resolution: float | None = None
    # The figure that shows the claim.
    figure: str = ""
    # Title of the slide; if empty, the slide of the claim's line of the lecture.
    slide: str = ""
    source: Source = "lecture"
    primary: bool = True
    # Whether the claim is expected to be refuted, which shows that the experiment can refute.
    control: bool = False
    # How to read the number: interpretation and scope.
    note: str = ""
    # For a refuted claim, written afterwards: the condition under which it holds.
    holds: str = ""

    def __post_init__(self) -> None:
        if self.n == 0:
            object.__setattr__(self, "n", 30 if self.kind == "proportion" else 10)
        thresholds = {
            "above": self.above,
            "below": self.below,
            "within": self.within,
            "tolerance": self.tolerance,
        }
        given = [name for name, value in thresholds.items() if value is not None]
        allowed = {
            "effect": ("above", "below"),
            "non-inferiority": ("above", "below"),
            "proportion": ("above", "below"),
            "equivalence": ("within",),
            "exact": ("tolerance",),
            "transcription": ("tolerance",),
            "pitfall": ("tolerance",),
        }.get(self.kind, ())
        if allowed and (len(given) != 1 or given[0] not in allowed):
            raise DefinitionError(
                f"claim {self.id}: kind {self.kind} takes exactly one of {', '.join(allowed)}; it has {given or 'none'}"
            )
        if self.kind in CHECKED and not self.check:
            raise DefinitionError(
                f"claim {self.id}: kind {self.kind} needs `check`, the name of a function of checks.py"
            )
        if self.kind in (*INFERENTIAL, *SHOWN):
            self._check_measure()
        if self.n < 1:
            raise DefinitionError(f"claim {self.id}: n must be at least 1, not {self.n}")
        if self.kind in INFERENTIAL and self.n < 2:
            raise DefinitionError(f"claim {self.id}: an interval needs n >= 2 seeds, not {self.n}")

    def _check_measure(self) -> None:
        if not self.measure:
            raise DefinitionError(f"claim {self.id}: kind {self.kind} needs a measure")
        if self.check and self.used_conditions:
            raise DefinitionError(f"claim {self.id}: a check has no conditions; it compares inside its function")
        by_runs = bool(self.contrast) == bool(self.conditions) and (self.where is None) != (not self.conditions)
        if not (self.check or by_runs):
            raise DefinitionError(
                f"claim {self.id}: give either `where` (and `minus`) or `contrast` with `conditions`, or `check`"
            )

    @property
    def lecture_line(self) -> str:
        """The line of the lecture the claim belongs to: `L44` for `L44-sigmoid-decay`."""
        return self.id.partition("-")[0]

    @property
    def used_conditions(self) -> list[Overrides]:
        """The overrides of the conditions that decide the claim, in the order of its definition."""
        where = [] if self.where is None else [self.where]
        # `minus` inherits from `where`.
        minus = [] if self.minus is None else [{**(self.where or {}), **self.minus}]
        return [*where, *minus, *self.conditions]


# Constructors of claims. Their parameters are fields of `Claim`; `locals()` passes all of them on.


def effect(
    id: str, statement: str, statement_fr: str, *, measure: str,
    where: Overrides | None = None, minus: Overrides | None = None,
    contrast: str = "", conditions: Sequence[Overrides] = (), check: str = "",
    above: float | None = None, below: float | None = None, n: int = 0,
    if_diverged: float | None = None, arrived: str = "", resolution: float | None = None,
    figure: str = "", slide: str = "", source: Source = "lecture", primary: bool = True, control: bool = False,
    note: str = "", holds: str = "",
) -> Claim:  # fmt: skip
    """Claim that a measure, difference or contrast is beyond the smallest effect of interest.

    A control is beyond the lecture, and its note says what it is for unless another is given.
    """
    if control:
        source, note = "beyond", note or CONTROL
    return Claim(kind="effect", **locals())


def equivalence(
    id: str, statement: str, statement_fr: str, *, measure: str,
    where: Overrides | None = None, minus: Overrides | None = None,
    contrast: str = "", conditions: Sequence[Overrides] = (), check: str = "",
    within: float, n: int = 0,
    if_diverged: float | None = None, arrived: str = "", resolution: float | None = None,
    figure: str = "", slide: str = "", source: Source = "lecture", primary: bool = True,
    note: str = "", holds: str = "",
) -> Claim:  # fmt: skip
    """Claim that a measure, difference or contrast is 0, within a half-width."""
    return Claim(kind="equivalence", **locals())


def non_inferiority(
    id: str, statement: str, statement_fr: str, *, measure: str,
    where: Overrides | None = None, minus: Overrides | None = None,
    contrast: str = "", conditions: Sequence[Overrides] = (), check: str = "",
    above: float | None = None, below: float | None = None, n: int = 0,
    if_diverged: float | None = None, arrived: str = "", resolution: float | None = None,
    figure: str = "", slide: str = "", source: Source = "lecture", primary: bool = True,
    note: str = "", holds: str = "",
) -> Claim:  # fmt: skip
    """Claim that a measure, difference or contrast is not worse than 0 by more than a margin."""
    return Claim(kind="non-inferiority", **locals())


def proportion(
    id: str, statement: str, statement_fr: str, *, measure: str,
    where: Overrides | None = None, minus: Overrides | None = None, check: str = "",
    above: float | None = None, below: float | None = None, n: int = 0, if_diverged: float | None = None,
    figure: str = "", slide: str = "", source: Source = "lecture", primary: bool = True,
    note: str = "", holds: str = "",
) -> Claim:  # fmt: skip
    """Claim that the share of seeds where a measure is 1, or the difference of two shares, is beyond a threshold."""
    return Claim(kind="proportion", **locals())


def exact(
    id: str, statement: str, statement_fr: str, *, check: str, tolerance: float, n: int = 0,
    figure: str = "", slide: str = "", source: Source = "lecture", note: str = "",
) -> Claim:  # fmt: skip
    """Claim that an identity holds within a tolerance, as a check computes it."""
    return Claim(kind="exact", **locals())


def transcription(
    id: str, statement: str, statement_fr: str, *, check: str, tolerance: float, n: int = 0,
    figure: str = "", slide: str = "", source: Source = "lecture", note: str = "",
) -> Claim:  # fmt: skip
    """Claim that the transcribed slide has an error, and that the formula without it is right."""
    return Claim(kind="transcription", **locals())


def pitfall(
    id: str, statement: str, statement_fr: str, *, check: str, tolerance: float, n: int = 0,
    figure: str = "", slide: str = "", source: Source = "lecture", note: str = "",
) -> Claim:  # fmt: skip
    """Claim that a common mistake has the consequences that a check reproduces."""
    return Claim(kind="pitfall", **locals())


def census(
    id: str, statement: str, statement_fr: str, *, check: str, measure: str,
    n: int = 0, resolution: float | None = None,
    figure: str = "", slide: str = "", source: Source = "lecture", primary: bool = False, note: str = "",
) -> Claim:  # fmt: skip
    """Show a complete count by a check, without an interval and without a verdict."""
    return Claim(kind="census", **locals())


def measured(
    id: str, statement: str, statement_fr: str, *, measure: str,
    where: Overrides | None = None, minus: Overrides | None = None,
    contrast: str = "", conditions: Sequence[Overrides] = (), check: str = "", n: int = 0,
    if_diverged: float | None = None, figure: str = "", slide: str = "", source: Source = "lecture", note: str = "",
) -> Claim:  # fmt: skip
    """Show a measure, difference or contrast with its interval and without a verdict."""
    return Claim(kind="measured", primary=False, **locals())


def not_testable(id: str, statement: str, statement_fr: str, *, slide: str = "", note: str) -> Claim:
    """State what the lecture says and no experiment can decide."""
    return Claim(kind="not testable", **locals())


@dataclass(frozen=True)
class Experiment(_Strict):
    """One phenomenon of the lecture: a grid over a base config, claims and figures.

    The folder of the definition gives the name, `base.yaml` and the overlays: `<data>.yaml`, the one that a condition
    names as `config`, `<scale>.yaml` and `<data>-<scale>.yaml` are applied where they exist, in this order.
    """

    title: str
    title_fr: str
    claims: Sequence[Claim]
    figures: Sequence[str]
    # Without a grid, nothing is trained: checks decide the claims, and there is no base.yaml.
    grid: Sequence[Axes] = ()
    # The data sets that `--data` accepts; the first is in base.yaml.
    data: Sequence[str] = ("generated",)
    # The default data set of a scale, if it is not the first.
    scale_data: Mapping[str, str] = field(default_factory=dict)
    # Further blocks of the grid, by scale.
    scale_grid: Mapping[str, Sequence[Axes]] = field(default_factory=dict)
    tuning: Tuning | None = None
    # Derived measures that become columns of results.csv, besides those of the claims.
    measures: Sequence[str] = ()
    # Number of paired seeds, from 1000 on; a claim may need more.
    seeds: int = 10
    # Whether the seeds of a condition may be stacked; false if runs are compared bit by bit.
    stack: bool = True

    def __post_init__(self) -> None:
        if not self.data:
            raise DefinitionError("`data` names no data set")
        if self.seeds < 1:
            raise DefinitionError(f"`seeds` must be at least 1, not {self.seeds}")
        ids = [claim.id for claim in self.claims]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise DefinitionError(f"claim ids must be unique; used twice: {', '.join(twice)}")
