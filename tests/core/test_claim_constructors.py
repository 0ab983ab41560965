"""The constructors of claims: one a kind, each with the fields of its kind, and the slide of the claim's line."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest

from experiments.core import definitions
from experiments.core.definitions import CONTROL, Claim, DefinitionError, effect, exact
from experiments.core.grid import catalogue
from experiments.core.grid.lecture import LINES, SLIDES
from experiments.core.verdicts.inference import SeedValues
from experiments.core.verdicts.verdicts import check_claims, judge

RUN = {"measure": "m", "where": {}}
CHECK = {"check": "c", "tolerance": 0.0}
# The fields that the least claim of a kind gives.
LEAST = {
    "effect": {**RUN, "above": 0.1},
    "equivalence": {**RUN, "within": 0.1},
    "non-inferiority": {**RUN, "above": -0.1},
    "proportion": {**RUN, "above": 0.5},
    "exact": CHECK,
    "transcription": CHECK,
    "pitfall": CHECK,
    "census": {"measure": "m", "check": "c"},
    "measured": RUN,
    "not testable": {"note": "n"},
}


def constructor(kind):
    return getattr(definitions, kind.replace("-", "_").replace(" ", "_"))


@pytest.mark.parametrize("kind", LEAST)
def test_a_constructor_gives_the_claim_of_its_kind(kind):
    primary = kind not in ("measured", "census")
    expected = Claim("L44-a", "E.", "F.", kind, primary=primary, **LEAST[kind])
    assert constructor(kind)("L44-a", "E.", "F.", **LEAST[kind]) == expected


@pytest.mark.parametrize("kind", LEAST)
def test_every_argument_reaches_the_field_of_its_name(kind):
    function = constructor(kind)
    names = {"id", "statement", "statement_fr", *inspect.signature(function).parameters} - {"control"}
    assert names <= {field.name for field in fields(Claim)}
    given = {"figure": "f", "slide": "t", "note": "n", "source": "beyond", "holds": "h", "n": 7, "resolution": 0.5}
    given = {**LEAST[kind], **{name: value for name, value in given.items() if name in names}}
    one = function("L44-a", "E.", "F.", **given)
    assert {name: getattr(one, name) for name in given} == given


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("effect", "within"),
        ("equivalence", "above"),
        ("equivalence", "control"),
        ("non-inferiority", "within"),
        ("proportion", "arrived"),
        ("exact", "measure"),
        ("exact", "above"),
        ("pitfall", "where"),
        ("census", "where"),
        ("measured", "above"),
        ("measured", "primary"),
        ("not testable", "measure"),
        ("effect", "mesure"),
    ],
)
def test_a_field_of_another_kind_is_no_argument(kind, field):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{field}'"):
        constructor(kind)("L44-a", "E.", "F.", **{**LEAST[kind], field: 0.1})


def test_a_control_is_beyond_the_lecture_and_says_what_it_is_for():
    control = effect("L44-a", "E.", "F.", **LEAST["effect"], control=True)
    assert (control.source, control.control, control.note) == ("beyond", True, CONTROL)
    assert effect("L44-a", "E.", "F.", **LEAST["effect"], control=True, note="n").note == "n"
    assert effect("L44-a", "E.", "F.", **LEAST["effect"]).note == ""


@pytest.mark.parametrize(("given", "slide"), [("", "Gradient vanishing"), ("Another slide", "Another slide")])
def test_the_slide_is_that_of_the_claims_line_unless_given(given, slide):
    one = exact("L44-a", "E.", "F.", **CHECK, slide=given)
    sample = SeedValues(np.zeros(10), draws=1000)
    assert judge("tiny", [one], {one.id: sample}, official=True, scope="s")[0].slide == slide


def test_a_line_that_the_lecture_has_not_needs_a_slide():
    check_claims([exact("L999-a", "E.", "F.", **CHECK, slide="s")])
    with pytest.raises(DefinitionError, match="claim L999-a: the lecture has no line L999; give its `slide`"):
        check_claims([exact("L999-a", "E.", "F.", **CHECK)])


def test_every_slide_of_the_lecture_is_known_by_its_line():
    assert {line.id: line.slide for line in LINES} == SLIDES


@pytest.mark.parametrize("name", catalogue.names())
def test_a_claim_names_its_slide_only_where_it_is_another_than_its_lines(name):
    assert not [
        claim.id for claim in catalogue.load(name).claims if claim.slide and claim.slide == SLIDES[claim.lecture_line]
    ]
