"""Data sets of small images; they share one format, one way to pool and one way to draw test samples."""

from functools import cache
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules import sources
from datamodules.base import InMemoryDataModule, Source, Split
from datamodules.loader import generator

SIDE = 28
BRIGHTEST = 255
SIZES = (14, 28)


@cache
def _load(source: sources.IdxSource, root: str | None) -> Source:
    # 0.4 s, once per process, most of it unpacking: not worth a second copy on the disk.
    files = sources.read(source, root)
    x = torch.cat([files["train-images-idx3-ubyte"], files["t10k-images-idx3-ubyte"]])
    y = torch.cat([files["train-labels-idx1-ubyte"], files["t10k-labels-idx1-ubyte"]])
    return Source(x, y.long())


class FashionMNIST(InMemoryDataModule):
    """70,000 photographs of clothes, 28 × 28 grey pixels, 10 classes (Xiao, Rasul and Vollgraf, 2017).

    Training and validation samples are drawn per seed from the 60,000 training images; a larger training split contains
    the smaller one of the same seed, and moves neither validation nor test. The 10,000 test images are shuffled once,
    the same way for every seed, and cut into blocks of `num_test`; a seed tests on block `seed % number of blocks`.
    With 1,000 test samples the seeds 1000 … 1009 thus have disjoint ones, and with 333 the seeds 1000 … 1029.

    The files are looked for in `root`, in the folder of Debian's package dataset-fashion-mnist and in `data/`, else
    downloaded into `data/`. Their content is verified.

    Without standardisation, pixels lie between 0 and 1.

    Args:
        size: 28 for the original pixels, 14 for the means of 2 × 2 of them.
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        root: a folder that holds the four files, or torchvision's root folder.
        options: of `InMemoryDataModule`.

    Raises:
        ValueError: a size is out of range, or the training and validation splits together exceed 60,000.
    """

    name = "fashion_mnist"
    num_classes = 10
    per_feature = False
    source: ClassVar[sources.IdxSource] = sources.FASHION_MNIST

    def __init__(
        self,
        *,
        size: Literal[14, 28] = 14,
        num_train: int = 5000,
        num_val: int = 1000,
        num_test: int = 1000,
        root: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(num_train=num_train, num_val=num_val, num_test=num_test, **options)
        if size not in SIZES:
            raise ValueError(f"size must be 14 or 28, not {size}")
        if num_train + num_val > self.source.num_train:
            raise ValueError(
                f"num_train + num_val must be <= {self.source.num_train}, the training images there are, "
                f"not {num_train + num_val}"
            )
        if num_test > self.source.num_test:
            raise ValueError(f"num_test must be <= {self.source.num_test}, the test images there are, not {num_test}")
        self.size = size
        self.sample_shape = (1, size, size)
        self.root = root

    @property
    def num_disjoint_tests(self) -> int:
        """The number of blocks of `num_test` among the test images."""
        return self.source.num_test // self.n_test

    def load(self) -> Source:
        """Return all images: x (70000, 28, 28) uint8, the training images first, and y (70000,)."""
        return _load(self.source, self.root)

    def split(self) -> Split:
        """Draw training and validation rows from the training images, and take the seed's block of the test images."""
        drawn = self.drawn(torch.arange(self.source.num_train), "split")
        # One order for all seeds: only so are the blocks of two seeds disjoint.
        blocks = torch.randperm(self.source.num_test, generator=generator(0, "test"))
        first = (self.seed % self.num_disjoint_tests) * self.n_test
        return Split(
            train=drawn[self.n_val : self.n_val + self.n_train],
            val=drawn[: self.n_val],
            test=self.source.num_train + blocks[first : first + self.n_test],
        )

    def features(self, x: Tensor) -> Tensor:
        """Pool to `size` × `size` by the mean, and bring the pixels from 0 … 255 to 0 … 1."""
        return F.avg_pool2d(x.unsqueeze(1).float(), SIDE // self.size) / BRIGHTEST
