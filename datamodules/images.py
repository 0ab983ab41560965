"""Data sets of small images with a training set and a test set by their authors, and how samples are drawn."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from datamodules import sources
from datamodules.base import DatasetInfo, InMemoryDataModule, Source
from datamodules.splits import Split

SIDE = 28
MAX_PIXEL = 255
SIZES = (14, 28)


# The seeds of a stack share one copy; only the last data set is cached.
@lru_cache(maxsize=1)
def _load(source: sources.ImageSource, root: str | None) -> Source:
    # 0.4 s for Fashion-MNIST, mostly decompression; a decompressed copy on the disk is not worth it.
    return Source(*sources.read(source, root))


@dataclass(kw_only=True, eq=False)
class Images(InMemoryDataModule):
    """Images in ten classes, with a training set and a test set by their authors.

    Training and validation samples are drawn per seed from the official training images; a larger training split
    contains the smaller one of the same seed and changes neither validation nor test samples. The official test images
    are shuffled once, the same way for every seed, and cut into blocks of `num_test`; the test sample of a seed is
    block `seed % number of blocks`. With 10,000 test images, the seeds 1000 … 1009 have disjoint blocks of 1,000, and
    the seeds 1000 … 1029 disjoint blocks of 333.

    The files are read from `root` if given, else from the folder of a Debian package or from `data/`, where they are
    downloaded. Their content is verified.

    Without standardisation, pixels are between 0 and 1; with it, each channel has one mean and one standard deviation.

    Args:
        root: a folder that contains the files, or torchvision's root folder.

    Raises:
        ValueError: number out of range, or a part that exceeds the available images.
    """

    num_classes = 10
    per_feature = False
    source: ClassVar[sources.ImageSource]

    num_train: int = 5000
    num_val: int = 1000
    num_test: int = 1000
    root: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_train + self.num_val > self.source.num_train:
            raise ValueError(
                f"num_train + num_val must be <= {self.source.num_train}, the training images there are, "
                f"not {self.num_train + self.num_val}"
            )
        if self.num_test > self.source.num_test:
            raise ValueError(
                f"num_test must be <= {self.source.num_test}, the test images there are, not {self.num_test}"
            )

    @classmethod
    def location(cls) -> str:
        """Return the folder of the files without `root`; empty if they must be downloaded."""
        return str(sources.find_folder(cls.source) or "")

    @property
    def num_disjoint_tests(self) -> int:
        """Number of blocks of `num_test` among the test images."""
        return self.source.num_test // self.num_test

    def load(self) -> Source:
        """Return all images, the training images first: x (n, …) uint8 and y (n,)."""
        return _load(self.source, self.root)

    def split(self) -> Split:
        """Draw training and validation rows from the training images, and use the seed's block of the test images."""
        drawn = self.shuffled(torch.arange(self.source.num_train), "split")
        return Split(
            train=drawn[self.num_val : self.num_val + self.num_train],
            val=drawn[: self.num_val],
            test=self.test_block(self.source.num_train + torch.arange(self.source.num_test)),
        )


@dataclass(kw_only=True, eq=False)
class GreyImages(Images):
    """Grey images of 28 × 28 pixels.

    Args:
        size: 28 for the original pixels, 14 for means over 2 × 2 pixels.
    """

    size: Literal[14, 28] = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size not in SIZES:
            raise ValueError(f"size must be 14 or 28, not {self.size}")
        self.sample_shape = (1, self.size, self.size)

    def features(self, x: Tensor) -> Tensor:
        """Pool to `size` × `size` by the mean, and scale the pixels from 0 … 255 to 0 … 1."""
        if self.size == SIDE:
            return x.unsqueeze(1).float() / MAX_PIXEL
        # Equal to `avg_pool2d` and faster; exact, because the sums are integers.
        rows = x[:, ::2].short() + x[:, 1::2]
        return ((rows[..., ::2] + rows[..., 1::2]).float() / 4).unsqueeze(1) / MAX_PIXEL


class ColourImages(Images):
    """Images of 32 × 32 pixels in red, green and blue."""

    sample_shape = (3, 32, 32)

    def features(self, x: Tensor) -> Tensor:
        """Scale the pixels from 0 … 255 to 0 … 1."""
        return x.float() / MAX_PIXEL


class FashionMNIST(GreyImages):
    """70,000 photographs of clothes, 28 × 28 grey pixels, 10 classes (Xiao, Rasul and Vollgraf, 2017).

    Slide "Supervision Multi-Classes".
    """

    name = "fashion_mnist"
    info = DatasetInfo(
        samples=70_000,
        source="H. Xiao, K. Rasul and R. Vollgraf 2017; https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        download="31 MB",
    )
    source = sources.FASHION_MNIST


class MNIST(GreyImages):
    """70,000 handwritten digits, 28 × 28 grey pixels, 10 classes (LeCun, Bottou, Bengio and Haffner, 1998).

    Slide "Supervision Multi-Classes".
    """

    name = "mnist"
    info = DatasetInfo(
        samples=70_000,
        source="Y. LeCun, C. Cortes and C. Burges 1998; http://yann.lecun.com/exdb/mnist",
        licence="CC BY-SA 3.0, as commonly stated",
        download="12 MB",
    )
    source = sources.MNIST


class SVHN(ColourImages):
    """99,289 digits of house numbers in photographs, 32 × 32 colour pixels, 10 classes (Netzer et al., 2011).

    The table on the slide "Data augmentation: comment automatiser le processus?" is about these data. The authors'
    531,131 additional, easier training images are not used.
    """

    name = "svhn"
    info = DatasetInfo(
        samples=99_289,
        source="Y. Netzer et al. 2011; http://ufldl.stanford.edu/housenumbers",
        licence="for non-commercial use only",
        download="246 MB",
    )
    source = sources.SVHN


class CIFAR10(ColourImages):
    """60,000 photographs of animals and vehicles, 32 × 32 colour pixels, 10 classes (Krizhevsky, 2009).

    Slide "Supervision Multi-Classes".
    """

    name = "cifar10"
    info = DatasetInfo(
        samples=60_000,
        source="A. Krizhevsky, V. Nair and G. Hinton 2009; https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; used in research",
        download="170 MB",
    )
    source = sources.CIFAR10
