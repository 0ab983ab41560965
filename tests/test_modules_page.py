"""MODULES.md tells the truth: its glossary is the code's, its scores are the reference, every class is in it."""

import importlib
import inspect

import pytest

import datamodules
import lightning_modules
from experiments.core.commands import glossary
from experiments.core.grid import catalogue
from experiments.core.report import pages
from experiments.core.training import classes
from experiments.core.verdicts import reference
from lightning_modules import by_hand

PAGE = glossary.PAGE.read_text(encoding="utf-8")
PACKAGES = (lightning_modules, by_hand, datamodules)


def test_the_glossary_is_made_from_the_code():
    assert glossary.with_glossary(PAGE) == PAGE


def test_every_file_of_the_glossary_is_in_the_repository():
    files = [line.partition("](")[2].partition(")")[0] for line in glossary.markdown().splitlines() if "](" in line]
    assert len(files) > 40
    assert [file for file in files if not (glossary.PAGE.parent / file).is_file() or ".venv" in file] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_class_is_in_the_glossary_and_names_its_slide(package):
    places = {place for section in glossary.terms().values() for place in section}
    for name in package.__all__:
        assert f"{package.__name__}:{name}" in places
        assert glossary.slides(inspect.getdoc(getattr(package, name))), name


def test_titles_of_slides_are_read_from_a_docstring():
    doc = 'One thing. Slides "A b" and "C", and (slide\n    "D: e") more.'
    assert glossary.slides(doc) == ["A b", "C", "D: e"]
    assert glossary.slides("No such thing.") == []


def test_the_scores_are_the_reference():
    kept = reference.read("architectures")
    assert pages.with_scores(PAGE, "architectures", kept) == PAGE
    assert pages.with_table(PAGE, "architectures", kept.verdicts) == PAGE
    assert set(kept.measures) == {"base", *(path.stem for path in configs())}


def test_the_table_of_scores_names_model_data_and_loss():
    rows = pages.scores("architectures", reference.read("architectures")).splitlines()
    (row,) = [row for row in rows if row.startswith("| linear_regression |")]
    assert row.startswith("| linear_regression | LinearModel | Diabetes | mse | 0.")
    (row,) = [row for row in rows if row.startswith("| two_layer |")]
    assert "| TwoLayer | Diabetes | mse |" in row  # the default of its constructor
    (row,) = [row for row in rows if row.startswith("| recurrent |")]
    assert row.endswith("| – |")  # scikit-learn has none


def configs():
    folder = catalogue.ROOT / "architectures"
    return [path for path in folder.glob("*.yaml") if path.stem != "base"]


def test_every_architecture_has_a_config_that_trains_it():
    text = "".join(path.read_text(encoding="utf-8") for path in (catalogue.ROOT / "architectures").glob("*.yaml"))
    assert [name for name in lightning_modules.__all__ if f"class_path: {name}\n" not in text] == []


def test_a_default_is_that_of_the_nearest_constructor():
    assert classes.default_of(lightning_modules.TwoLayer, "loss") == "mse"
    assert classes.default_of(lightning_modules.FullyConnected, "loss") == "cross_entropy"
    with pytest.raises(AttributeError, match="TwoLayer has no argument lose"):
        classes.default_of(lightning_modules.TwoLayer, "lose")


def test_every_term_can_be_imported():
    for section in glossary.terms().values():
        for place, words in section.items():
            module, _, name = place.partition(":")
            assert callable(getattr(importlib.import_module(module), name))
            assert all(words.values())
