"""Reads the texts of the lecture: YAML files in `core/texts/`, whose entries all have the same fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.core.files.errors import UserError, check_known

FOLDER = Path(__file__).resolve().parents[1] / "texts"


def check_texts(entries: Any, fields: Sequence[str], where: str) -> dict[str, dict[str, str]]:
    """Validate and return entries: each has all the fields and no other.

    Args:
        entries: the content of a file, by the name of each entry.
        fields: the fields of every entry; each is a text.
        where: the file, for the error message.

    Raises:
        UserError: a field is missing, unknown, or not a text.
    """
    if not isinstance(entries, dict):
        raise UserError(f"{where}: a mapping of names to entries is expected, not {entries!r}")
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise UserError(f"{where}: {name} has no fields; it needs {', '.join(fields)}")
        for field in entry:
            check_known(f"field of {name} in {where}:", field, fields)
        for field in fields:
            if not isinstance(entry.get(field), str):
                raise UserError(f"{where}: {name} needs a text for '{field}'")
    return dict(entries)
