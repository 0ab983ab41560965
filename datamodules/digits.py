"""The handwritten digits bundled with scikit-learn; no download is needed."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from datamodules.base import DatasetInfo, InMemoryDataModule, Source

MAX_PIXEL = 16  # a pixel is the number of dark pixels in a 4 × 4 block of the scan


@cache
def _load() -> Source:
    # Imported here, because the import takes a second, which `--help` and other data sets do not need.
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Source(torch.from_numpy(x).to(torch.uint8), torch.from_numpy(y).long())


@dataclass(kw_only=True, eq=False)
class Digits(InMemoryDataModule):
    """1,797 handwritten digits of 8 × 8 pixels, scanned by NIST and bundled with scikit-learn; 10 classes.

    Slide "Supervision Multi-Classes". The test samples of two seeds overlap. All pixels share one mean and one standard
    deviation: border pixels are almost always 0, and scaled by their own deviations they would exceed 200 in a test
    sample. Without standardisation, pixels are between 0 and 1.

    Raises:
        ValueError: number out of range, or sizes that together exceed 1,797.
    """

    name = "digits"
    info = DatasetInfo(
        samples=1797,
        source="E. Alpaydin and C. Kaynak 1998, UCI; https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
    )
    sample_shape = (1, 8, 8)
    num_classes = 10
    per_feature = False

    num_train: int = 1200
    num_val: int = 297
    num_test: int = 300

    def load(self) -> Source:
        """Return the digits: x (1797, 64) uint8, 0 to 16, and y (1797,)."""
        return _load()

    def features(self, x: Tensor) -> Tensor:
        """Reshape to images and scale the pixels from 0 … 16 to 0 … 1."""
        return x.reshape(-1, *self.sample_shape).float() / MAX_PIXEL
