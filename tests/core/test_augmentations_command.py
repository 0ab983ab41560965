"""The picture of an augmentation: what it says against torchvision, and what it shows against training."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode, TrivialAugmentWide
from torchvision.transforms.v2 import functional as F

import datamodules
from datamodules import Digits
from datamodules.base import InMemoryDataModule, Source
from experiments.core import augmentations
from experiments.core.augmentations import LARGEST, PLAIN, TRIVIAL, magnitude, say, trivial
from experiments.core.drawing import SMALL

SVHN = AutoAugment(AutoAugmentPolicy.SVHN).policies
HEIGHT, WIDTH = 19, 32


def picture() -> Tensor:
    return torch.randint(0, 256, (3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def applied(x: Tensor, operation: str, amount: float) -> Tensor:
    """An operation by its public name in torchvision, with a signed magnitude in the units of `magnitude`."""
    shear = [float(torch.tensor(amount).atan().rad2deg()), 0.0]
    nearest = InterpolationMode.NEAREST
    moved = {
        "ShearX": lambda: F.affine(x, 0, [0, 0], 1, shear, nearest, center=[0, 0]),
        "ShearY": lambda: F.affine(x, 0, [0, 0], 1, shear[::-1], nearest, center=[0, 0]),
        "TranslateX": lambda: F.affine(x, 0, [int(amount), 0], 1, [0, 0], nearest),
        "TranslateY": lambda: F.affine(x, 0, [0, int(amount)], 1, [0, 0], nearest),
        "Rotate": lambda: F.rotate(x, amount, nearest),
        "Brightness": lambda: F.adjust_brightness(x, 1 + amount),
        "Color": lambda: F.adjust_saturation(x, 1 + amount),
        "Contrast": lambda: F.adjust_contrast(x, 1 + amount),
        "Sharpness": lambda: F.adjust_sharpness(x, 1 + amount),
        "Posterize": lambda: F.posterize(x, int(amount)),
        "Solarize": lambda: F.solarize(x, amount),
        "AutoContrast": lambda: F.autocontrast(x),
        "Equalize": lambda: F.equalize(x),
        "Invert": lambda: F.invert(x),
        "Identity": lambda: x,
    }
    return moved[operation]()


def close(one: Tensor, other: Tensor) -> bool:
    """Whether 8-bit images are the same: up to rounding, and up to pixels that lie on the edge between two others."""
    return bool(((one.int() - other.int()).abs() > 1).float().mean() < 0.01)


WITH_LEVELS = [name for name in TRIVIAL if name not in PLAIN]


@pytest.mark.parametrize("operation", WITH_LEVELS)
def test_levels_of_autoaugment_mean_what_torchvision_does(operation):
    transform = AutoAugment(AutoAugmentPolicy.SVHN)
    for level in range(10):
        transform.policies = [((operation, 1.0, level), ("Invert", -1.0, None))]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(level)
            _, _, signs = AutoAugment.get_params(1)
            torch.manual_seed(level)
            result = transform(picture())
        amount = magnitude("autoaugment", operation, level, (HEIGHT, WIDTH))
        if operation not in ("Posterize", "Solarize") and signs[0] == 0:
            amount = -amount
        assert close(result, applied(picture(), operation, amount)), (level, amount)


def test_what_trivialaugment_draws_is_what_it_does():
    seen = set()
    for seed in range(300):
        operation, amount = trivial(seed, (HEIGHT, WIDTH))
        seen.add((operation, amount < 0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            assert close(TrivialAugmentWide()(picture()), applied(picture(), operation, amount)), (
                seed,
                operation,
                amount,
            )
    assert len(seen) == 14 + 9  # nine of them have a sign


def test_the_slide_s_sub_policies_are_torchvision_s_but_for_one_magnitude():
    slide = [
        (("ShearX", 0.9, 7), ("Invert", 0.2, None)),
        (("ShearY", 0.7, 6), ("Solarize", 0.4, 8)),
        (("ShearX", 0.9, 4), ("AutoContrast", 0.8, None)),
        (("Invert", 0.9, None), ("Equalize", 0.6, None)),
        (("ShearY", 0.8, 5), ("AutoContrast", 0.7, None)),
    ]
    chosen = [SVHN[index] for index in augmentations.ON_THE_SLIDE["autoaugment_svhn"]]
    assert chosen[1:] == slide[1:]
    assert chosen[0] == (("ShearX", 0.9, 4), ("Invert", 0.2, None))
    assert slide[0] not in SVHN


@pytest.mark.parametrize(
    ("operation", "amount", "sign", "text"),
    [
        ("ShearX", 0.1333, "±", "±0.13"),
        ("TranslateY", 12, "−", "−12 px"),
        ("Rotate", 10.0, "+", "+10°"),
        ("Contrast", 0.3, "±", "±30 %"),
        ("Posterize", 5, "±", "5 bits"),
        ("Solarize", 28.3, "±", "≥ 28"),
    ],
)
def test_magnitudes_have_units(operation, amount, sign, text):
    assert say(operation, amount, sign) == text


def test_tables_name_every_operation():
    assert all(
        {name.rstrip("XY") for name in WITH_LEVELS} - set(table) <= {*augmentations.ENHANCEMENTS, "Solarize"}
        for table in LARGEST.values()
    )


@pytest.fixture
def drawn(command, monkeypatch):
    """Call the command; gives the figure, of which the axes lie row by row, and the file that it says it wrote."""

    def call(*args: str) -> tuple[Figure, Path]:
        figures = []
        save = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
        answer = command("augmentations", "--data=Digits", *args)
        assert answer.code == 0, answer.err
        (figure,) = figures
        return figure, Path(answer.out.strip())

    return call


def pixels(axes) -> Tensor:
    return torch.tensor(axes.images[0].get_array())


def test_autoaugment_is_shown_as_on_the_slide(drawn):
    figure, file = drawn()
    assert file == Path("runs/augmentations/Digits-autoaugment_svhn-seed=1000.png")
    assert file.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3 * 6
    under = [axes.get_xlabel() for axes in figure.axes]
    assert under[:13] == [""] * 13
    assert under[13:] == [
        "ShearX ±0.13\np = 0.9, level 4\nInvert\np = 0.2",
        "ShearY ±0.20\np = 0.7, level 6\nSolarize ≥ 28\np = 0.4, level 8",
        "ShearX ±0.13\np = 0.9, level 4\nAutoContrast\np = 0.8",
        "Invert\np = 0.9\nEqualize\np = 0.6",
        "ShearY ±0.17\np = 0.8, level 5\nAutoContrast\np = 0.7",
    ]
    original = pixels(figure.axes[0])
    module = Digits(batch_size="full", seed=1000, standardize=False)
    module.setup()
    assert torch.equal(original, module.train[0][0, 0])
    # Column by column, each image is what one of the outcomes of its sub-policy gives.
    x = (original * 255).round().to(torch.uint8)[None]
    for column, sub_policy in enumerate([SVHN[i] for i in (0, 16, 5, 3, 23)], start=1):
        outcomes = []
        for hits in itertools.product([False, True], repeat=2):
            for sign in (1, -1):
                result = x
                for (operation, _, level), hit in zip(sub_policy, hits, strict=True):
                    amount = 0.0 if level is None else magnitude("autoaugment", operation, level, (8, 8))
                    result = (
                        applied(result, operation, amount if operation == "Solarize" else sign * amount)
                        if hit
                        else result
                    )
                outcomes.append(result[0])
        for row in range(3):
            shown = (pixels(figure.axes[6 * row + column]) * 255).round().to(torch.uint8)
            assert any(((shown.int() - outcome.int()).abs() <= 1).all() for outcome in outcomes)


@pytest.mark.parametrize("policy", ["affine", "erase", "trivial_augment"])
def test_other_pictures_show_what_training_shows(drawn, policy):
    figure, _ = drawn(f"--policy={policy}", "--seed=7", "--rows=2")
    module = Digits(batch_size="full", seed=7, standardize=False, augmentation=[policy])
    module.setup()
    inputs = module.train_dataloader().samples.inputs
    assert len(figure.axes) == 2 * 6
    for epoch in range(5):
        for row, x in enumerate(inputs(torch.arange(2), epoch)):
            torch.testing.assert_close(pixels(figure.axes[6 * row + epoch + 1]), x[0], rtol=0, atol=1e-6)


def test_what_was_drawn_stands_under_the_image(drawn):
    figure, _ = drawn("--policy=shift(3)", "--rows=2")
    for place, axes in enumerate(figure.axes):
        words = axes.get_xlabel().replace("not moved", "").split(", ")
        offset = {"left": 0, "right": 0, "up": 0, "down": 0} | {w.split()[1]: int(w.split()[0]) for w in words if w}
        right, down = offset["right"] - offset["left"], offset["down"] - offset["up"]
        original, moved = pixels(figure.axes[place - place % 6]), pixels(axes)
        expected = torch.zeros_like(original)
        for i, j in itertools.product(range(8), range(8)):
            if 0 <= i + down < 8 and 0 <= j + right < 8:
                expected[i + down, j + right] = original[i, j]
        assert torch.equal(moved, expected)


@pytest.mark.parametrize("policy", ["autoaugment_cifar10", "affine"])
def test_the_picture_can_be_read_in_a_lecture_room(drawn, policy):
    figure, _ = drawn(f"--policy={policy}")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [
        text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label) if text.get_text()
    ]
    texts += figure.texts
    assert len(texts) >= 6 + 3 + 5 + 2
    boxes = [text.get_window_extent(renderer) for text in texts]
    images = [axes.get_window_extent(renderer) for axes in figure.axes]
    assert all(text.get_fontsize() >= SMALL for text in texts)
    for one, other in itertools.combinations([*boxes, *images], 2):
        assert not one.overlaps(other)
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1 for box in boxes)


class Photographs(InMemoryDataModule):
    """Forty colour images, wider than high."""

    name = "photographs"
    num_classes = 2
    sample_shape = (3, 6, 9)

    def __init__(self, **options) -> None:
        super().__init__(num_train=20, num_val=10, num_test=10, **options)

    def load(self) -> Source:
        return Source(torch.rand(40, 3, 6, 9, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2)

    def features(self, x: Tensor) -> Tensor:
        return x


class Table(Photographs):
    name = "table"
    sample_shape = (3,)

    def features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.fixture
def more_data(monkeypatch):
    monkeypatch.setattr(datamodules, "__all__", ["Digits", "Photographs", "Table"])
    monkeypatch.setattr(datamodules, "Photographs", Photographs, raising=False)
    monkeypatch.setattr(datamodules, "Table", Table, raising=False)


def test_colours_rows_and_a_file_of_one_s_own(command, more_data, here):
    answer = command("augmentations", "--data=photographs", "--policy=erase(1)", "--rows=2", "--out=some/where.svg")
    assert (answer.code, answer.out) == (0, "some/where.svg\n")
    assert "<svg" in (here / "some" / "where.svg").read_text()


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--policy=flpi", "unknown augmentation 'flpi': did you mean 'flip'? valid: shift, flip, affine, erase, "),
        ("--policy=shift(8)", "augmentation shift: pixels must be < 8, the side of an image, not 8"),
        ("--data=Digts", "unknown data set 'Digts'; did you mean 'Digits'?"),
        ("--data=Table", "augmentation needs images, and the samples here are of shape (3,)"),
        ("--size=28", "--size does nothing here: the images of Digits have one size"),
        ("--size=a", "argument --size: must be a whole number of at least 1; it is 'a'"),
        ("--rows=0", "argument --rows: must be a whole number of at least 1; it is 0"),
        ("--seed=-1", "seed must be >= 0, not -1"),
        ("--seed=a", "argument --seed: invalid int value: 'a'"),
        ("--out=a.txt", "--out must end in .png, .svg, .pdf; it is 'a.txt'"),
        ("--out=file/a.png", "'file/a.png' cannot be written: "),
        ("--polcy=flip", "unknown option '--polcy=flip'; did you mean '--policy'?"),
        ("--model.depth=3", "unknown option '--model.depth=3'"),
    ],
)
def test_a_mistake_is_one_line(command, more_data, here, option, line):
    (here / "file").write_text("in the way")
    options = {"--data": "Digits"} | dict([option.split("=", 1)])
    answer = command("augmentations", *(f"{name}={value}" for name, value in options.items()))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {line}")
    assert answer.err.count("\n") == 1
    assert not (here / "runs").exists()
