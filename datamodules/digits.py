"""The real digits that scikit-learn brings along: always there, no network needed."""

from functools import cache

import torch
from torch import Tensor

from datamodules.base import InMemoryDataModule, Source, Split
from datamodules.loader import generator

NUM_DIGITS = 1797
BRIGHTEST = 16  # a pixel counts the dark ones of a 4 × 4 block of the scan


@cache
def _load() -> Source:
    # Imported here: it costs a second that `--help` and the other data sets need not pay.
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Source(torch.from_numpy(x).to(torch.uint8), torch.from_numpy(y).long())


class Digits(InMemoryDataModule):
    """1,797 handwritten digits of 8 × 8 pixels, scanned by NIST and bundled with scikit-learn; 10 classes.

    One permutation per seed is cut up: validation from its front, training after it, the test sample from its end. A
    larger training split therefore contains the smaller one, and none of the three sizes moves another part. The test
    samples of two seeds overlap. One mean and one standard deviation serve all pixels: pixels at the border are almost
    always 0, and scaled each by its own deviation they reach more than 200 of them in a test sample.

    Args:
        batch_size: samples per training batch.
        seed: fixes the split and the order of the training samples.
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        standardize: subtract the mean of the training split and divide by its standard deviation; otherwise pixels
            lie between 0 and 1.

    Raises:
        ValueError: a size is out of range, or the three together exceed 1,797.
    """

    name = "digits"
    num_features = 64
    num_classes = 10
    per_feature = False

    def __init__(
        self,
        *,
        batch_size: int,
        seed: int,
        num_train: int = 1200,
        num_val: int = 297,
        num_test: int = 300,
        standardize: bool = True,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            num_train=num_train,
            num_val=num_val,
            num_test=num_test,
            standardize=standardize,
        )
        wanted = num_train + num_val + num_test
        if wanted > NUM_DIGITS:
            raise ValueError(
                f"num_train + num_val + num_test must be <= {NUM_DIGITS}, the digits there are, not {wanted}"
            )

    def load(self) -> Source:
        """Return the digits: x (1797, 64) uint8, 0 to 16, and y (1797,)."""
        return _load()

    def split(self) -> Split:
        """Cut one permutation of all digits into the three parts."""
        order = torch.randperm(NUM_DIGITS, generator=generator(self.seed, "split"))
        return Split(
            train=order[self.n_val : self.n_val + self.n_train],
            val=order[: self.n_val],
            test=order[NUM_DIGITS - self.n_test :],
        )

    def features(self, x: Tensor) -> Tensor:
        """Bring the pixels from 0 … 16 to 0 … 1."""
        return x.float() / BRIGHTEST
