"""Operations of data augmentation: pure functions of a batch and one row of random parameters per sample.

Images x are (n, channels, height, width) with pixels from 0 (black) to 1. torchvision's transforms use the same random
parameters for all images of a batch; here each image has its own, in one gather or one `grid_sample` per batch.
torchvision's learnt policies have no batched form and are applied image by image.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, TrivialAugmentWide

MAX_PIXEL = 255


def shift(x: Tensor, offset: Tensor) -> Tensor:
    """Move every image by whole pixels, with black around it.

    Args:
        x: images, (n, channels, height, width).
        offset: pixels to the right and pixels down, (n, 2) int64.
    """
    height, width = x.shape[2:]
    from_row = torch.arange(height, device=x.device) - offset[:, 1:]
    from_column = torch.arange(width, device=x.device) - offset[:, :1]
    inside_rows, inside_columns = (from_row >= 0) & (from_row < height), (from_column >= 0) & (from_column < width)
    moved = x.gather(2, from_row.clamp(0, height - 1)[:, None, :, None].expand_as(x))
    moved = moved.gather(3, from_column.clamp(0, width - 1)[:, None, None, :].expand_as(x))
    return moved * (inside_rows[:, None, :, None] & inside_columns[:, None, None, :])


def flip(x: Tensor, mirrored: Tensor) -> Tensor:
    """Exchange left and right in some images.

    Args:
        x: images, (n, channels, height, width).
        mirrored: which images, (n,) bool.
    """
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def affine(x: Tensor, parameters: Tensor) -> Tensor:
    """Shear, rotate and scale every image about its centre, then move it; bilinear interpolation, black around it.

    The parameters are those of torchvision's `affine`.

    Args:
        x: images, (n, channels, height, width).
        parameters: (n, 6): angle in degrees, clockwise; pixels to the right; pixels down; factor of the size; shear
            along the rows, and along the columns, in degrees.
    """
    height, width = x.shape[2:]
    angle, right, down, scale, along_rows, along_columns = parameters.to(x.dtype).unbind(1)
    # The inverse map, from a pixel of the result to its origin in pixels from the centre.
    column = torch.arange(width, dtype=x.dtype, device=x.device) - (width - 1) / 2 - right[:, None]
    row = torch.arange(height, dtype=x.dtype, device=x.device) - (height - 1) / 2 - down[:, None]
    sine, cosine = (f(angle.deg2rad()) / scale for f in (torch.sin, torch.cos))
    row_shear, column_shear = along_rows.deg2rad().tan(), along_columns.deg2rad().tan()
    c, d = column_shear * cosine - sine, column_shear * sine + cosine
    a, b = cosine + row_shear * c, sine + row_shear * d
    # `grid_sample` uses units of half a side. These sums are faster than the matrix products of `affine_grid`.
    a, b, c, d = (factor[:, None] * 2 / side for factor, side in ((a, width), (b, width), (c, height), (d, height)))
    grid_x = (a * column)[:, None, :] + (b * row)[:, :, None]
    grid_y = (c * column)[:, None, :] + (d * row)[:, :, None]
    # Stacked and permuted, because writing the coordinates interleaved is slower.
    grid = torch.stack([grid_x, grid_y]).permute(1, 2, 3, 0)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def erase(x: Tensor, rectangles: Tensor) -> Tensor:
    """Set a rectangle of every image to black.

    Args:
        x: images, (n, channels, height, width).
        rectangles: top, left, height and width in pixels, (n, 4) int64; a height or width of 0 erases nothing.
    """
    top, left, height, width = rectangles[:, :, None].unbind(1)
    row, column = (torch.arange(side, device=x.device) for side in x.shape[2:])
    rows, columns = (row >= top) & (row < top + height), (column >= left) & (column < left + width)
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def one_by_one(transform: Callable[[Tensor], Tensor], x: Tensor, seeds: Tensor) -> Tensor:
    """Apply a transform of torchvision to each image, with 8-bit pixels.

    The transform uses the global generator, which is seeded for each image and restored afterwards.

    Args:
        transform: takes and returns one image, (channels, height, width) uint8.
        x: images, (n, channels, height, width), from 0 to 1.
        seeds: (n,) int64.
    """
    done = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip((x * MAX_PIXEL).round().to(torch.uint8).cpu(), seeds.tolist(), strict=True):
            # `torch.manual_seed` would also seed every accelerator.
            torch.default_generator.manual_seed(seed)
            done.append(transform(image))
    return torch.stack(done).to(x) / MAX_PIXEL


def validate_count(name: str, value: int) -> None:
    """Require a whole number of at least 1.

    Raises:
        ValueError: the value is smaller, or not a whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"augmentation {name} must be a whole number >= 1, not {value!r}")


def validate_range(name: str, value: float, high: float) -> None:
    """Require a number in [0, high].

    Raises:
        ValueError: the value is out of range, or not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise ValueError(f"augmentation {name} must be a number in [0, {high:g}], not {value!r}")


class Operation(ABC):
    """An augmentation with its strength; drawing the random parameters and applying them are separate."""

    name: str

    @abstractmethod
    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw the parameters of n images of (height, width) pixels, (n, …), row by row from the generator."""

    @abstractmethod
    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Change images x (n, channels, height, width) in [0, 1] by n rows of parameters."""

    def validate_shape(self, shape: Sequence[int]) -> None:
        """Validate the shape (channels, height, width) of the images.

        Raises:
            ValueError: the images are too small, or their number of channels is not supported.
        """
        return


@dataclass(frozen=True)
class Shift(Operation):
    """Move by up to `pixels` whole pixels in each direction; all offsets are equally likely."""

    name = "shift"
    pixels: int = 2

    def __post_init__(self) -> None:
        validate_count("shift: pixels", self.pixels)

    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw offsets (n, 2): right, down."""
        return torch.randint(-self.pixels, self.pixels + 1, (n, 2), generator=draws)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Apply `shift`."""
        return shift(x, drawn)

    def validate_shape(self, shape: Sequence[int]) -> None:
        """Refuse images that could be moved out of view."""
        if self.pixels >= min(shape[1:]):
            raise ValueError(
                f"augmentation shift: pixels must be < {min(shape[1:])}, the side of an image, not {self.pixels}"
            )


@dataclass(frozen=True)
class Flip(Operation):
    """Exchange left and right with a probability."""

    name = "flip"
    probability: float = 0.5

    def __post_init__(self) -> None:
        validate_range("flip: probability", self.probability, 1)

    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw which images are mirrored, (n,) bool."""
        return torch.rand(n, generator=draws) < self.probability

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Apply `flip`."""
        return flip(x, drawn)


@dataclass(frozen=True)
class Affine(Operation):
    """Rotate by up to ± `degrees`, move by up to ± `translation` of a side, scale by 1 ± `scale`, shear by ± `shear`.

    Each parameter is drawn uniformly; `shear`, in degrees, is drawn separately along rows and columns.
    """

    name = "affine"
    degrees: float = 15.0
    translation: float = 0.1
    scale: float = 0.1
    shear: float = 5.0

    def __post_init__(self) -> None:
        for name, high in {"degrees": 180, "translation": 1, "scale": 0.9, "shear": 60}.items():
            validate_range(f"affine: {name}", getattr(self, name), high)

    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw the parameters of `affine`, (n, 6)."""
        height, width = size
        move = self.translation
        largest = torch.tensor([self.degrees, move * width, move * height, self.scale, self.shear, self.shear])
        return (2 * torch.rand(n, 6, generator=draws) - 1) * largest + torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Apply `affine`."""
        return affine(x, drawn)


@dataclass(frozen=True)
class Erase(Operation):
    """Random erasing (Zhong et al. 2017) with a probability; areas and shapes as in torchvision's `RandomErasing`.

    A rectangle of 2 % to 33 % of the image, with height / width from .3 to 3.3, becomes black.
    """

    name = "erase"
    probability: float = 0.5

    def __post_init__(self) -> None:
        validate_range("erase: probability", self.probability, 1)

    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw rectangles (n, 4): top, left, height, width."""
        height, width = size
        tries = 10
        uniform = torch.rand(n, 2 * tries + 3, generator=draws)
        area = height * width * (0.02 + (0.33 - 0.02) * uniform[:, :tries])
        ratio = 0.3 * (3.3 / 0.3) ** uniform[:, tries : 2 * tries]
        heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        # The first of ten tries that fits; equivalent to drawing one after the other.
        fits = (heights < height) & (widths < width)
        first = fits.int().argmax(1, keepdim=True)
        hit = fits.any(1) & (uniform[:, -1] < self.probability)
        h, w = (side.gather(1, first).squeeze(1) * hit for side in (heights, widths))
        top, left = uniform[:, -3] * (height - h + 1), uniform[:, -2] * (width - w + 1)
        return torch.stack([top.floor(), left.floor(), h, w], dim=1).long()

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Apply `erase`."""
        return erase(x, drawn)


POLICIES: dict[str, Callable[[], torch.nn.Module]] = {
    "autoaugment_svhn": functools.partial(AutoAugment, AutoAugmentPolicy.SVHN),
    "autoaugment_cifar10": functools.partial(AutoAugment, AutoAugmentPolicy.CIFAR10),
    "autoaugment_imagenet": functools.partial(AutoAugment, AutoAugmentPolicy.IMAGENET),
    "trivial_augment": TrivialAugmentWide,
}


@dataclass(frozen=True)
class Policy(Operation):
    """AutoAugment (Cubuk et al. 2018) or TrivialAugment (Müller and Hutter 2021) of torchvision, on 8-bit pixels.

    TrivialAugment moves images by up to 32 pixels whatever their size, so a small image can become black.

    Args:
        name: one of `POLICIES`.
        copies: number of augmented copies of the training split, made at first use; the epochs use them in turn. This
            saves time, because applying a policy image by image costs more than training a small network. Default: new
            images in every epoch.
    """

    name: str
    copies: int | None = None

    def __post_init__(self) -> None:
        if self.copies is not None:
            validate_count(f"{self.name}: copies", self.copies)

    def draw(self, n: int, size: Sequence[int], draws: torch.Generator) -> Tensor:
        """Draw a seed for each sample, (n,); torchvision uses the global generator."""
        return torch.randint(2**62, (n,), generator=draws)

    def apply(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Apply torchvision's policy to each image."""
        return one_by_one(POLICIES[self.name](), x, drawn)

    def validate_shape(self, shape: Sequence[int]) -> None:
        """Refuse images that have neither 1 nor 3 channels."""
        if shape[0] not in (1, 3):
            raise ValueError(f"augmentation {self.name} needs images of 1 or 3 channels, not {shape[0]}")
