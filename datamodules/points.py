"""Points of known classes, drawn from the seed: some that a line separates, and some that it cannot."""

import difflib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.base import Source
from datamodules.splits import Split
from datamodules.synthetic import Synthetic, check, gaussian, made, uniform

# Single precision could no longer tell the two sides of a narrower gap apart.
SMALLEST_MARGIN = 1e-3
# From the middle to the beginning of a spiral's arm: without it, all arms would share a point.
FIRST_RADIUS = 0.1
# Bit i of a function's number is its value where the inputs, read as the binary number x1 x2, are i.
FUNCTIONS = (
    *("contradiction", "nor", "x2_and_not_x1", "not_x1", "x1_and_not_x2", "not_x2", "xor", "nand"),
    *("and", "xnor", "x2", "x1_implies_x2", "x1", "x2_implies_x1", "or", "tautology"),
)


def polar(radius: Tensor, turns: Tensor) -> Tensor:
    """Return the points (n, 2) at radii (n,) and angles (n,), these in whole turns."""
    angle = 2 * math.pi * turns
    return radius.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)


def moon(place: Tensor, label: Tensor) -> Tensor:
    """Return points (n, 2) of the upper (label 0) or lower half circle, at places (n,) from 0 to 1 along it."""
    upper = polar(torch.ones_like(place), place / 2)
    return torch.where(label.unsqueeze(1) == 0, upper, torch.tensor([1.0, 0.5]) - upper)


@dataclass(kw_only=True, eq=False)
class Separable(Synthetic):
    """Points on both sides of a plane through the origin, with a gap between them; 2 classes.

    The plane's unit normal is drawn from the seed. The points are uniform in the cube [−1, 1]^dimension before each
    half is moved away from the plane by the margin, so that no point is nearer. Slide "Algorithme du perceptron".

    Args:
        dimension: coordinates of a point.
        margin: distance from the plane that every point keeps (to single precision, and before standardisation).

    Raises:
        ValueError: a number is out of range.
    """

    name = "separable"
    about = made("two halves of a cube, moved apart")
    num_classes = 2

    dimension: int = 2
    margin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check("dimension", self.dimension, minimum=1)
        check("margin", self.margin, minimum=SMALLEST_MARGIN)
        self.sample_shape = (self.dimension,)
        self.num_draws = 1 + self.dimension

    @property
    def normal(self) -> Tensor:
        """Unit normal of the plane, (dimension,) float64, pointing to the side of label 1."""
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

    Without noise, training, validation and test samples are the same four points on purpose: there are no others.
    With noise, each sample is one of the four points moved by Gaussian noise, and the three parts are disjoint.
    Slide "Limites du perceptron".

    Args:
        function: name, or number from 0 to 15, whose binary digits are its values at (1, 1), (1, −1), (−1, 1)
            and (−1, −1).
        noise: standard deviation of the noise on each input.
        num_train: training samples; 4 without noise, otherwise 200 if not given.
        num_val: validation samples; 4 without noise, otherwise 100 if not given.
        num_test: test samples; 4 without noise, otherwise 1000 if not given.

    Raises:
        ValueError: the function is unknown, a number is out of range, or more or fewer than four samples without noise.
    """

    name = "boolean"
    about = made("the truth table of a boolean function")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 3

    function: int | str = "xor"
    noise: float = 0.0
    # Numbers once it is built.
    num_train: int | None = None  # type: ignore[assignment]
    num_val: int | None = None  # type: ignore[assignment]
    num_test: int | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check("noise", self.noise, minimum=0)
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
        """1 without noise: all seeds have the same four points."""
        return super().num_disjoint_tests if self.noise else 1

    def load(self) -> Source:
        """Return the four points in the order of the truth table, or this seed's noisy ones."""
        return super().load() if self.noise else Source(*self._points(torch.arange(4)))

    def split(self) -> Split:
        """Without noise, take the four points for each part."""
        return super().split() if self.noise else Split(*[torch.arange(4)] * 3)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Move one of the four points."""
        x, label = self._points(self.choice(u[:, 0], 4))
        return x + self.noise * gaussian(u[:, 1:]), label

    def _points(self, row: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.stack([row // 2, row % 2], dim=1)
        return 2.0 * x - 1, (self.number >> row) & 1


@dataclass(kw_only=True, eq=False)
class Moons(Synthetic):
    """Two interleaved half circles of radius 1 in the plane, uniform along them; 2 classes.

    The geometry of scikit-learn's `make_moons`. Slide "Non-linéarité".

    Args:
        noise: standard deviation of the Gaussian noise on each coordinate.

    Raises:
        ValueError: a number is out of range.
    """

    name = "moons"
    about = made("the half circles of scikit-learn's make_moons")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 4

    noise: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        check("noise", self.noise, minimum=0)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Take a place on the moon of the label."""
        label = self.choice(u[:, 0], 2)
        return moon(u[:, 1], label) + self.noise * gaussian(u[:, 2:]), label


@dataclass(kw_only=True, eq=False)
class Circles(Synthetic):
    """Two concentric circles in the plane, the outer one (label 0) of radius 1, uniform along them; 2 classes.

    The geometry of scikit-learn's `make_circles`. Slide "Non-linéarité".

    Args:
        noise: standard deviation of the Gaussian noise on each coordinate.
        factor: radius of the inner circle.

    Raises:
        ValueError: a number is out of range.
    """

    name = "circles"
    about = made("the circles of scikit-learn's make_circles")
    sample_shape = (2,)
    num_classes = 2
    num_draws = 4

    noise: float = 0.1
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check("noise", self.noise, minimum=0)
        check("factor", self.factor, above=0, below=1)

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Take an angle on the circle of the label."""
        label = self.choice(u[:, 0], 2)
        radius = torch.where(label == 0, 1.0, self.factor).double()
        return polar(radius, u[:, 1]) + self.noise * gaussian(u[:, 2:]), label


@dataclass(kw_only=True, eq=False)
class Spirals(Synthetic):
    """Arms that wind around the origin, each a class; along an arm the radius grows evenly from 0.1 to 1.

    Slide "Non-linéarité".

    Args:
        arms: number of arms, the first of which starts along the first axis.
        turns: turns that an arm makes on its way out, counter-clockwise.
        noise: standard deviation of the Gaussian noise on each coordinate.

    Raises:
        ValueError: a number is out of range.
    """

    name = "spirals"
    about = made("spirals of Archimedes")
    sample_shape = (2,)
    num_draws = 4

    arms: int = 3
    turns: float = 1.0
    noise: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        check("arms", self.arms, minimum=2)
        check("turns", self.turns, minimum=0)
        check("noise", self.noise, minimum=0)
        self.num_classes = self.arms

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Take a place on the arm of the label."""
        label, place = self.choice(u[:, 0], self.num_classes), u[:, 1]
        x = polar(FIRST_RADIUS + (1 - FIRST_RADIUS) * place, label / self.num_classes + self.turns * place)
        return x + self.noise * gaussian(u[:, 2:]), label
