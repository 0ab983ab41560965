"""Data generated from the seed, whose distribution is known: the base, a noisy line, and samples with several labels.

`datamodules.points` contains the data sets with classes.
"""

import math
import sys
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from datamodules.base import DatasetInfo, InMemoryDataModule, Source
from datamodules.loader import generator
from datamodules.splits import Split

# Every seed draws its own test samples.
ANY_NUMBER_OF_SEEDS = sys.maxsize
WORDS_PER_SAMPLE = 50


def synthetic_info(what: str, outputs: Literal["classes", "labels", "columns"] = "classes") -> DatasetInfo:
    """Return the facts about generated data."""
    return DatasetInfo(samples=0, source=f"made here from the seed; {what}", licence="MIT", outputs=outputs)


def validate_number(
    name: str, value: float, *, above: float = -math.inf, minimum: float = -math.inf, below: float = math.inf
) -> None:
    """Require above < value < below and value >= minimum.

    Raises:
        ValueError: the value is out of range or not a finite number.
    """
    if above < value < below and value >= minimum:
        return
    bounds = [
        f"{sign} {bound:g}" for sign, bound in ((">", above), (">=", minimum), ("<", below)) if abs(bound) < math.inf
    ]
    raise ValueError(f"{name} must be a finite number {' and '.join(bounds)}".rstrip() + f", not {value}")


def uniform(seed: int, purpose: str, *shape: int) -> Tensor:
    """Draw from the open interval (0, 1), float64. The first rows do not depend on the number of rows."""
    return torch.rand(shape, generator=generator(seed, purpose), dtype=torch.float64).clamp_min(2.0**-54)


def gaussian(u: Tensor) -> Tensor:
    """Map uniform numbers to standard normal ones. With `torch.randn`, the first rows depend on the number of rows."""
    quantile: Tensor = torch.special.ndtri(u)
    return quantile


def laplace(u: Tensor) -> Tensor:
    """Map uniform numbers to Laplace noise of density exp(−|e|) / 2."""
    return -(u - 0.5).sign() * torch.log1p(-2 * (u - 0.5).abs())


def student(u: Tensor) -> Tensor:
    """Map uniform numbers to Student's t with 2 degrees of freedom, whose variance is infinite."""
    return (2 * u - 1) / (2 * u * (1 - u)).sqrt()


NOISES = {"gaussian": gaussian, "laplace": laplace, "student": student}


@dataclass(kw_only=True, eq=False)
class Synthetic(InMemoryDataModule):
    """Samples drawn from the seed; each is a function of its own row of uniform numbers.

    Every seed has other samples, and every part has its own generator: a larger part contains the smaller one and does
    not change other parts. The digest is that of this seed's samples.

    With `stratify`, samples get the classes in turn; otherwise each sample draws its class.
    """

    # Uniform numbers per sample.
    num_draws: int = field(init=False, repr=False)

    num_train: int = 200
    num_val: int = 100
    num_test: int = 1000
    # The scale of the points is known.
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._source: Source | None = None

    @abstractmethod
    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map uniform numbers (n, num_draws) to n samples: inputs (n, *sample_shape) and targets."""

    @property
    def num_disjoint_tests(self) -> int:
        """No limit, because no two seeds share a sample."""
        return ANY_NUMBER_OF_SEEDS

    def load(self) -> Source:
        """Return this seed's samples, generated once: training, validation, then test samples."""
        if self._source is None:
            sizes = {"train": self.num_train, "val": self.num_val, "test": self.num_test}
            parts = [self.make(uniform(self._seed, f"samples/{part}", n, self.num_draws)) for part, n in sizes.items()]
            self._source = Source(torch.cat([x.float() for x, _ in parts]), torch.cat([y for _, y in parts]))
        return self._source

    def split(self) -> Split:
        """Return the rows of the three parts in the order of `load`."""
        sizes = [self.num_train, self.num_val, self.num_test]
        return Split(*torch.split(torch.arange(sum(sizes)), sizes))

    def features(self, x: Tensor) -> Tensor:
        """Return the samples unchanged."""
        return x

    def choice(self, u: Tensor, number: int) -> Tensor:
        """Map uniform numbers (n,) to classes 0 … number − 1, int64; with `stratify`, return the classes in turn."""
        return torch.arange(len(u)) % number if self.stratify else (number * u).long()


@dataclass(kw_only=True, eq=False)
class LeastSquares(Synthetic):
    """A noisy line, y = slope · x + intercept + scale · e, with x uniform in center ± 1; one target.

    Least squares maximises the likelihood only for Gaussian noise. Slide "Apprentissage".

    Args:
        slope: slope of the line.
        intercept: y at x = 0.
        noise: distribution of e: "gaussian" of variance 1, "laplace" of density exp(−|e|) / 2, or "student" with 2
            degrees of freedom, whose variance is infinite.
        scale: factor of the noise.
        center: centre of the x; the farther from 0, the narrower the valley of the loss over slope and intercept.

    Raises:
        ValueError: number out of range, unknown noise, or an option that needs classes.
    """

    name = "least_squares"
    info = synthetic_info("a line in noise", "columns")
    sample_shape = (1,)
    num_classes = 1
    num_draws = 2

    slope: float = 2.0
    intercept: float = 0.5
    noise: Literal["gaussian", "laplace", "student"] = "gaussian"
    scale: float = 0.5
    center: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("slope", "intercept", "center"):
            validate_number(key, getattr(self, key))
        validate_number("scale", self.scale, above=0)
        if self.noise not in NOISES:
            raise ValueError(f"unknown noise '{self.noise}': valid: {', '.join(NOISES)}")

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (n, 1) and y (n, 1) float32."""
        x = self.center + 2 * u[:, :1] - 1
        y = self.slope * x + self.intercept + self.scale * NOISES[self.noise](u[:, 1:])
        return x, y.float()


@dataclass(kw_only=True, eq=False)
class MultiLabel(Synthetic):
    """Word counts of texts of 50 words with several subjects or none; each subject is a label.

    As in scikit-learn's `make_multilabel_classification`, the number of labels has a Poisson distribution, truncated at
    the number of different labels; labels are drawn by their probabilities without replacement; a word is drawn from
    the mean of the word distributions of its text's labels, or uniformly if there are none. The probabilities and the
    word distributions are normalised uniform numbers drawn from the seed. Slide "Fonction de coût".

    Args:
        dimension: number of different words, which are the features.
        labels: number of different labels, which are the columns of the targets.
        mean_labels: mean of the Poisson distribution.

    Raises:
        ValueError: number out of range, or an option that needs classes.
    """

    name = "multi_label"
    info = synthetic_info("counts of words drawn according to the labels", "labels")

    dimension: int = 20
    labels: int = 6
    mean_labels: float = 2.0
    standardize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_number("dimension", self.dimension, minimum=2)
        validate_number("labels", self.labels, minimum=1)
        validate_number("mean_labels", self.mean_labels, above=0)
        self.sample_shape = (self.dimension,)
        self.num_classes = self.labels
        self.num_draws = 1 + self.labels + WORDS_PER_SAMPLE

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the counts (n, dimension) and the labels (n, labels), 0 or 1, both float32."""
        number, order, words = torch.split(u, [1, self.num_classes, WORDS_PER_SAMPLE], dim=1)
        y = self._labels(number, order)
        laws = uniform(self._seed, "words", self.num_classes, self.num_features)
        mixed = torch.where(y.any(1, keepdim=True), y.double() @ (laws / laws.sum(1, keepdim=True)), 1.0)
        steps = mixed.cumsum(1)
        word = torch.searchsorted(steps / steps[:, -1:], words.contiguous())
        return torch.zeros_like(mixed).scatter_add_(1, word, torch.ones_like(words)), y.float()

    def _labels(self, number: Tensor, order: Tensor) -> Tensor:
        """Draw the labels, (n, labels) bool, from uniform numbers (n, 1) and (n, labels)."""
        counts = torch.arange(self.num_classes + 1, dtype=torch.float64)
        steps = (counts * math.log(self.mean_labels) - torch.lgamma(counts + 1)).softmax(0).cumsum(0)
        wanted = torch.searchsorted(steps / steps[-1], number.contiguous())
        # The labels of the shortest exponential times at these rates are a draw without replacement.
        times = -order.log() / uniform(self._seed, "labels", self.num_classes)
        return times.argsort(1).argsort(1) < wanted
