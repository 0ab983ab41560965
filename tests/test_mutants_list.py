"""The list of `make mutants` fits the code: each fault can be made in one place only, and its test exists."""

from __future__ import annotations

import pytest

from stress.mutants import MUTANTS, REPOSITORY


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_can_be_made(mutant):
    assert (REPOSITORY / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
    file, _, name = mutant.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (REPOSITORY / file).read_text(encoding="utf-8")


def test_names_are_unique_and_many():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
