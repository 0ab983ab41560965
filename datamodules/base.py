"""What all data modules share: tensors in memory, splits from the seed, statistics from the training split only."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from lightning import LightningDataModule
from torch import Tensor

from datamodules.augmentation import Augmentation, parse_operations
from datamodules.loader import TensorLoader, generator
from datamodules.scaling import groups_of, standardization, standardization_of
from datamodules.splits import Split, stratified
from datamodules.streaming import CHUNK, StreamLoader, Unread

EVALUATION_BATCH_SIZE = 1024
# An experiment's means rest on ten seeds unless a claim asks for more.
USUAL_NUMBER_OF_SEEDS = 10


@dataclass(frozen=True)
class Source:
    """A data set as its files hold it, before any split or scaling.

    Args:
        x: inputs, (n, …), in the type of the source.
        y: targets, (n,) or (n, columns).
    """

    x: Tensor
    y: Tensor

    @cached_property
    def sha256(self) -> str:
        """Digest of the types, shapes and bytes of inputs and targets, in hexadecimal."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class About:
    """What a person wants to know about a data set before using it."""

    # Of the whole set; 0 where as many are made as are asked for.
    samples: int
    # Who published it and when, with the address of its home page if it has one.
    source: str
    licence: str
    # What it costs to fetch, for example "30 MB"; empty if nothing needs to be fetched.
    download: str = ""
    # What `num_classes` counts: "classes", "labels" (several a sample) or "columns" (regression).
    outputs: Literal["classes", "labels", "columns"] = "classes"


class InMemoryDataModule(LightningDataModule, ABC):
    """A data set that fits in memory. `setup` fills `train`, `val` and `test`, each a pair (x, y).

    Inputs x are (n, *sample_shape) float32. Targets y are labels (n,) int64, or (n, num_classes) float32 for several
    labels a sample and for regression.

    A subclass sets `sample_shape` and `num_classes`, calls this constructor, and says where the data come from (`load`)
    and how an input becomes numbers (`features`). Unless it says otherwise (`split`), one permutation per seed is cut
    up: validation from its front, training after it, the test sample from its end. A larger training split therefore
    contains the smaller one and moves no other part, and so does a larger test sample. A training batch of one sample,
    also as the rest at the end of an epoch, is allowed: only a network that normalises over the batch cannot take it,
    and it says so.

    Args:
        batch_size: samples per training batch, or "full" for all of them.
        seed: fixes the split, the test sample and the order of the training samples, each by a generator of its own.
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        standardize: subtract the mean of the training split and divide by its standard deviation.
        stratify: keep the shares of the classes the same in training, validation and test samples, up to rounding.
        label_noise: probability that a training label is replaced by one drawn uniformly from all classes (Zhang et
            al. 2017); the validation and test labels stay.
        duplicates: further copies of every training sample: mass without variation.
        permute: rearrange the features (of an image, its pixels, alike in each channel) by one permutation, the same
            for all samples, drawn from the seed.
        augmentation: changes to the training images, drawn anew for every sample and epoch, in this order: one of
            autoaugment_svhn, autoaugment_cifar10, autoaugment_imagenet or trivial_augment; shift (up to 2 pixels in
            each direction), flip (left and right, probability .5: digits do not survive it), affine (up to 15 degrees,
            10 % of the side, 10 % of the size, 5 degrees of shear), erase (a rectangle, probability .5). Other
            strengths as in shift(3), affine(degrees=30, shear=0) or autoaugment_svhn(copies=8), which lets the epochs
            take turns with 8 copies made in advance. The labels stay. The images are changed before they are permuted
            and standardised; the statistics are those of the unchanged ones. What is logged while training, as
            train/accuracy, is about the changed ones. Duplicates are changed each on its own.
        in_memory: hold the training inputs ready as tensors on the device that trains. Otherwise they stay as the
            source holds them (images: one byte a number instead of four), and each batch is made from it by the workers
            of a `DataLoader`, ahead of time: in the same order, with the same draws.
        workers: processes that do that; 2 if not given.

    Raises:
        ValueError: a number is out of range, the parts exceed the data, the batch is larger than the training split,
            an augmentation does not exist, or workers would have nothing to do.
    """

    # What the command line and the results call it.
    name: str
    about: ClassVar[About]
    sample_shape: tuple[int, ...]
    num_classes: int
    # Columns of a table have their own units; the pixels of an image share one.
    per_feature: ClassVar[bool] = True

    def __init__(
        self,
        *,
        batch_size: int | Literal["full"],
        seed: int,
        num_train: int,
        num_val: int,
        num_test: int,
        standardize: bool = True,
        stratify: bool = False,
        label_noise: float = 0.0,
        duplicates: int = 0,
        permute: bool = False,
        augmentation: list[str] | None = None,
        in_memory: bool = True,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        for key, size in {"num_train": num_train, "num_val": num_val, "num_test": num_test}.items():
            if size < 1:
                raise ValueError(f"{key} must be >= 1, not {size}")
        for key, least in {"seed": seed, "duplicates": duplicates}.items():
            if least < 0:
                raise ValueError(f"{key} must be >= 0, not {least}")
        if not 0 <= label_noise <= 1:
            raise ValueError(f"label_noise must lie in [0, 1], not {label_noise}")
        available = num_train * (1 + duplicates)
        self.batch_size = available if batch_size == "full" else batch_size
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size must be >= 1 or 'full', not {batch_size}")
        if self.batch_size > available:
            samples = "num_train * (1 + duplicates)" if duplicates else "num_train"
            raise ValueError(f"batch_size must be <= {samples} = {available}, not {batch_size}")
        self.seed = seed
        self.n_train, self.n_val, self.n_test = num_train, num_val, num_test
        self.standardize = standardize
        self.stratify = stratify
        self.label_noise = label_noise
        self.duplicates = duplicates
        self.permute = permute
        self.augmentation = augmentation
        if in_memory and workers is not None:
            raise ValueError(f"workers={workers} has no effect: nothing is left to do for them where in_memory is true")
        if workers is not None and workers < 0:
            raise ValueError(f"workers must be >= 0, not {workers}")
        self.in_memory = in_memory
        self.workers = 2 if workers is None else workers
        self._unread: Unread | None = None
        self._targets = torch.empty(0)
        self._operations = [] if augmentation is None else parse_operations(augmentation)
        self._augmented: Augmentation | None = None
        self._scaling: tuple[Tensor, Tensor] | None = None
        self.indices: Split | None = None
        self._train: tuple[Tensor, Tensor] | None = None
        self.val: tuple[Tensor, Tensor]
        self.test: tuple[Tensor, Tensor]
        self._train_loader: TensorLoader | None = None
        self._state_to_resume: dict[str, Any] | None = None

    @classmethod
    def found(cls) -> str:
        """Say where the data come from on this machine: a folder, or in words; empty if they must be downloaded."""
        return "bundled" if cls.about.samples else "made from the seed"

    @abstractmethod
    def load(self) -> Source:
        """Return the whole data set, read once per process."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Turn inputs as the source holds them, (n, …), into (n, *sample_shape) float32, before standardisation."""

    def split(self) -> Split:
        """Choose the rows of the three parts."""
        order = self.drawn(torch.arange(len(self.load().x)), "split")
        wanted = self.n_train + self.n_val + self.n_test
        if wanted > len(order):
            raise ValueError(
                f"num_train + num_val + num_test must be <= {len(order)}, the samples there are, not {wanted}"
            )
        return Split(
            train=order[self.n_val : self.n_val + self.n_train],
            val=order[: self.n_val],
            test=order[len(order) - self.n_test :],
        )

    def drawn(self, rows: Tensor, purpose: str) -> Tensor:
        """Shuffle rows of the source, with the classes in proportion if that is asked for."""
        order = rows[torch.randperm(len(rows), generator=generator(self.seed, purpose))]
        return stratified(order, self.load().y) if self.stratify else order

    def block_of_seed(self, rows: Tensor) -> Tensor:
        """Shuffle rows the same way for every seed, cut them into blocks of `num_test`, and take the seed's own.

        Only so are the test samples of consecutive seeds disjoint, `num_disjoint_tests` of them.
        """
        order = rows[torch.randperm(len(rows), generator=generator(0, "test"))]
        if self.stratify:
            order = stratified(order, self.load().y)
        first = (self.seed % self.num_disjoint_tests) * self.n_test
        return order[first : first + self.n_test]

    @property
    def num_features(self) -> int:
        """Size of a flattened sample."""
        return math.prod(self.sample_shape)

    @property
    def num_disjoint_tests(self) -> int:
        """The number of consecutive seeds whose test samples do not overlap."""
        return 1

    @property
    def disjoint_test(self) -> bool:
        """Whether the test samples of ten consecutive seeds do not overlap."""
        return self.num_disjoint_tests >= USUAL_NUMBER_OF_SEEDS

    @property
    def sha256(self) -> str:
        """Digest of the content of the source, the same for every split of it."""
        return self.load().sha256

    def setup(self, stage: str = "fit") -> None:
        """Read, split and scale the data, once for all stages.

        Raises:
            ValueError: the data do not suffice for the split or for the classes, a value is not a finite number, or an
                option needs labels, or images, where there are none.
        """
        if self.indices is not None:
            return
        source = self.load()
        self._check_labels(source.y)
        self._check_range(source.y)
        indices = self.split()
        if not self.in_memory:
            self._unread = Unread(source.x, indices.train, self.features)
        held = indices if self.in_memory else indices[1:]
        parts = [self.features(source.x[rows]) for rows in held]
        self._check_finite(source, indices, parts)
        images = parts[0] if self._unread is None else self._unread
        if self._operations:
            self._augmented = Augmentation(self._operations, images, seed=self.seed, repeats=1 + self.duplicates)
        if self.permute:
            parts = [self._permuted(x) for x in parts]
        if self.standardize:
            self._scaling = self._statistics(parts[0])
            parts = [self._scaled(x) for x in parts]
        train_y, *held_y = self.targets([source.y[rows] for rows in indices])
        self.val, self.test = zip(parts[-2:], held_y, strict=True)
        self._targets = self._repeated(self._noisy(train_y))
        if self.in_memory:
            self.train = self._repeated(parts[0]), self._targets
        self.indices = indices

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        """The training split before any augmentation; if it is not in memory, it is read into it now."""
        if self._train is not None:
            return self._train
        if self._unread is None:
            raise AttributeError(f"{type(self).__name__} has no training split before it is set up")
        return self._repeated(torch.cat([self._placed(x) for x in self._unread.chunks()])), self._targets

    @train.setter
    def train(self, pair: tuple[Tensor, Tensor]) -> None:
        self._train = pair

    def targets(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """Turn the targets of training, validation and test split, as the source holds them, into what is learnt."""
        return parts

    def _check_labels(self, y: Tensor) -> None:
        if y.dtype == torch.int64:
            if self.n_train < self.num_classes:
                raise ValueError(
                    f"num_train must be >= {self.num_classes}, the number of classes of {type(self).__name__}, "
                    f"not {self.n_train}"
                )
            return
        for option in ("stratify", "label_noise"):
            if getattr(self, option):
                raise ValueError(f"{option} needs one label a sample, which {type(self).__name__} does not have")

    def _check_range(self, y: Tensor) -> None:
        if y.dtype == torch.int64:
            strange = (y < 0) | (y >= self.num_classes)
            if strange.any():
                row = int(strange.nonzero()[0])
                raise ValueError(
                    f"{type(self).__name__}: sample {row} has the label {int(y[row])}; "
                    f"{self.num_classes} classes have labels 0 to {self.num_classes - 1}"
                )

    def _check_finite(self, source: Source, indices: Split, parts: Sequence[Tensor]) -> None:
        chunks = [(part, rows) for part, rows in zip(parts, indices[-len(parts) :], strict=True)]
        if self._unread is not None:
            chunks += zip(self._unread.chunks(), torch.split(indices.train, CHUNK), strict=True)
        for part, rows in chunks:
            broken = ~torch.stack([t.reshape(len(rows), -1).isfinite().all(1) for t in (part, source.y[rows])]).all(0)
            if broken.any():
                raise ValueError(f"{type(self).__name__}: sample {int(rows[broken][0])} has a value that is not finite")

    def _statistics(self, train: Tensor) -> tuple[Tensor, Tensor]:
        if self._unread is None:
            return standardization(train, per_feature=self.per_feature)
        groups, shape = groups_of(self._unread.shape[1:], self.per_feature)

        def columns(x: Tensor) -> Tensor:
            x = self._permuted(x) if self.permute else x
            return x.double().reshape(len(x), groups, -1).transpose(1, 2).reshape(-1, groups)

        mean, std = standardization_of(self._unread, columns)
        return mean.float().reshape(shape), std.where(std > 0, 1.0).float().reshape(shape)

    def _permuted(self, x: Tensor) -> Tensor:
        """Rearrange the features of a sample, or the pixels of an image in each of its channels."""
        first = 2 if x.dim() > 2 else 1
        flat = x.flatten(first)
        return flat[..., torch.randperm(flat.shape[-1], generator=generator(self.seed, "permutation"))].reshape(x.shape)

    def _scaled(self, x: Tensor) -> Tensor:
        if self._scaling is None:
            return x
        mean, std = (statistic.to(x.device) for statistic in self._scaling)
        return (x - mean) / std

    def _noisy(self, y: Tensor) -> Tensor:
        """Draw some of the training labels anew."""
        if not self.label_noise:
            return y
        # More noise, or more samples, change the same labels in the same way, and some more.
        hit = torch.rand(len(y), generator=generator(self.seed, "label noise")) < self.label_noise
        drawn = torch.randint(self.num_classes, y.shape, generator=generator(self.seed, "noisy label"))
        return torch.where(hit, drawn, y)

    def _repeated(self, part: Tensor) -> Tensor:
        """Add the duplicates of the training split."""
        return part.repeat([1 + self.duplicates, *[1] * (part.dim() - 1)]) if self.duplicates else part

    def _made(self, rows: Tensor, epoch: int) -> Tensor:
        """Make some rows of the training inputs as an epoch shows them."""
        if self._augmented is not None:
            x = self._augmented(rows, epoch)
        else:
            assert self._unread is not None
            x = self._unread[rows % len(self._unread)]
        return self._placed(x)

    def _placed(self, x: Tensor) -> Tensor:
        """Permute and standardise inputs, if that is asked for."""
        return self._scaled(self._permuted(x) if self.permute else x)

    def smallest_batch(self) -> tuple[Tensor, Tensor]:
        """Samples for a trial: two of them, or one if a training batch of one sample occurs in an epoch."""
        smallest = len(self._targets) % self.batch_size or self.batch_size
        rows = torch.arange(min(smallest, 2))
        return self.train[0][rows] if self.in_memory else self._made(rows, 0), self._targets[rows]

    def train_dataloader(self) -> TensorLoader:
        """Batches of the training split in the order of the seed and the epoch.

        Raises:
            ValueError: several devices train, each of which would see every sample.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            raise ValueError(
                f"{type(self).__name__} feeds one device, not {self.trainer.world_size}: set trainer.devices to 1"
            )
        # Over-fitting a few batches needs the same ones every epoch; Lightning can freeze only its own samplers.
        shuffle = self.trainer is None or not self.trainer.overfit_batches  # type: ignore[attr-defined]
        loader: TensorLoader
        if self.in_memory:
            inputs = self._made if self._augmented else None
            if self._augmented is not None:
                self._augmented.images = self._augmented.images.to(self._device)  # type: ignore[union-attr]
            loader = TensorLoader(
                self._resident(self.train), batch_size=self.batch_size, seed=self.seed, shuffle=shuffle, inputs=inputs
            )
        else:
            loader = StreamLoader(
                self._targets,
                batch_size=self.batch_size,
                seed=self.seed,
                shuffle=shuffle,
                inputs=self._made,
                workers=self.workers,
            )
        if self._state_to_resume is not None:
            loader.load_state_dict(self._state_to_resume)
            self._state_to_resume = None
        self._train_loader = loader
        return loader

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _resident(self, data: Sequence[Tensor]) -> list[Tensor]:
        """Put tensors on the device that trains, once and not a batch at a time."""
        return [tensor.to(self._device) for tensor in data]

    def val_dataloader(self) -> TensorLoader:
        """Batches of the validation split as it lies."""
        return self._evaluation_loader(self.val)

    def test_dataloader(self) -> TensorLoader:
        """Batches of the test split as it lies."""
        return self._evaluation_loader(self.test)

    def predict_dataloader(self) -> TensorLoader:
        """Batches of the test split as it lies."""
        return self.test_dataloader()

    def _evaluation_loader(self, data: tuple[Tensor, Tensor]) -> TensorLoader:
        return TensorLoader(self._resident(data), batch_size=EVALUATION_BATCH_SIZE, seed=self.seed, shuffle=False)

    def state_dict(self) -> dict[str, Any]:
        """Return where the training loader stands, for the checkpoint.

        Lightning saves the loader's own state too, but does not load it back if `configure_optimizers` has asked for
        `estimated_stepping_batches`, as every schedule does (Lightning issue 20550): the epoch would begin anew.
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where the saved one stood."""
        self._state_to_resume = state_dict
