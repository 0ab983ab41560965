"""The experiment `augmentation` at smoke scale: its figures against results.csv, its table against torchvision."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
import yaml
from made_images import made_images
from smoke_results import Shared
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms.v2 import functional as F

import datamodules
from experiments.augmentation import checks
from experiments.core.files.yaml import load_yaml, merge
from experiments.core.grid import catalogue
from experiments.core.grid.plan import Options, make_plan
from experiments.core.report.drawing import SMALL, Drawing


@pytest.fixture(scope="module")
def drawn(shared: Shared) -> Mapping[str, Drawing]:
    return shared.drawings("augmentation")


def test_sub_policies_are_shown_as_on_the_slide(drawn):
    axes = drawn["sub_policies"].figure.axes
    assert len(axes) == 3 * 6
    assert [a.get_title() for a in axes[:6]] == ["original", *(f"sub-policy {k}" for k in range(1, 6))]
    originals = [torch.tensor(a.images[0].get_array()) for a in axes[::6]]
    assert all(torch.equal(original, originals[0]) for original in originals)
    under = [a.get_xlabel().split("\n") for a in axes[-5:]]
    table = [checks.FIRST, *checks.TABLE[1:]]
    for lines, entry in zip(under, table, strict=True):
        for k, (operation, probability, level) in enumerate(entry):
            assert lines[2 * k].startswith(operation)
            assert lines[2 * k + 1] == f"p = {probability:g}" + ("" if level is None else f", level {level}")
            if operation.startswith("Shear"):
                assert lines[2 * k] == f"{operation} ±{0.3 * level / 9:.2f}"
    assert under[1][2] == "Solarize ≥ 28"
    assert drawn["sub_policies"].figure.get_suptitle() == ""


def applied(x: torch.Tensor, operation: str, level: int | None, sign: int) -> torch.Tensor:
    """An operation on 8-bit pixels by its public name in torchvision."""
    share = (level or 0) / 9
    shear = [sign * float(torch.tensor(0.3 * share).atan().rad2deg()), 0.0]
    changed = {
        "ShearX": lambda: F.affine(x, 0, [0, 0], 1, shear, center=[0, 0]),
        "ShearY": lambda: F.affine(x, 0, [0, 0], 1, shear[::-1], center=[0, 0]),
        "Solarize": lambda: F.solarize(x, 255 * (1 - share)),
        "AutoContrast": lambda: F.autocontrast(x),
        "Equalize": lambda: F.equalize(x),
        "Invert": lambda: F.invert(x),
    }
    return changed[operation]()


def test_each_image_is_what_an_outcome_of_its_sub_policy_gives(drawn):
    axes = drawn["sub_policies"].figure.axes
    pixels = [(torch.tensor(a.images[0].get_array()) * 255).round().to(torch.uint8) for a in axes]
    for column, sub_policy in enumerate([checks.FIRST, *checks.TABLE[1:]], start=1):
        outcomes = []
        for hits, sign in itertools.product(itertools.product([False, True], repeat=2), (1, -1)):
            result = pixels[0][None]
            for (operation, _, level), hit in zip(sub_policy, hits, strict=True):
                result = applied(result, operation, level, sign) if hit else result
            outcomes.append(result[0])
        for row in range(3):
            shown = pixels[6 * row + column]
            assert any(((shown.int() - outcome.int()).abs() <= 1).all() for outcome in outcomes)


def test_the_sub_policies_can_be_read_in_a_lecture_room(drawn):
    figure = drawn["sub_policies"].figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [t for a in figure.axes for t in (a.title, a.xaxis.label, a.yaxis.label) if t.get_text()]
    texts += [text for text in figure.texts if text.get_text()]
    assert len(texts) == 6 + 5 + 3 + 1
    assert all(text.get_fontsize() >= SMALL for text in texts)
    boxes = [part.get_window_extent(renderer) for part in (*texts, *figure.axes)]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)


def test_the_table_is_torchvision_s_but_for_one_magnitude():
    known = AutoAugment(AutoAugmentPolicy.SVHN).policies
    found = checks.sub_policies(1000)
    assert found["found"] == 4 == sum(entry in known for entry in checks.TABLE)
    assert found["counterexamples"] == 1
    assert found["error"] == 0
    assert found["draws"] == 5 * len(known)


@pytest.mark.parametrize(
    "wrong", [(("ShearX", 0.9, 5), ("Invert", 0.2, None)), (("ShearY", 0.9, 4), ("Invert", 0.2, None))]
)
def test_another_first_entry_fails(monkeypatch, wrong):
    monkeypatch.setattr(checks, "FIRST", wrong)
    assert checks.sub_policies(1000)["error"] == 1


def config_of(name: str) -> dict:
    folder = catalogue.ROOT / "augmentation"
    base = load_yaml(folder / "base.yaml")
    return base if name == "base" else merge(base, load_yaml(folder / f"{name}.yaml"))


@made_images()
@pytest.mark.parametrize(
    "name", ["base", "shift_flip", "autoaugment", "trivial_augment", "erase", "duplicates", "new_images"]
)
def test_all_conditions_train_for_equally_many_steps_on_batches_of_a_size(name):
    config = config_of(name)
    data = getattr(datamodules, config["data"]["class_path"])(**config["data"]["init_args"], seed=100)
    data.setup()
    assert len(data.train_dataloader()) * config["trainer"]["max_epochs"] == 400
    assert config["trainer"]["max_epochs"] % config["trainer"]["check_val_every_n_epoch"] == 0
    assert data.batch_size == 100


@made_images()
def test_mass_is_equal_and_new_images_contain_the_old_ones():
    parts = {}
    for name in ("base", "duplicates", "new_images", "autoaugment"):
        init = config_of(name)["data"]["init_args"]
        parts[name] = datamodules.FashionMNIST(**{**init, "standardize": False}, seed=100)
        parts[name].setup()
    small, duplicated, large = (parts[name].train[0] for name in ("base", "duplicates", "new_images"))
    assert len(duplicated) == len(large) == 4 * len(small)
    assert torch.equal(duplicated, small.repeat(4, 1, 1, 1))
    assert torch.equal(large[: len(small)], small)
    assert torch.equal(parts["base"].test[0], parts["new_images"].test[0])
    assert parts["autoaugment"].augmentation == ["autoaugment_svhn(copies=4)"]


def test_the_plan_tests_the_last_weights(tmp_path):
    plan = make_plan("augmentation", Options(runs=tmp_path))
    assert len(plan.grid.conditions) == 12
    (checkpoint,) = [
        c
        for c in yaml.safe_load((catalogue.ROOT / "augmentation" / "base.yaml").read_text())["trainer"]["callbacks"]
        if c["class_path"] == "BestWeights"
    ]
    assert checkpoint["init_args"]["monitor"] is None
