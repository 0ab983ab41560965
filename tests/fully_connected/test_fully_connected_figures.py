"""The experiment at smoke scale on the bundled digits: what its figures draw against results.csv, read back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from read_back import artist, line
from smoke_results import Shared

from datamodules import Digits
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.fully_connected.checks import KINDS
from experiments.fully_connected.figures import CHANGES, SHOWN


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("fully_connected")


@pytest.fixture(scope="module")
def figures(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("fully_connected")


@pytest.fixture(scope="module")
def table(shared: Shared) -> pd.DataFrame:
    return shared.table("fully_connected")


def test_families(figures, table):
    (row,) = table[table["condition"] == "check=torchvision_layers"].to_dict("records")
    names = sorted(key.partition("/")[2] for key in row if key.startswith("linear/"))
    labels = [text.get_text().replace(" ", "_") for text in figures["families"].figure.axes[0].get_xticklabels()]
    assert labels == names
    for kind in KINDS:
        has, lacks = (line(figures["families"].figure, f"{word}/{kind}")[0] for word in ("has", "lacks"))
        assert {names[int(x)] for x in has} == {name for name in names if row[f"{kind}/{name}"] == 1}
        assert sorted([*has, *lacks]) == list(range(len(names)))


def test_examples_are_test_images_of_the_first_seed(figures):
    data = Digits(batch_size=50, num_train=1000, num_val=297, num_test=500, seed=1000)
    data.setup()
    shown = {change: artist(figures["examples"].figure, f"image/{change}/0").get_array() for change in CHANGES}
    image = data.test[0][0, 0].numpy()
    assert np.asarray(shown["as they are"]) == pytest.approx(image)
    assert np.asarray(shown["shifted by 2"])[:, 2:] == pytest.approx(image[:, :-2])
    rearranged = np.asarray(shown["rearranged"])
    assert np.sort(rearranged, axis=None) == pytest.approx(np.sort(image, axis=None), abs=1e-5)
    assert rearranged != pytest.approx(image)
    assert len(figures["examples"].figure.axes) == SHOWN * len(CHANGES)
