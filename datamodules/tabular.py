"""The tables bundled with scikit-learn: one row per sample, one column per feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from datamodules.base import DatasetInfo, InMemoryDataModule, Source
from datamodules.scaling import standardization


@cache
def _labelled(name: str) -> Source:
    # Imported here, because the import takes a second, which `--help` and other data sets do not need.
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return Source(torch.from_numpy(x), torch.from_numpy(y).long())


@cache
def _diabetes() -> Source:
    from sklearn.datasets import load_diabetes

    # scikit-learn's scaling would use the mean and the deviation of all rows, including the test sample.
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return Source(torch.from_numpy(x), torch.from_numpy(y).double()[:, None])


class Table(InMemoryDataModule):
    """A table whose columns have different units; each is standardised by its own mean and standard deviation."""

    per_feature = True

    def load(self) -> Source:
        """Return scikit-learn's table of this name: x (n, columns) float64, and its labels y (n,)."""
        return _labelled(self.name)

    def features(self, x: Tensor) -> Tensor:
        """Convert the columns to single precision."""
        return x.float()


@dataclass(kw_only=True, eq=False)
class Regression(Table):
    """A table with a numeric target, y (n, 1) float32.

    Args:
        standardize_targets: subtract the mean of the training targets and divide by their standard deviation;
            `in_original_units` reverses it.

    Raises:
        ValueError: number out of range, or an option that needs labels (`stratify`, `label_noise`).
    """

    num_classes = 1

    standardize_targets: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.target_mean: Tensor
        self.target_std: Tensor

    def targets(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """Standardise all targets with the statistics of the training targets."""
        self.target_mean, self.target_std = torch.zeros(1), torch.ones(1)
        if self.standardize_targets:
            self.target_mean, self.target_std = standardization(parts[0], per_feature=True)
        return [(y.float() - self.target_mean) / self.target_std for y in parts]

    def in_original_units(self, y: Tensor) -> Tensor:
        """Convert targets or predictions, (n, 1), to the units of the source."""
        return y * self.target_std + self.target_mean


@dataclass(kw_only=True, eq=False)
class Iris(Table):
    """150 flowers of 3 species of iris, 50 each, by 4 lengths in centimetres (slides "Le perceptron" and following).

    Setosa, class 0, is linearly separable from the other two species, which are not separable from each other. The test
    samples of two seeds overlap.

    Raises:
        ValueError: number out of range, or sizes that together exceed 150.
    """

    name = "iris"
    info = DatasetInfo(
        samples=150,
        source="R. A. Fisher 1936, UCI; https://archive.ics.uci.edu/dataset/53",
        licence="CC BY 4.0",
    )
    sample_shape = (4,)
    num_classes = 3

    num_train: int = 90
    num_val: int = 30
    num_test: int = 30


@dataclass(kw_only=True, eq=False)
class Wine(Table):
    """178 wines of 3 growers, by 13 chemical measurements (slide "Réseau Fully-Connected").

    The test samples of two seeds overlap.

    Raises:
        ValueError: number out of range, or sizes that together exceed 178.
    """

    name = "wine"
    info = DatasetInfo(
        samples=178,
        source="S. Aeberhard and M. Forina 1991, UCI; https://archive.ics.uci.edu/dataset/109",
        licence="CC BY 4.0",
    )
    sample_shape = (13,)
    num_classes = 3

    num_train: int = 108
    num_val: int = 35
    num_test: int = 35


@dataclass(kw_only=True, eq=False)
class BreastCancer(Table):
    """569 tumours, malignant (0) or benign (1), by 30 measures of their cells' nuclei (slide "Réseau Fully-Connected").

    The test samples of two seeds overlap.

    Raises:
        ValueError: number out of range, or sizes that together exceed 569.
    """

    name = "breast_cancer"
    info = DatasetInfo(
        samples=569,
        source="W. H. Wolberg, W. N. Street and O. L. Mangasarian 1995, UCI; https://archive.ics.uci.edu/dataset/17",
        licence="CC BY 4.0",
    )
    sample_shape = (30,)
    num_classes = 2

    num_train: int = 341
    num_val: int = 114
    num_test: int = 114


@dataclass(kw_only=True, eq=False)
class Diabetes(Regression):
    """442 patients by age, sex and 8 clinical measures; the target is the progression of their diabetes in a year.

    It replaces the housing data of the slide "Réseau à une couche linéaire" if nothing can be downloaded. The test
    samples of two seeds overlap. Without standardisation, columns and targets are in the units of the source.

    Raises:
        ValueError: number out of range, sizes that together exceed 442, or an option that needs labels.
    """

    name = "diabetes"
    info = DatasetInfo(
        samples=442,
        source="B. Efron, T. Hastie, I. Johnstone and R. Tibshirani 2004, Least Angle Regression; "
        "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        licence="none stated",
        outputs="columns",
    )
    sample_shape = (10,)

    num_train: int = 266
    num_val: int = 88
    num_test: int = 88

    def load(self) -> Source:
        """Return the patients: x (442, 10) and y (442, 1), both float64."""
        return _diabetes()
