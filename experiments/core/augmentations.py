"""`python -m experiments augmentations`: a picture of what an augmentation does to the images of a data set."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

import datamodules
from datamodules.augmentation import Augmentation, parse_operations
from datamodules.base import InMemoryDataModule
from datamodules.image_operations import POLICIES, Operation, Policy, one_by_one
from datamodules.loader import generator
from experiments.core import drawing
from experiments.core.errors import UserError, check_known

COLUMNS = 5
FORMATS = (".png", ".svg", ".pdf")
# The five of the slide "Augmented data", by their place in torchvision's list, where the first has another magnitude.
ON_THE_SLIDE = {"autoaugment_svhn": (0, 16, 5, 3, 23)}
UNDER_SUB_POLICIES = "Each operation with its magnitude, then its probability p and its level of magnitude, 0 to 9."
UNDER_DRAWS = "Under each image: what was drawn for it."

LEVELS = {"autoaugment": 10, "trivial_augment": 31}
# Magnitude of the highest level; levels are evenly spaced from 0. Cubuk et al. 2018, table 6, whose translations are
# for images of 331 pixels; Müller and Hutter 2021, table 1 ("wide").
LARGEST = {
    "autoaugment": {"Shear": 0.3, "Translate": 150 / 331, "Rotate": 30.0, "enhance": 0.9, "Posterize": 4},
    "trivial_augment": {"Shear": 0.99, "Translate": 32.0, "Rotate": 135.0, "enhance": 0.99, "Posterize": 6},
}
ENHANCEMENTS = ("Brightness", "Color", "Contrast", "Sharpness")
# Without a magnitude, and with one that has no sign.
PLAIN, UNSIGNED = ("Identity", "AutoContrast", "Equalize", "Invert"), ("Posterize", "Solarize")
# In the order in which torchvision draws from them.
TRIVIAL = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    *(*ENHANCEMENTS, "Posterize", "Solarize", "AutoContrast", "Equalize"),
)


@dataclass(frozen=True)
class Cell:
    """An image, (channels, height, width) in [0, 1], and the lines under it."""

    image: Tensor
    lines: Sequence[str] = ()


def draw(*, data: str, policy: str, seed: int, rows: int, size: int | None, out: str | None) -> int:
    """Draw the picture and print where it is.

    AutoAugment is shown as on the slide: one image, a column for each of five sub-policies, a row for each draw. For
    all others a row is a training image, and its columns are what the first five epochs show of it with this seed.

    Args:
        data: data set, by the name of its class or by its name in results.
        policy: one entry of the option `augmentation` of data sets.
        seed: chooses the images and the draws.
        rows: rows of the picture.
        size: side of the images, for data sets that have this option.
        out: the file; otherwise one in `runs/augmentations/`.

    Raises:
        UserError: an unknown name, a data set without images, or a file that cannot be written.
    """
    known = {name: getattr(datamodules, word) for word in datamodules.__all__ for name in (word, _name(word))}
    check_known("data set", data, known)
    file = Path(out) if out else _file(known[data].__name__, policy, seed, size)
    if file.suffix not in FORMATS:
        raise UserError(f"--out must end in {', '.join(FORMATS)}; it is '{file}'")
    try:
        figure = picture(known[data], policy, seed=seed, rows=rows, size=size)
    except (OSError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=144)
    except OSError as error:
        raise UserError(f"'{file}' cannot be written: {error.strerror}") from error
    print(file)
    return 0


def picture(cls: type[InMemoryDataModule], policy: str, *, seed: int, rows: int, size: int | None = None) -> Figure:
    """Return the picture that `draw` saves: the original first in every row.

    Args:
        cls: data set.
        policy: one entry of the option `augmentation` of data sets.
        seed: chooses the images and the draws.
        rows: rows of the picture.
        size: side of the images, for data sets that have this option.

    Raises:
        UserError: the images of this data set have one size.
        ValueError: an unknown augmentation, or a data set without images.
        OSError: the data cannot be read.
    """
    (operation,) = parse_operations([policy])
    images = _images(cls, seed, size)
    in_columns = _sub_policies(operation) is not None
    return _figure(
        _cells(operation, images, seed, rows),
        title=f"{cls.__name__}, augmentation: {policy}",
        headings=[f"{'sub-policy' if in_columns else 'epoch'} {number}" for number in range(1, COLUMNS + 1)],
        row="draw" if in_columns else "image",
        foot=UNDER_SUB_POLICIES if in_columns else UNDER_DRAWS,
    )


def _name(word: str) -> str:
    return str(getattr(datamodules, word).name)


def _file(data: str, policy: str, seed: int, size: int | None) -> Path:
    words = re.sub(r"[^\w.=]+", "_", policy).strip("_")
    return Path("runs") / "augmentations" / f"{data}{'' if size is None else size}-{words}-seed={seed}.png"


def _images(cls: type[InMemoryDataModule], seed: int, size: int | None) -> Tensor:
    """Read the training images of a data set, (n, channels, height, width), pixels from 0, black, to 1."""
    options: dict[str, Any] = {} if size is None else {"size": size}
    if options and "size" not in inspect.signature(cls).parameters:
        raise UserError(f"--size does nothing here: the images of {cls.__name__} have one size")
    module = cls(batch_size="full", seed=seed, standardize=False, **options)
    module.setup()
    return module.train[0]


def _sub_policies(operation: Operation) -> Sequence[int] | None:
    """Return which sub-policies of AutoAugment to show; none of another augmentation."""
    if not operation.name.startswith("autoaugment"):
        return None
    return ON_THE_SLIDE.get(operation.name, range(COLUMNS))


def _cells(operation: Operation, images: Tensor, seed: int, rows: int) -> list[list[Cell]]:
    augmented = Augmentation([operation], images, seed=seed)
    chosen = _sub_policies(operation)
    if chosen is not None:
        first = images[:1].expand(rows, -1, -1, -1)
        columns = [_sub_policy(operation.name, index, first, seed) for index in chosen]
        return [[Cell(images[0]), *row] for row in zip(*columns, strict=True)]
    shown = torch.arange(rows) % len(images)
    cells = [[Cell(image)] for image in images[shown]]
    for epoch in range(COLUMNS):
        (drawn,) = augmented.drawn(epoch)
        for row, image, draw_of_row in zip(cells, augmented(shown, epoch), drawn[shown], strict=True):
            row.append(Cell(image, describe(operation, draw_of_row)))
    return cells


def _sub_policy(name: str, index: int, x: Tensor, seed: int) -> list[Cell]:
    """Apply one sub-policy of AutoAugment to each of some images; the last says what it is."""
    transform: Any = POLICIES[name]()
    transform.policies = [transform.policies[index]]
    seeds = torch.randint(2**62, (len(x),), generator=generator(seed, f"augmentation/{name}/{index}"))
    cells = [Cell(image) for image in one_by_one(transform, x, seeds)]
    lines: list[str] = []
    for operation, probability, level in transform.policies[0]:
        amount = "" if level is None else say(operation, magnitude("autoaugment", operation, level, x.shape[2:]), "±")
        lines += [
            f"{operation} {amount}".strip(),
            f"p = {probability:g}" + ("" if level is None else f", level {level}"),
        ]
    return [*cells[:-1], Cell(cells[-1].image, lines)]


def magnitude(policy: str, operation: str, level: int, size: Sequence[int]) -> float:
    """Return what a level of an operation means, without its sign.

    Args:
        policy: "autoaugment" or "trivial_augment".
        operation: one that has levels.
        level: 0 to 9 of AutoAugment, 0 to 30 of TrivialAugment.
        size: height and width of the images.

    Returns:
        Shear as a tangent, translation in pixels, rotation in degrees, change of an enhancement factor from 1, bits
        that stay of 8, or the brightness (of 255) from which on pixels are inverted.
    """
    largest, share = LARGEST[policy], level / (LEVELS[policy] - 1)
    if operation == "Posterize":
        return 8 - round(share * largest["Posterize"])
    if operation == "Solarize":
        return 255 * (1 - share)
    if operation.startswith("Translate"):
        side = size["YX".index(operation[-1])] if policy == "autoaugment" else 1
        return int(share * largest["Translate"] * side)
    key = "enhance" if operation in ENHANCEMENTS else operation.rstrip("XY")
    return share * largest[key]


def say(operation: str, amount: float, sign: str) -> str:
    """Write a magnitude with its unit: sign is "±" for either one, otherwise "+" or "−"."""
    if operation == "Posterize":
        return f"{amount:g} bits"
    if operation == "Solarize":
        return f"≥ {amount:.0f}"
    if operation in ENHANCEMENTS:
        return f"{sign}{amount:.0%}".replace("%", " %")
    if operation.startswith("Translate"):
        return f"{sign}{amount:g} px"
    return f"{sign}{amount:.0f}°" if operation == "Rotate" else f"{sign}{amount:.2f}"


def trivial(seed: int, size: Sequence[int]) -> tuple[str, float]:
    """Return the operation and the signed magnitude (0 without one) that TrivialAugment draws from this seed."""
    draws = torch.Generator().manual_seed(seed)

    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=draws))

    operation = TRIVIAL[below(len(TRIVIAL))]
    if operation in PLAIN:
        return operation, 0.0
    amount = magnitude("trivial_augment", operation, below(LEVELS["trivial_augment"]), size)
    return operation, -amount if operation not in UNSIGNED and below(2) else amount


def describe(operation: Operation, drawn: Tensor) -> list[str]:
    """Say in short lines what was drawn for one image: one row of the operation's table."""
    if isinstance(operation, Policy):
        # The size matters to AutoAugment alone.
        name, amount = trivial(int(drawn), (1, 1))
        return [name, "" if name in PLAIN else say(name, abs(amount), "−" if amount < 0 else "+")]
    values = drawn.reshape(-1).tolist()
    if operation.name == "shift":
        return [_moved(*values)]
    if operation.name == "flip":
        return ["mirrored" if values[0] else "as it was"]
    if operation.name == "erase":
        _, _, height, width = values
        return [f"{height} × {width} erased" if height * width else "as it was"]
    angle, right, down, scale, along_rows, along_columns = values
    shear = f"shear {_signed(along_rows)}, {_signed(along_columns)}"
    return [f"{_signed(angle)}, × {scale:.2f}", _moved(round(right, 1), round(down, 1)), shear]


def _signed(degrees: float) -> str:
    return f"{round(degrees):+d}°".replace("-", "−").replace("+0", "0")


def _moved(right: float, down: float) -> str:
    across = f"{abs(right):g} {'right' if right > 0 else 'left'}" if right else ""
    along = f"{abs(down):g} {'down' if down > 0 else 'up'}" if down else ""
    return ", ".join(word for word in (across, along) if word) or "not moved"


def _figure(cells: Sequence[Sequence[Cell]], *, title: str, headings: Sequence[str], row: str, foot: str) -> Figure:
    """Draw a grid of images: the headings above all columns but the first, the lines of each cell under it."""
    lines = [max(len(cell.lines) for cell in line) for line in cells]
    height, width = cells[0][0].image.shape[1:]
    with mpl.rc_context(drawing.STYLE):
        figure = drawing.new_figure(1.6 + len(cells) * 2.0 * height / width + 0.28 * sum(lines))
        figure.suptitle(title, fontsize=20, fontweight="bold")
        figure.supxlabel(foot, fontsize=drawing.SMALL, color=drawing.GREY)
        grid = figure.subplots(len(cells), len(headings) + 1, squeeze=False)
        for number, (line, places) in enumerate(zip(cells, grid, strict=True), start=1):
            for cell, axes in zip(line, places, strict=True):
                axes.imshow(cell.image.permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(True)  # around a white image
                axes.set_xlabel("\n".join(cell.lines), fontsize=drawing.SMALL)
            places[0].set_ylabel(f"{row} {number}")
        for heading, axes in zip(["original", *headings], grid[0], strict=True):
            axes.set_title(heading, loc="center")
    return figure
