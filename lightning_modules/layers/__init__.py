"""Building blocks of the networks, which use torch only; this file holds the validation that they share."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(what: str, name: str, table: Mapping[str, T]) -> T:
    """Look up a name in a table.

    Args:
        what: kind of the entries, for the message, for example "activation".
        name: name of an entry.
        table: entries by name.

    Raises:
        ValueError: unknown name; the message names the nearest valid one and lists all.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(str(name).lower(), table, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise ValueError(f"unknown {what} '{name}': {guess}valid: {', '.join(table)}")


def validate_number(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Require a finite number with above < value, minimum <= value and value < below.

    Raises:
        ValueError: the value is out of range or not a finite number; the message names the valid range.
    """
    # Strict comparisons with infinite bounds exclude infinities and NaN.
    if isinstance(value, int | float) and not isinstance(value, bool) and above < value < below and value >= minimum:
        return
    bounds = [
        f"{sign} {bound:g}" for sign, bound in ((">", above), (">=", minimum), ("<", below)) if math.isfinite(bound)
    ]
    raise ValueError(f"{name} must be a finite number {' and '.join(bounds)}, not {value!r}")


def validate_count(name: str, value: int, minimum: int = 1) -> None:
    """Require a whole number of at least `minimum`.

    Raises:
        ValueError: the value is smaller, or not a whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be a whole number >= {minimum}, not {value!r}")
