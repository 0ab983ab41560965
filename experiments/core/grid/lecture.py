"""The lines of the lecture, from `texts/lecture.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from experiments.core.files.texts import FOLDER, check_texts
from experiments.core.files.yaml import load_yaml


class Line(NamedTuple):
    """One statement, picture or system of the lecture."""

    id: str
    slide: str
    says: str
    says_fr: str


def read(path: Path) -> tuple[Line, ...]:
    """Read the lines of a file.

    Raises:
        UserError: the file cannot be read, or a line is not valid.
    """
    lines = check_texts(load_yaml(path), Line._fields[1:], path.name)
    return tuple(Line(id=name, **texts) for name, texts in lines.items())


LINES = read(FOLDER / "lecture.yaml")
SLIDES = {line.id: line.slide for line in LINES}
