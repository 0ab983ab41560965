"""Points in two or more classes, drawn from the seed: linearly separable ones, and others."""

import difflib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.base import Source
from datamodules.splits import Split
from datamodules.synthetic import Synthetic, gaussian, synthetic_info, uniform, validate_number

# Single precision cannot separate the two sides of a narrower gap.
SMALLEST_MARGIN = 1e-3
# Radius at which a spiral's arm starts; with 0, all arms would share a point.
FIRST_RADIUS = 0.1
# Bit i of a function's number is its value for the inputs x1 x2 = i in binary.
FUNCTIONS = (
    *("contradiction", "nor", "x2_and_not_x1", "not_x1", "x1_and_not_x2", "not_x2", "xor", "nand"),
    *("and", "xnor", "x2", "x1_implies_x2", "x1", "x2_implies_x1", "or", "tautology"),
)


def polar(radius: Tensor, turns: Tensor) -> Tensor:
    """Return the points (n, 2) at radii (n,) and angles (n,) in turns."""
    angle = 2 * math.pi * turns
    return radius.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)


def moon(place: Tensor, label: Tensor) -> Tensor:
    """Return points (n, 2) on the upper (label 0) or lower half circle, at positions (n,) from 0 to 1 along it."""
    upper = polar(torch.ones_like(place), place / 2)
    return torch.where(label.unsqueeze(1) == 0, upper, torch.tensor([1.0, 0.5]) - upper)


@dataclass(kw_only=True, eq=False)
class Separable(Synthetic):
    """Points on both sides of a plane through the origin, with a gap between them; 2 classes.

    The plane's unit normal is drawn from the seed. The points are uniform in the cube [−1, 1]^dimension; each half is
    then moved away from the plane by the margin. Slide "Algorithme du perceptron".

    Args:
        dimension: number of coordinates.
        margin: minimum distance of the points from the plane (in single precision, before standardisation).

    Raises:
        ValueError: number out of range.
    """

    name = "separable"
    info = synthetic_info("two halves of a cube, moved apart")
    num_classes = 2

    dimension: int = 2
    margin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_number("dimension", self.dimension, minimum=1)
        validate_number("margin", self.margin, minimum=SMALLEST_MARGIN)
        self.sample_shape = (self.dimension,)
        self.num_draws = 1 + self.dimension

    @property
    def normal(self) -> Tensor:
        """Unit normal of the plane towards label 1, (dimension,) float64."""
        direction = gaussian(uniform(self._seed, "normal", *self.sample_shape))
        return direction / direction.square().sum().sqrt()

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Reflect each point to the side of its label, and move it away from the plane."""
        label = self.choice(u[:, 0], 2)
        side = (2.0 * label - 1).unsqueeze(1)
        x = 2 * u[:, 1:] - 1
        x = torch.where((x @ self.normal).unsqueeze(1) * side < 0, -x, x)
        return x + side * self.margin * self.normal, label


@dataclass(kw_only=True, eq=False)
class Boolean(Synthetic):
    """One of the 16 boolean functions of two inputs, which are −1 (false) or 1 (true); 2 classes.

    Without noise, the training, validation and test samples are the same four points, because there are no others.
    With noise, each sample is one of the four points plus Gaussian noise, and the three parts are disjoint. Slide
    "Limites du perceptron".

    Args:
        function: name, or number from 0 to 15, whose binary digits are its values at (1, 1), (1, −1), (−1, 1)
            and (−1, −1).
        noise: standard deviation of the noise on each input.
        num_train: training samples; 4 without noise, else 200 by default.
        num_val: validation samples; 4 without noise, else 100 by default.
        num_test: test samples; 4 without noise, else 1000 by default.

    Raises:
        ValueError: unknown function, number out of range, or other than four samples without noise.
    """

    name = "boolean"
    info = synthetic_info("the truth table of a boolean function")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 3

    function: int | str = "xor"
    noise: float = 0.0
    # Integers after `__post_init__`.
    num_train: int | None = None  # type: ignore[assignment]
    num_val: int | None = None  # type: ignore[assignment]
    num_test: int | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        validate_number("noise", self.noise, minimum=0)
        for key, noisy in {"num_train": 200, "num_val": 100, "num_test": 1000}.items():
            size = getattr(self, key)
            if self.noise == 0 and size not in (None, 4):
                raise ValueError(f"{key} must be 4 without noise, the points there are, not {size}")
            if size is None:
                setattr(self, key, noisy if self.noise else 4)
        super().__post_init__()
        self.number = self._number(self.function)

    @staticmethod
    def _number(function: int | str) -> int:
        if function in FUNCTIONS:
            return FUNCTIONS.index(function)
        if isinstance(function, int) and 0 <= function < len(FUNCTIONS):
            return function
        near = difflib.get_close_matches(str(function).lower(), FUNCTIONS, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"unknown function '{function}': {guess}valid: 0 to 15, {', '.join(FUNCTIONS)}")

    @property
    def num_disjoint_tests(self) -> int:
        """1 without noise, because all seeds have the same four points."""
        return super().num_disjoint_tests if self.noise else 1

    def load(self) -> Source:
        """Return the four points in the order of the truth table, or this seed's noisy ones."""
        return super().load() if self.noise else Source(*self._points(torch.arange(4)))

    def split(self) -> Split:
        """Split the samples; without noise, each part is the four points."""
        return super().split() if self.noise else Split(*[torch.arange(4)] * 3)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Draw one of the four points and add noise."""
        x, label = self._points(self.choice(u[:, 0], 4))
        return x + self.noise * gaussian(u[:, 1:]), label

    def _points(self, row: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.stack([row // 2, row % 2], dim=1)
        return 2.0 * x - 1, (self.number >> row) & 1


@dataclass(kw_only=True, eq=False)
class Moons(Synthetic):
    """Two interleaved half circles of radius 1 in the plane, uniform along them; 2 classes.

    The geometry is that of scikit-learn's `make_moons`. Slide "Non-linéarité".

    Args:
        noise: standard deviation of the Gaussian noise on each coordinate.

    Raises:
        ValueError: number out of range.
    """

    name = "moons"
    info = synthetic_info("the half circles of scikit-learn's make_moons")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 4

    noise: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_number("noise", self.noise, minimum=0)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a point on the half circle of the label and add noise."""
        label = self.choice(u[:, 0], 2)
        return moon(u[:, 1], label) + self.noise * gaussian(u[:, 2:]), label


@dataclass(kw_only=True, eq=False)
class Circles(Synthetic):
    """Two concentric circles in the plane, the outer one (label 0) of radius 1, uniform along them; 2 classes.

    The geometry is that of scikit-learn's `make_circles`. Slide "Non-linéarité".

    Args:
        noise: standard deviation of the Gaussian noise on each coordinate.
        factor: radius of the inner circle.

    Raises:
        ValueError: number out of range.
    """

    name = "circles"
    info = synthetic_info("the circles of scikit-learn's make_circles")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 4

    noise: float = 0.1
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_number("noise", self.noise, minimum=0)
        validate_number("factor", self.factor, above=0, below=1)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a point on the circle of the label and add noise."""
        label = self.choice(u[:, 0], 2)
        radius = torch.where(label == 0, 1.0, self.factor).double()
        return polar(radius, u[:, 1]) + self.noise * gaussian(u[:, 2:]), label


@dataclass(kw_only=True, eq=False)
class Spirals(Synthetic):
    """Spirals around the origin, one class per arm; along an arm the radius grows uniformly from 0.1 to 1.

    Slide "Non-linéarité".

    Args:
        arms: number of arms; the first starts along the first axis.
        turns: counter-clockwise turns of an arm.
        noise: standard deviation of the Gaussian noise on each coordinate.

    Raises:
        ValueError: number out of range.
    """

    name = "spirals"
    info = synthetic_info("spirals of Archimedes")
    sample_shape = (2,)
    num_draws = 4

    arms: int = 3
    turns: float = 1.0
    noise: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_number("arms", self.arms, minimum=2)
        validate_number("turns", self.turns, minimum=0)
        validate_number("noise", self.noise, minimum=0)
        self.num_classes = self.arms

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Draw a point on the arm of the label and add noise."""
        label, place = self.choice(u[:, 0], self.num_classes), u[:, 1]
        x = polar(FIRST_RADIUS + (1 - FIRST_RADIUS) * place, label / self.num_classes + self.turns * place)
        return x + self.noise * gaussian(u[:, 2:]), label
