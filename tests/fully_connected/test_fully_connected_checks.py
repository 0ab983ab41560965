"""Checks, measures and sizes of the experiment, with right answers and with wrong formulas."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from datamodules import BreastCancer, Digits, Iris, Wine
from experiments.core.files import run_directory
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.plan import Options, make_plan
from experiments.core.grid.runs import Run
from experiments.fully_connected import checks, experiment, figures, measures
from lightning_modules.convolutional import ConvolutionalNetwork
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.parameters import matched_width, parameter_count

TABLES = {"iris": Iris, "wine": Wine, "breast_cancer": BreastCancer, "digits_table": Digits}


def overlay(name: str) -> dict:
    path = catalogue.folder("fully_connected") / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rearranged_weights_undo_rearranged_pixels(seed):
    found = checks.permutation_makes_no_difference(seed)
    assert found["draws"] >= 200
    assert found["error"] <= 1e-12


@pytest.mark.parametrize("wrong", [lambda first, _: first, lambda first, order: first[:, order.argsort()]])
def test_other_weights_do_not(wrong, monkeypatch):
    monkeypatch.setattr(checks, "rearranged", wrong)
    assert checks.permutation_makes_no_difference(0)["error"] > 1e-2


@pytest.fixture(scope="module")
def layers():
    state = torch.get_rng_state()
    found = checks.torchvision_layers(0)
    assert torch.equal(state, torch.get_rng_state())
    return found


def test_families_of_torchvision_and_their_layers(layers):
    """What the papers say: SqueezeNet alone ends in a convolution, transformers normalise by layers."""
    assert layers["families"] == sum(key.startswith("linear/") for key in layers) >= 17
    assert [key for key in layers if key.startswith("linear/") and not layers[key]] == ["linear/squeezenet"]
    assert layers["linear"] == pytest.approx(1 - 1 / layers["families"])
    for family, has in {
        "alexnet": (0, 0, 1),
        "resnet": (1, 0, 0),
        "vision_transformer": (0, 1, 1),
        "swin_transformer": (0, 1, 1),
        "densenet": (1, 0, 0),
    }.items():
        assert tuple(layers[f"{kind}/{family}"] for kind in ("batch_norm", "layer_norm", "dropout")) == has


def test_a_family_is_represented_by_its_smallest_member():
    members = checks._smallest_members()
    assert members["resnet"] == "resnet18"
    assert members["vgg"] == "vgg11"
    assert members["mnasnet"] == "mnasnet0_5"


def made_up(directory: Path, config: str, accuracy: float, seed: int = 1003) -> Run:
    content = {"data": overlay(config)["data"], "seed_everything": seed} if config in TABLES else {}
    (directory / run_directory.CONFIG).write_text(yaml.safe_dump(content), encoding="utf-8")
    recorded = {"test/accuracy": accuracy, "test/accuracy/shifted=2": 0.25}
    return Run(Condition((("config", config),)), seed, directory, {}, {"status": "ok", "measures": recorded})


@pytest.mark.parametrize("config", ["iris", "wine"])
def test_scikit_learn_on_the_same_split(config, tmp_path):
    data = TABLES[config](batch_size=15, seed=1003)
    data.setup()
    (x, y), (test_x, test_y) = data.train, data.test
    run = made_up(tmp_path, config, accuracy=0.9)
    logistic = LogisticRegression(max_iter=1000).fit(x, y).score(test_x, test_y)
    forest = RandomForestClassifier(random_state=1003).fit(x, y).score(test_x, test_y)
    assert measures.test_logistic(run) == logistic
    assert measures.test_forest(run) == forest
    assert measures.test_minus_logistic(run) == pytest.approx(0.9 - logistic, abs=1e-6)
    assert measures.test_minus_forest(run) == pytest.approx(0.9 - forest, abs=1e-6)
    assert measures.test_shift_loss(run) == pytest.approx(0.65)


def test_single_precision_makes_no_spread(tmp_path):
    """Equal scores of three seeds must be seen as equal: a spread of 1e-8 would make any interval tiny."""
    run = made_up(tmp_path, "iris", accuracy=float(torch.tensor(29 / 30)))
    logistic = measures.test_logistic(run)
    assert measures.test_minus_logistic(run) == round(29 / 30 - logistic, 6)


def test_of_images_no_classifier_is_fitted(tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "fitted_score", None)
    assert math.isnan(measures.test_logistic(made_up(tmp_path, "convolutional", accuracy=0.9)))
    assert math.isnan(measures.test_minus_forest(made_up(tmp_path, "convolutional", accuracy=0.9)))


def test_the_interaction_is_what_rearranging_costs_the_first_network_more(tmp_path):
    run = made_up(tmp_path, "convolutional", accuracy=0.0)
    points = [(run, value) for value in (0.84, 0.82, 0.80, 0.825)]
    assert measures.permutation_interaction(points) == pytest.approx((0.84 - 0.80) - (0.82 - 0.825))


def test_conditions_of_the_interaction_are_in_its_order():
    plan = make_plan("fully_connected", Options())
    claims = {claim.id: claim for claim in plan.grid.experiment.claims}
    for name, config in (("L27-neighbourhood", ""), ("L27-text-order", "text_")):
        found = [plan.grid.find(overrides, name).overrides for overrides in claims[name].used_conditions]
        fully = {"config": "text_fully_connected"} if config else {}
        first = {"config": f"{config}convolutional"}
        assert found == [first, fully, {**first, "permute": True}, {**fully, "permute": True}]


@pytest.mark.parametrize(
    ("shape", "convolutional", "fully_connected"),
    [
        ((1, 28, 28), "convolutional", "base"),
        ((1, 8, 8), "convolutional", "digits"),
        ((48, 64), "text_convolutional", "text_fully_connected"),
    ],
)
def test_both_networks_have_as_many_parameters(shape, convolutional, fully_connected):
    arguments = overlay(convolutional)["model"]["init_args"]
    own = {name: arguments[name] for name in ("kernel_size", "head") if name in arguments}
    target = parameter_count(ConvolutionalNetwork(shape, 10, arguments["channels"], seed=0, **own))
    features = math.prod(shape)
    width = matched_width(target, lambda width: FullyConnectedNetwork(features, 10, [width], seed=0))
    assert overlay(fully_connected)["model"]["init_args"]["width"] == width
    assert parameter_count(FullyConnectedNetwork(features, 10, [width], seed=0)) == pytest.approx(target, rel=0.06)


@pytest.mark.parametrize("config", TABLES)
def test_test_samples_are_as_many_as_the_resolution_says(config):
    arguments = overlay(config)["data"]["init_args"]
    assert arguments["num_test"] == experiment.TESTED[config]
    data = TABLES[config](**arguments, seed=1000)
    data.setup()
    assert len(data.test[0]) == experiment.TESTED[config]


def test_both_lists_of_tables_are_the_same():
    assert list(experiment.TABLES) == list(figures.TABLES) == list(measures.TABLES) == list(TABLES)
