"""The figures of the experiment `nonlinearity` against the runs' files, at smoke scale through the real YAML."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from read_back import artist, line
from smoke_results import Shared

from experiments.core.grid.conditions import Grid
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results
from experiments.nonlinearity import experiment, figures
from lightning_modules import FullyConnected, LinearModel


@pytest.fixture(scope="module")
def results(shared: Shared) -> Results:
    return shared.of("nonlinearity")


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("nonlinearity")


@pytest.fixture(scope="module")
def frame(shared: Shared) -> pd.DataFrame:
    return shared.table("nonlinearity")


def condition_of(model, data):
    if model == "linear":
        return f"linear_{data}" if data else "linear"
    parts = [data] if data else []
    parts += [f"activation={model}"] if model != "tanh" else []
    return ",".join(parts) or "base"


def trained(directory, model):
    """The network of a run as its checkpoint keeps it, built without the project's way to do so."""
    kept = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    common = {"num_features": 2, "num_classes": 2, "seed": 0}
    module = LinearModel(**common) if model == "linear" else FullyConnected(**common, hidden=[8], activation=model)
    module.load_state_dict(kept)
    return module


@pytest.mark.parametrize(
    ("figure", "model"),
    [*(("boundaries", model) for model in figures.STILL), *(("boundaries_forming", model) for model in figures.FILM)],
)
def test_regions_are_what_the_trained_network_decides(results, drawn, figure, model):
    gid = f"regions/{model}" if figure == "boundaries" else f"film/{model}"
    image = artist(drawn[figure].figure, gid)
    shown = np.asarray(image.get_array())
    module = trained(results.plan.directory / condition_of(model, "") / "seed=1000", model)
    left, right, bottom, top = image.get_extent()
    n = figures.FINENESS
    x = np.tile(np.linspace(left, right, n), n)
    y = np.repeat(np.linspace(bottom, top, n), n)
    outputs = module(torch.tensor(np.stack([x, y], axis=1), dtype=torch.float32)).detach()
    clear = ((outputs[:, 1] - outputs[:, 0]).abs() > 1e-5).numpy()
    decided = outputs.argmax(1).numpy()
    assert image.origin == "lower"
    assert clear.mean() > 0.9
    assert (shown.reshape(-1)[clear] == decided[clear]).all()


def test_points_are_the_test_sample_of_the_first_seed(results, drawn):
    from datamodules import Boolean

    stored = yaml.safe_load((results.plan.directory / "base" / "seed=1000" / "config.yaml").read_text())
    data = Boolean(**{**stored["data"]["init_args"], "seed": 1000})
    data.setup()
    x, y = (part[: figures.SHOWN_POINTS] for part in data.test)
    for label in (0, 1):
        shown = np.stack(line(drawn["boundaries"].figure, f"points/regions/tanh/{label}"), axis=1)
        assert shown == pytest.approx(x[y == label].numpy())


@pytest.mark.slow
def test_the_film_has_a_picture_for_every_recorded_step(shared, results):
    regions = figures.regions_of(results.of({})[0])
    assert regions.steps == [0, 8]
    assert not (regions.decided[0] == regions.decided[1]).all()
    path = shared.save("nonlinearity", "boundaries_forming") / "boundaries_forming.gif"
    with Image.open(path) as film:
        assert film.n_frames >= 2
    assert path.stat().st_size < 1_500_000


def test_below_a_sign_nothing_moves(frame):
    frozen = frame.loc[frame["condition"] == "activation=sign", "first_layer_movement"]
    moved = frame.loc[frame["condition"] == "base", "first_layer_movement"]
    assert (frozen == 0).all()
    assert (moved > 0).all()


def test_data_sets_keep_their_own_noise(results):
    """The Lightning CLI hands the noise of the XOR on to a class that has one too."""
    for data, noise in (("moons", 0.15), ("circles", 0.1), ("linear_moons", 0.15), ("linear_circles", 0.1)):
        stored = yaml.safe_load((results.plan.directory / data / "seed=1000" / "config.yaml").read_text())
        assert stored["data"]["init_args"]["noise"] == noise


def test_pairs_name_the_same_data_set():
    grid = Grid.build("nonlinearity", experiment.experiment, "quick", "generated")
    for claim in experiment.experiment.claims:
        if claim.contrast:
            data = [grid.merged(grid.find(o, claim.id))["data"]["class_path"] for o in claim.conditions]
            assert data[::2] == data[1::2], claim.id
