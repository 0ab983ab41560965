"""Texts that are data are checked when they are read: one line says what is wrong, and where."""

from __future__ import annotations

import pytest

from experiments.core.files.errors import UserError
from experiments.core.grid import lecture

GOOD = "L01: {slide: A, says: b, says_fr: c}\n"


def test_lines_are_read_in_their_order(tmp_path):
    (tmp_path / "lines.yaml").write_text("L02: {slide: B, says: b, says_fr: c}\n" + GOOD)
    assert lecture.read(tmp_path / "lines.yaml") == (("L02", "B", "b", "c"), ("L01", "A", "b", "c"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("L02: {slide: A, says: b}", "lines.yaml: L02 needs a text for 'says_fr'"),
        ("L02: {slide: A, says: 3, says_fr: c}", "lines.yaml: L02 needs a text for 'says'"),
        ("L02: {slde: A, says: b, says_fr: c}", "unknown field of L02 in lines.yaml: 'slde'; did you mean 'slide'?"),
        ("L02: nothing", "lines.yaml: L02 has no fields; it needs slide, says, says_fr"),
        (GOOD, "key 'L01' is given twice"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, message):
    (tmp_path / "lines.yaml").write_text(GOOD + text)
    with pytest.raises(UserError) as error:
        lecture.read(tmp_path / "lines.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
