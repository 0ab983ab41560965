"""The lecture's data sets, each a LightningDataModule; these short names are what the CLI knows."""

from datamodules.digits import Digits
from datamodules.images import FashionMNIST

__all__ = ["Digits", "FashionMNIST"]
