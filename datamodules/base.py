"""What all data modules share: tensors in memory, splits from the seed, statistics from the training split only."""

import hashlib
import math
import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules.augmentation import Augmentation, parse_operations
from datamodules.loader import Batch, Order, OrderedLoader, ResumableData, Samples, generator, ordered
from datamodules.scaling import groups_of, standardization, standardization_of
from datamodules.splits import Split, stratified
from datamodules.streaming import CHUNK, Unread

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
class Read:
    """Training inputs that stay as the source holds them, and what each number is scaled by: mean and deviation."""

    unread: Unread
    scaling: tuple[Tensor, Tensor] | None


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


@dataclass(kw_only=True, eq=False)
class InMemoryDataModule(ResumableData, ABC):
    """A data set that fits in memory. `setup` fills `train`, `val` and `test`, each a pair (x, y).

    Inputs x are (n, *sample_shape) float32. Targets y are labels (n,) int64, or (n, num_classes) float32 for several
    labels a sample and for regression.

    A subclass is a dataclass as well: its fields are its options, which the command line knows and a checkpoint keeps
    as hyper-parameters, and `dataclasses.replace(data, seed=1)` is the same data of another seed. It sets
    `sample_shape` and `num_classes`, and says where the data come from (`load`) and how an input becomes numbers
    (`features`). Unless it says otherwise (`split`), one permutation per seed is cut up: validation from its front,
    training after it, the test sample from its end. A larger training split therefore contains the smaller one and
    moves no other part, and so does a larger test sample. A training batch of one sample, also as the rest at the end
    of an epoch, is allowed: only a network that normalises over the batch cannot take it, and it says so.

    Args:
        batch_size: samples per training batch, or "full" for all of them.
        seed: fixes the split, the test sample and the order of the training samples, each by a generator of its own;
            that of `seed_everything` if not given. Seed and folders are no hyper-parameters: the network logs the seed.
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
        workers: processes that do that; 2 if not given. A process that may have none makes the batches itself.

    Raises:
        ValueError: a number is out of range, the parts exceed the data, the batch is larger than the training split,
            an augmentation does not exist, or workers would have nothing to do.
    """

    # What the command line and the results call it.
    name: str = field(init=False, repr=False)
    about: ClassVar[About]
    # Columns of a table have their own units; the pixels of an image share one.
    per_feature: ClassVar[bool] = True
    sample_shape: tuple[int, ...] = field(init=False, repr=False)
    num_classes: int = field(init=False, repr=False)

    batch_size: int | Literal["full"]
    seed: int | None = None
    num_train: int
    num_val: int
    num_test: int
    standardize: bool = True
    stratify: bool = False
    label_noise: float = 0.0
    duplicates: int = 0
    permute: bool = False
    augmentation: list[str] | None = None
    in_memory: bool = True
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__init__()
        # Lightning's CLI gives two keys of its own, which no constructor takes.
        self.save_hyperparameters(ignore=["seed", "root", "_class_path", "_instantiator"])
        if self.seed is None:
            self.seed = torch.initial_seed()
        for key in ("num_train", "num_val", "num_test"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be >= 1, not {getattr(self, key)}")
        for key in ("seed", "duplicates"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be >= 0, not {getattr(self, key)}")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise must lie in [0, 1], not {self.label_noise}")
        available, given = self.num_train * (1 + self.duplicates), self.batch_size
        if given == "full":
            self.batch_size = available
        elif not isinstance(given, int) or given < 1:
            raise ValueError(f"batch_size must be >= 1 or 'full', not {given}")
        elif given > available:
            samples = "num_train * (1 + duplicates)" if self.duplicates else "num_train"
            raise ValueError(f"batch_size must be <= {samples} = {available}, not {given}")
        if self.in_memory and self.workers is not None:
            raise ValueError(
                f"workers={self.workers} has no effect: nothing is left to do for them where in_memory is true"
            )
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be >= 0, not {self.workers}")
        self._operations = [] if self.augmentation is None else parse_operations(self.augmentation)
        self._unread: Unread | None = None
        self._targets = torch.empty(0)
        self._augmented: Augmentation | None = None
        self._scaling: tuple[Tensor, Tensor] | None = None
        self.indices: Split | None = None
        self._train: tuple[Tensor, Tensor] | None = None
        self.val: tuple[Tensor, Tensor]
        self.test: tuple[Tensor, Tensor]

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
        wanted = self.num_train + self.num_val + self.num_test
        if wanted > len(order):
            raise ValueError(
                f"num_train + num_val + num_test must be <= {len(order)}, the samples there are, not {wanted}"
            )
        return Split(
            train=order[self.num_val : self.num_val + self.num_train],
            val=order[: self.num_val],
            test=order[len(order) - self.num_test :],
        )

    def drawn(self, rows: Tensor, purpose: str) -> Tensor:
        """Shuffle rows of the source, with the classes in proportion if that is asked for."""
        order = rows[torch.randperm(len(rows), generator=generator(self._seed, purpose))]
        return stratified(order, self.load().y) if self.stratify else order

    def block_of_seed(self, rows: Tensor) -> Tensor:
        """Shuffle rows the same way for every seed, cut them into blocks of `num_test`, and take the seed's own.

        Only so are the test samples of consecutive seeds disjoint, `num_disjoint_tests` of them.
        """
        order = rows[torch.randperm(len(rows), generator=generator(0, "test"))]
        if self.stratify:
            order = stratified(order, self.load().y)
        first = (self._seed % self.num_disjoint_tests) * self.num_test
        return order[first : first + self.num_test]

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
    def nbytes(self) -> int:
        """Size of what is held of the three splits; the source, which a process reads once, is not counted."""
        held = [self._targets, *self.val, *self.test, *([] if self._train is None else self._train)]
        images = None if self._augmented is None else self._augmented.images
        return sum(tensor.nbytes for tensor in [*held, images] if isinstance(tensor, Tensor))

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
            self._augmented = Augmentation(self._operations, images, seed=self._seed, repeats=1 + self.duplicates)
        if self.permute:
            parts = [self._permuted(x) for x in parts]
        if self.standardize:
            self._scaling = self._statistics(parts[0])
            parts = [self._scaled(x) for x in parts]
        train_y, *held_y = self.targets([source.y[rows] for rows in indices])
        self.val, self.test = zip(parts[-2:], held_y, strict=True)
        self._targets = self._repeated(self._noisy(train_y))
        if self.in_memory and self._augmented is None:
            self.train = self._repeated(parts[0]), self._targets
        self.indices = indices

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        """The training split before any augmentation; made when it is asked for if training reads something else."""
        if self._train is not None:
            return self._train
        images = self._unread if self._augmented is None else self._augmented.images
        if images is None:
            raise AttributeError(f"{type(self).__name__} has no training split before it is set up")
        parts = [images] if isinstance(images, Tensor) else images.chunks()
        return self._repeated(torch.cat([self._placed(x) for x in parts])), self._targets

    @train.setter
    def train(self, pair: tuple[Tensor, Tensor]) -> None:
        self._train = pair

    def targets(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """Turn the targets of training, validation and test split, as the source holds them, into what is learnt."""
        return parts

    def _check_labels(self, y: Tensor) -> None:
        if y.dtype == torch.int64:
            if self.num_train < self.num_classes:
                raise ValueError(
                    f"num_train must be >= {self.num_classes}, the number of classes of {type(self).__name__}, "
                    f"not {self.num_train}"
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
        return flat[..., torch.randperm(flat.shape[-1], generator=generator(self._seed, "permutation"))].reshape(
            x.shape
        )

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
        hit = torch.rand(len(y), generator=generator(self._seed, "label noise")) < self.label_noise
        drawn = torch.randint(self.num_classes, y.shape, generator=generator(self._seed, "noisy label"))
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

    @property
    def read(self) -> Read | None:
        """How training inputs come from the source, sample by sample alike; None where they are held, or changed."""
        if self._unread is None or self._augmented is not None or self.permute:
            return None
        return Read(self._unread, self._scaling)

    def _placed(self, x: Tensor) -> Tensor:
        """Permute and standardise inputs, if that is asked for."""
        return self._scaled(self._permuted(x) if self.permute else x)

    @property
    def num_batches(self) -> int:
        """Training batches of an epoch."""
        return -(-self.num_train * (1 + self.duplicates) // int(self.batch_size))

    def smallest_batch(self) -> tuple[Tensor, Tensor]:
        """Samples for a trial: two of them, or one if a training batch of one sample occurs in an epoch."""
        size = int(self.batch_size)
        rows = torch.arange(min(len(self._targets) % size or size, 2))
        return self.train[0][rows] if self.in_memory else self._made(rows, 0), self._targets[rows]

    def train_dataloader(self) -> OrderedLoader:
        """Batches of the training split in the order of the seed and the epoch.

        Raises:
            ValueError: several devices train, each of which would see every sample.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            raise ValueError(
                f"{type(self).__name__} feeds one device, not {self.trainer.world_size}: set trainer.devices to 1"
            )
        device, workers = self._device, 0
        if not self.in_memory:
            device = torch.device("cpu")
            workers = 0 if multiprocessing.current_process().daemon else 2 if self.workers is None else self.workers
        elif self._augmented is not None:
            self._augmented.images = self._augmented.images.to(device)  # type: ignore[union-attr]
        if self.in_memory and self._augmented is None:
            samples = Samples(self._resident(self.train))
        else:
            samples = Samples([self._targets.to(device)], self._made)
        # Over-fitting a few batches needs the same ones every epoch; Lightning can freeze only its own samplers.
        shuffle = self.trainer is None or not self.trainer.overfit_batches  # type: ignore[attr-defined]
        order = Order(len(samples), batch_size=int(self.batch_size), seed=self._seed, shuffle=shuffle, device=device)
        return self.resumed(ordered(samples, order, workers))

    @property
    def _seed(self) -> int:
        assert self.seed is not None  # since it was built
        return self.seed

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _resident(self, data: Sequence[Tensor]) -> list[Tensor]:
        """Put tensors on the device that trains, once and not a batch at a time."""
        return [tensor.to(self._device) for tensor in data]

    def val_dataloader(self) -> OrderedLoader:
        """Batches of the validation split as it lies."""
        return self.evaluation_loader(self.val)

    def test_dataloader(self) -> OrderedLoader:
        """Batches of the test split as it lies."""
        return self.evaluation_loader(self.test)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split as it lies, by torch's own sampler: Lightning tells writers which rows they are."""
        # A generator of its own: the global one belongs to the network.
        own = torch.Generator()
        return DataLoader(TensorDataset(*self.test), batch_size=EVALUATION_BATCH_SIZE, generator=own)

    def evaluation_loader(self, data: tuple[Tensor, Tensor]) -> OrderedLoader:
        """Batches of inputs and targets as they lie."""
        samples = Samples(self._resident(data))
        order = Order(
            len(samples), batch_size=EVALUATION_BATCH_SIZE, seed=self._seed, shuffle=False, device=self._device
        )
        return ordered(samples, order)
