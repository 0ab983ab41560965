"""The lecture's data sets, each a LightningDataModule; `__all__` lists the short names that the CLI accepts."""

from datamodules.digits import Digits
from datamodules.housing import CaliforniaHousing
from datamodules.images import CIFAR10, MNIST, SVHN, FashionMNIST
from datamodules.points import Boolean, Circles, Moons, Separable, Spirals
from datamodules.synthetic import LeastSquares, MultiLabel
from datamodules.tabular import BreastCancer, Diabetes, Iris, Wine
from datamodules.text import DescriptionTexts

__all__ = [
    "CIFAR10",
    "MNIST",
    "SVHN",
    "Boolean",
    "BreastCancer",
    "CaliforniaHousing",
    "Circles",
    "DescriptionTexts",
    "Diabetes",
    "Digits",
    "FashionMNIST",
    "Iris",
    "LeastSquares",
    "Moons",
    "MultiLabel",
    "Separable",
    "Spirals",
    "Wine",
]
