"""The experiment at smoke scale on the bundled digits: what its figures draw against results.csv, read back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from read_back import artist, line, student
from smoke_results import smoke

from datamodules import Digits
from experiments.core.execution.workers import Pool
from experiments.core.report import figures as core
from experiments.fully_connected.checks import KINDS
from experiments.fully_connected.figures import CHANGES, CLASSIFIERS, NETWORKS, SHOWN, TABLES


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Without Fashion-MNIST, which is not everywhere; two seeds."""
    return smoke("fully_connected", tmp_path_factory.mktemp("runs"), data="digits")


@pytest.fixture(scope="module")
def figures(results):
    return {name: one.figure for name, one in core.draw(results, Pool(jobs=1).map).items()}


@pytest.fixture(scope="module")
def table(results):
    return pd.read_csv(results.plan.directory / "results.csv")


def test_tables(figures, table):
    for config, name in TABLES.items():
        rows = table[table["condition"] == config]
        for column, (who, *_) in CLASSIFIERS.items():
            assert line(figures["tables"], f"mean/{who}/{name}")[0] == pytest.approx([rows[column].mean()], rel=1e-9)


def test_families(figures, table):
    (row,) = table[table["condition"] == "check=torchvision_layers"].to_dict("records")
    names = sorted(key.partition("/")[2] for key in row if key.startswith("linear/"))
    labels = [text.get_text().replace(" ", "_") for text in figures["families"].axes[0].get_xticklabels()]
    assert labels == names
    for kind in KINDS:
        has, lacks = (line(figures["families"], f"{word}/{kind}")[0] for word in ("has", "lacks"))
        assert {names[int(x)] for x in has} == {name for name in names if row[f"{kind}/{name}"] == 1}
        assert sorted([*has, *lacks]) == list(range(len(names)))


def test_structure(figures, table):
    name_of = {"images": {"fully connected": "base", "convolutional": "convolutional"}}
    name_of["text"] = {"fully connected": "text_fully_connected", "convolutional": "text_convolutional"}
    for kind, networks in NETWORKS.items():
        for network in networks:
            for change, (more, column) in CHANGES.items():
                condition = name_of[kind][network]
                if more:
                    condition = "permute=True" if condition == "base" else f"{condition},permute=True"
                values = list(table.loc[table["condition"] == condition, column])
                mean, low, high = student(values)
                gid = f"{kind}/{network}/{change}"
                assert line(figures["structure"], f"mean/{gid}")[1] == pytest.approx([mean], rel=1e-9)
                segment = np.array(artist(figures["structure"], f"band/{gid}").get_segments()[0])
                assert np.sort(segment[:, 1]) == pytest.approx([low, high], rel=1e-9)


def test_examples_are_test_images_of_the_first_seed(figures):
    data = Digits(batch_size=50, num_train=1000, num_val=297, num_test=500, seed=1000)
    data.setup()
    shown = {change: artist(figures["examples"], f"image/{change}/0").get_array() for change in CHANGES}
    image = data.test[0][0, 0].numpy()
    assert np.asarray(shown["as they are"]) == pytest.approx(image)
    assert np.asarray(shown["shifted by 2"])[:, 2:] == pytest.approx(image[:, :-2])
    rearranged = np.asarray(shown["rearranged"])
    assert np.sort(rearranged, axis=None) == pytest.approx(np.sort(image, axis=None), abs=1e-5)
    assert rearranged != pytest.approx(image)
    assert len(figures["examples"].axes) == SHOWN * len(CHANGES)


def test_every_figure_but_the_examples_shows_a_claim(results, figures):
    claimed = {claim.figure for claim in results.plan.grid.experiment.claims if claim.figure}
    assert claimed | {"examples"} == set(results.plan.grid.experiment.figures) == set(figures) - {"forest"}
