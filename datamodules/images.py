"""Data sets of small images whose authors set a test set apart; they share one way to draw samples from either part."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from datamodules import sources
from datamodules.base import About, InMemoryDataModule, Source
from datamodules.splits import Split

SIDE = 28
BRIGHTEST = 255
SIZES = (14, 28)


# The seeds of a stack share one copy; no more than the last data set is kept.
@lru_cache(maxsize=1)
def _load(source: sources.ImageSource, root: str | None) -> Source:
    # 0.4 s for Fashion-MNIST, most of it unpacking: not worth a second copy on the disk.
    return Source(*sources.read(source, root))


@dataclass(kw_only=True, eq=False)
class Images(InMemoryDataModule):
    """Images in ten classes, with a training set and a test set of their authors.

    Training and validation samples are drawn per seed from the official training images; a larger training split
    contains the smaller one of the same seed, and moves neither validation nor test. The official test images are
    shuffled once, the same way for every seed, and cut into blocks of `num_test`; a seed tests on block
    `seed % number of blocks`. With 10,000 test images and blocks of 1,000 the seeds 1000 … 1009 thus have disjoint
    ones, and with blocks of 333 the seeds 1000 … 1029.

    The files are looked for in `root` alone if one is given, else in the folder of a Debian package and in `data/`,
    where they are downloaded. Their content is verified.

    Without standardisation, pixels lie between 0 and 1; with it, one mean and one deviation serve a channel.

    Args:
        root: a folder that holds the files, or torchvision's root folder.

    Raises:
        ValueError: a number is out of range, or a part exceeds the images there are.
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
    def found(cls) -> str:
        """Say in which folder the files are, if no `root` is given; empty if they must be downloaded."""
        return str(sources.find(cls.source) or "")

    @property
    def num_disjoint_tests(self) -> int:
        """The number of blocks of `num_test` among the test images."""
        return self.source.num_test // self.num_test

    def load(self) -> Source:
        """Return all images, the training images first: x (n, …) uint8 and y (n,)."""
        return _load(self.source, self.root)

    def split(self) -> Split:
        """Draw training and validation rows from the training images, and take the seed's block of the test images."""
        drawn = self.drawn(torch.arange(self.source.num_train), "split")
        return Split(
            train=drawn[self.num_val : self.num_val + self.num_train],
            val=drawn[: self.num_val],
            test=self.block_of_seed(self.source.num_train + torch.arange(self.source.num_test)),
        )


@dataclass(kw_only=True, eq=False)
class GreyImages(Images):
    """Grey images of 28 × 28 pixels.

    Args:
        size: 28 for the original pixels, 14 for the means of 2 × 2 of them.
    """

    size: Literal[14, 28] = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size not in SIZES:
            raise ValueError(f"size must be 14 or 28, not {self.size}")
        self.sample_shape = (1, self.size, self.size)

    def features(self, x: Tensor) -> Tensor:
        """Pool to `size` × `size` by the mean, and bring the pixels from 0 … 255 to 0 … 1."""
        if self.size == SIDE:
            return x.unsqueeze(1).float() / BRIGHTEST
        # As `avg_pool2d` to the last digit, and quicker: the sums are whole numbers.
        rows = x[:, ::2].short() + x[:, 1::2]
        return ((rows[..., ::2] + rows[..., 1::2]).float() / 4).unsqueeze(1) / BRIGHTEST


class ColourImages(Images):
    """Images of 32 × 32 pixels in red, green and blue."""

    sample_shape = (3, 32, 32)

    def features(self, x: Tensor) -> Tensor:
        """Bring the pixels from 0 … 255 to 0 … 1."""
        return x.float() / BRIGHTEST


class FashionMNIST(GreyImages):
    """70,000 photographs of clothes, 28 × 28 grey pixels, 10 classes (Xiao, Rasul and Vollgraf, 2017).

    Slide "Supervision Multi-Classes".
    """

    name = "fashion_mnist"
    about = About(
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
    about = About(
        samples=70_000,
        source="Y. LeCun, C. Cortes and C. Burges 1998; http://yann.lecun.com/exdb/mnist",
        licence="CC BY-SA 3.0, as commonly stated",
        download="12 MB",
    )
    source = sources.MNIST


class SVHN(ColourImages):
    """99,289 digits of house numbers in photographs, 32 × 32 colour pixels, 10 classes (Netzer et al., 2011).

    The data of the table on the slide "Data augmentation: comment automatiser le processus?". The 531,131 further,
    easier training images of the authors are not used.
    """

    name = "svhn"
    about = About(
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
    about = About(
        samples=60_000,
        source="A. Krizhevsky, V. Nair and G. Hinton 2009; https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated; used in research",
        download="170 MB",
    )
    source = sources.CIFAR10
