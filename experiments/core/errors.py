"""What a user got wrong, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# Exit code after SIGTERM: 128 and the signal's number.
TERMINATED = 143
# What torch says in its errors of memory.
NO_MEMORY = "allocate memory"


class UserError(Exception):
    """A mistake in what was asked for: printed as one line, exit code 2, no stack trace."""

    def __init__(self, message: str) -> None:
        # What was asked for may hold a new line, or what a terminal obeys.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return the ending of an error message: the nearest valid word, or all of them when none is near."""
    words = sorted(str(word) for word in valid)
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return listed(words)


def listed(words: Sequence[str]) -> str:
    """Return the ending of an error message that lists what is valid, as far as a line holds it."""
    if len(words) > 12:
        return f"valid ones begin {', '.join(words[:12])} …"
    return f"valid: {', '.join(words)}" if words else "none is known"


def check_known(kind: str, given: str, valid: Iterable[str]) -> None:
    """Raise `UserError` if `given` is not one of `valid`, naming the nearest."""
    words = list(valid)
    if given not in words:
        raise UserError(f"unknown {kind} '{given}'; {nearest(given, words)}")
