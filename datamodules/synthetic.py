"""Data made from the seed: their law is known, so that what a network does with them can be computed.

Here what all of them share, a line in noise, and samples with several labels; `datamodules.points` holds the classes.
"""

import math
import sys
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from datamodules.base import About, InMemoryDataModule, Source
from datamodules.loader import generator
from datamodules.splits import Split

# Every seed draws test samples of its own.
ANY_NUMBER_OF_SEEDS = sys.maxsize
WORDS_PER_SAMPLE = 50


def made(what: str, outputs: Literal["classes", "labels", "columns"] = "classes") -> About:
    """Describe data that nobody measured."""
    return About(samples=0, source=f"made here from the seed; {what}", licence="MIT", outputs=outputs)


def check(
    name: str, value: float, *, above: float = -math.inf, minimum: float = -math.inf, below: float = math.inf
) -> None:
    """Require above < value < below and value >= minimum.

    Raises:
        ValueError: the value lies outside, or is not a finite number.
    """
    if above < value < below and value >= minimum:
        return
    bounds = [
        f"{sign} {bound:g}" for sign, bound in ((">", above), (">=", minimum), ("<", below)) if abs(bound) < math.inf
    ]
    raise ValueError(f"{name} must be a finite number {' and '.join(bounds)}".rstrip() + f", not {value}")


def uniform(seed: int, purpose: str, *shape: int) -> Tensor:
    """Draw from the open interval (0, 1), float64. Fewer rows are the first of more rows."""
    return torch.rand(shape, generator=generator(seed, purpose), dtype=torch.float64).clamp_min(2.0**-54)


def gaussian(u: Tensor) -> Tensor:
    """Turn uniform numbers into standard normal ones: `torch.randn` would draw other first rows for more rows."""
    quantile: Tensor = torch.special.ndtri(u)
    return quantile


def laplace(u: Tensor) -> Tensor:
    """Turn uniform numbers into those of density exp(−|e|) / 2."""
    return -(u - 0.5).sign() * torch.log1p(-2 * (u - 0.5).abs())


def student(u: Tensor) -> Tensor:
    """Turn uniform numbers into those of Student's law with 2 degrees of freedom, whose variance is infinite."""
    return (2 * u - 1) / (2 * u * (1 - u)).sqrt()


NOISES = {"gaussian": gaussian, "laplace": laplace, "student": student}


@dataclass(kw_only=True, eq=False)
class Synthetic(InMemoryDataModule):
    """Samples drawn from the seed, each a function of a row of uniform numbers of its own.

    Every seed has other samples, and every part of the data its own stream: more samples of a part contain the fewer
    and move no other part. The digest is that of this seed's samples.

    With `stratify` the classes take turns; otherwise each sample draws its own.
    """

    # Uniform numbers that a sample is made of.
    num_draws: int = field(init=False, repr=False)

    num_train: int = 200
    num_val: int = 100
    num_test: int = 1000
    # The scale belongs to what is known about the points.
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._source: Source | None = None

    @abstractmethod
    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Turn uniform numbers (n, num_draws) into n samples: inputs (n, *sample_shape) and targets."""

    @property
    def num_disjoint_tests(self) -> int:
        """Without end: no two seeds share a sample."""
        return ANY_NUMBER_OF_SEEDS

    def load(self) -> Source:
        """Return this seed's samples, made once: first for training, then for validation, then for the test."""
        if self._source is None:
            sizes = {"train": self.num_train, "val": self.num_val, "test": self.num_test}
            parts = [self.make(uniform(self._seed, f"samples/{part}", n, self.num_draws)) for part, n in sizes.items()]
            self._source = Source(torch.cat([x.float() for x, _ in parts]), torch.cat([y for _, y in parts]))
        return self._source

    def split(self) -> Split:
        """Part the samples where they were joined."""
        sizes = [self.num_train, self.num_val, self.num_test]
        return Split(*torch.split(torch.arange(sum(sizes)), sizes))

    def features(self, x: Tensor) -> Tensor:
        """Return the samples as they are."""
        return x

    def choice(self, u: Tensor, number: int) -> Tensor:
        """Choose for uniform numbers (n,) one of a number of classes, int64; in turn if stratified."""
        return torch.arange(len(u)) % number if self.stratify else (number * u).long()


@dataclass(kw_only=True, eq=False)
class LeastSquares(Synthetic):
    """A line in noise, y = slope · x + intercept + scale · e, with x uniform within 1 of its center; one target.

    Least squares is the maximum of the likelihood for Gaussian noise only. Slide "Apprentissage".

    Args:
        slope: of the line.
        intercept: height of the line at x = 0.
        noise: law of e: "gaussian" of variance 1, "laplace" of density exp(−|e|) / 2, or "student" with 2 degrees of
            freedom, whose variance is infinite.
        scale: factor of the noise.
        center: of the x: the farther from 0, the narrower the valley of the loss over slope and intercept.

    Raises:
        ValueError: a number is out of range, the noise is unknown, or an option needs classes.
    """

    name = "least_squares"
    about = made("a line in noise", "columns")
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
            check(key, getattr(self, key))
        check("scale", self.scale, above=0)
        if self.noise not in NOISES:
            raise ValueError(f"unknown noise '{self.noise}': valid: {', '.join(NOISES)}")

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (n, 1) and y (n, 1) float32."""
        x = self.center + 2 * u[:, :1] - 1
        y = self.slope * x + self.intercept + self.scale * NOISES[self.noise](u[:, 1:])
        return x, y.float()


@dataclass(kw_only=True, eq=False)
class MultiLabel(Synthetic):
    """Word counts of texts of 50 words that have several subjects, or none; each subject a label of its own.

    Like scikit-learn's `make_multilabel_classification`: the number of labels is a Poisson number, drawn again if there
    are not so many; labels are drawn by their probabilities without replacement; a word is drawn from the mean of the
    distributions of its text's labels, uniformly if there are none. The probabilities and the distributions are uniform
    numbers, normalised, that depend on the seed. Slide "Fonction de coût".

    Args:
        dimension: different words, each a feature.
        labels: different labels, each a column of the targets.
        mean_labels: mean of the Poisson number.

    Raises:
        ValueError: a number is out of range, or an option needs classes.
    """

    name = "multi_label"
    about = made("counts of words drawn according to the labels", "labels")

    dimension: int = 20
    labels: int = 6
    mean_labels: float = 2.0
    standardize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check("dimension", self.dimension, minimum=2)
        check("labels", self.labels, minimum=1)
        check("mean_labels", self.mean_labels, above=0)
        self.sample_shape = (self.dimension,)
        self.num_classes = self.labels
        self.num_draws = 1 + self.labels + WORDS_PER_SAMPLE

    def make(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the counts (n, dimension) and the labels (n, labels), float32, 1 for each that a sample has."""
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
        # The shortest of exponential times at these rates come first as if drawn one by one without replacement.
        times = -order.log() / uniform(self._seed, "labels", self.num_classes)
        return times.argsort(1).argsort(1) < wanted
