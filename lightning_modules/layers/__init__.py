"""Building blocks of the networks: torch only. Here, the checks that all of them share."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(what: str, name: str, table: Mapping[str, T]) -> T:
    """Look a name up.

    Args:
        what: what the table holds, for the message: "activation".
        name: the name that was given.
        table: the valid names and what they stand for.

    Raises:
        ValueError: unknown name; the message names the nearest valid one and lists all.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), table, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise ValueError(f"unknown {what} '{name}': {guess}valid: {', '.join(table)}")


def check_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Require a finite number in above < value, minimum <= value < below.

    Raises:
        ValueError: the value lies outside, or is not a finite number; the message names the valid range.
    """
    # Strict comparisons with infinite bounds leave infinities and NaN outside.
    if isinstance(value, int | float) and not isinstance(value, bool) and above < value < below and value >= minimum:
        return
    bounds = [
        f"{sign} {bound:g}" for sign, bound in ((">", above), (">=", minimum), ("<", below)) if math.isfinite(bound)
    ]
    raise ValueError(f"{name} must be a finite number {' and '.join(bounds)}, not {value!r}")


def check_count(name: str, value: int, minimum: int = 1) -> None:
    """Require a whole number of at least `minimum`.

    Raises:
        ValueError: the value is smaller, or not a whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be a whole number >= {minimum}, not {value!r}")
