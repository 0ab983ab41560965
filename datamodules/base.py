"""The base of all data modules: tensors in memory, splits from the seed, statistics from the training split."""

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
from datamodules.loader import Batch, Order, OrderedLoader, ResumableData, Samples, generator, ordered_loader
from datamodules.scaling import standardization, statistic_groups, streamed_standardization
from datamodules.splits import Split, stratified
from datamodules.streaming import CHUNK, LazyInputs

EVALUATION_BATCH_SIZE = 1024
# Number of seeds of an experiment, unless a claim asks for more.
DEFAULT_NUM_SEEDS = 10


@dataclass(frozen=True)
class Source:
    """A data set as stored in its files, before any split or scaling.

    Args:
        x: inputs, (n, …), in the dtype of the source.
        y: targets, (n,) or (n, columns).
    """

    x: Tensor
    y: Tensor

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the dtypes, shapes and bytes of inputs and targets, in hexadecimal."""
        digest = hashlib.sha256()
        for tensor in (self.x, self.y):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class ScaledInputs:
    """Training inputs that are computed on demand, with the mean and standard deviation that scale them."""

    inputs: LazyInputs
    scaling: tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a data set: size, source, licence, download."""

    # Number of samples of the whole set; 0 if samples are generated on request.
    samples: int
    # Authors and year, with the address of the home page if there is one.
    source: str
    licence: str
    # Size of the download, for example "30 MB"; empty if there is none.
    download: str = ""
    # What `num_classes` counts: "classes", "labels" (several per sample) or "columns" (regression).
    outputs: Literal["classes", "labels", "columns"] = "classes"


@dataclass(kw_only=True, eq=False)
class InMemoryDataModule(ResumableData, ABC):
    """A data set that fits in memory. `setup` fills `train`, `val` and `test`, each a pair (x, y).

    Inputs x are (n, *sample_shape) float32. Targets y are labels (n,) int64, or (n, num_classes) float32 for several
    labels per sample and for regression.

    A subclass is a dataclass: its fields are its options, which the command line accepts and checkpoints store as
    hyper-parameters, and `dataclasses.replace(data, seed=1)` is the same data with another seed. A subclass sets
    `sample_shape` and `num_classes` and implements `load` (read the data) and `features` (turn inputs into float32).
    By default, `split` cuts one permutation per seed: validation from its front, then training, and the test sample
    from its end. A larger training split therefore contains the smaller one and does not change the other parts; the
    same holds for the test sample. Training batches of one sample are allowed, also as the last batch of an epoch; a
    network that normalises over the batch refuses them.

    Args:
        batch_size: samples per training batch, or "full" for all of them.
        seed: seed of the split, the test sample and the order of the training samples, each with its own generator.
            Default: the seed of `seed_everything`. Seed and folders are not logged as hyper-parameters of the data; the
            network logs the seed.
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        standardize: subtract the mean of the training split and divide by its standard deviation.
        stratify: make the class shares equal in the training, validation and test samples, up to rounding.
        label_noise: probability that a training label is replaced by one drawn uniformly from all classes (Zhang et
            al. 2017); validation and test labels do not change.
        duplicates: number of additional copies of every training sample.
        permute: apply one permutation, drawn from the seed, to the features of all samples (for images, to the pixels
            of each channel).
        augmentation: random changes to the training images, drawn for every sample and epoch, in this order: one of
            autoaugment_svhn, autoaugment_cifar10, autoaugment_imagenet or trivial_augment; shift (up to 2 pixels in
            each direction), flip (left and right, probability .5; unsuitable for digits), affine (up to 15 degrees,
            10 % of the side, 10 % of the size, 5 degrees of shear), erase (a rectangle, probability .5). Other
            strengths are given as in shift(3), affine(degrees=30, shear=0) or autoaugment_svhn(copies=8), which makes
            8 copies in advance and uses one per epoch in turn. Labels do not change. Images are augmented before they
            are permuted and standardised; the statistics are those of the original images. Training metrics such as
            train/accuracy refer to the augmented images. Duplicates are augmented separately.
        in_memory: keep the training inputs as tensors on the training device. Otherwise they are kept in the dtype of
            the source (images: one byte per number instead of four), and `DataLoader` workers prepare each batch in
            advance, with the same order and the same random numbers.
        workers: processes that prepare batches if in_memory is false. Default: 2. A daemon process, which cannot start
            workers, prepares the batches itself.

    Raises:
        ValueError: number out of range, parts that exceed the data, batch larger than the training split, unknown
            augmentation, or workers without effect.
    """

    # Name on the command line and in results.
    name: str = field(init=False, repr=False)
    info: ClassVar[DatasetInfo]
    # Whether each feature has its own mean and standard deviation; false for images, whose pixels share a unit.
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
        # Lightning's CLI adds two keys that are not constructor arguments.
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
        self._lazy_inputs: LazyInputs | None = None
        self._targets = torch.empty(0)
        self._augmentation: Augmentation | None = None
        self._scaling: tuple[Tensor, Tensor] | None = None
        self.indices: Split | None = None
        self._train: tuple[Tensor, Tensor] | None = None
        self.val: tuple[Tensor, Tensor]
        self.test: tuple[Tensor, Tensor]

    @classmethod
    def location(cls) -> str:
        """Return where the data are on this machine: a folder or a description; empty if they must be downloaded."""
        return "bundled" if cls.info.samples else "made from the seed"

    @abstractmethod
    def load(self) -> Source:
        """Return the whole data set; it is read once per process."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Convert inputs of the source, (n, …), to (n, *sample_shape) float32, before standardisation."""

    def split(self) -> Split:
        """Return the rows of the three parts."""
        order = self.shuffled(torch.arange(len(self.load().x)), "split")
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

    def shuffled(self, rows: Tensor, purpose: str) -> Tensor:
        """Shuffle rows of the source; stratify them if asked for."""
        order = rows[torch.randperm(len(rows), generator=generator(self._seed, purpose))]
        return stratified(order, self.load().y) if self.stratify else order

    def test_block(self, rows: Tensor) -> Tensor:
        """Shuffle rows in the same way for every seed, cut them into blocks of `num_test`, and return the seed's block.

        This makes the test samples of `num_disjoint_tests` consecutive seeds disjoint.
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
        """Number of consecutive seeds whose test samples do not overlap."""
        return 1

    @property
    def disjoint_test(self) -> bool:
        """Whether the test samples of ten consecutive seeds do not overlap."""
        return self.num_disjoint_tests >= DEFAULT_NUM_SEEDS

    @property
    def nbytes(self) -> int:
        """Bytes of the three splits in memory, without the source, which seeds share."""
        held = [self._targets, *self.val, *self.test, *([] if self._train is None else self._train)]
        images = None if self._augmentation is None else self._augmentation.images
        return sum(tensor.nbytes for tensor in [*held, images] if isinstance(tensor, Tensor))

    @property
    def sha256(self) -> str:
        """SHA-256 of the content of the source, the same for every split."""
        return self.load().sha256

    def setup(self, stage: str = "fit") -> None:
        """Read, split and scale the data, once for all stages.

        Raises:
            ValueError: too few samples for the split or the classes, a value that is not finite, or an option that
                needs labels or images where there are none.
        """
        if self.indices is not None:
            return
        source = self.load()
        self._validate_labels(source.y)
        self._validate_range(source.y)
        indices = self.split()
        if not self.in_memory:
            self._lazy_inputs = LazyInputs(source.x, indices.train, self.features)
        held = indices if self.in_memory else indices[1:]
        parts = [self.features(source.x[rows]) for rows in held]
        self._validate_finite(source, indices, parts)
        images = parts[0] if self._lazy_inputs is None else self._lazy_inputs
        if self._operations:
            self._augmentation = Augmentation(self._operations, images, seed=self._seed, repeats=1 + self.duplicates)
        if self.permute:
            parts = [self._permuted(x) for x in parts]
        if self.standardize:
            self._scaling = self._statistics(parts[0])
            parts = [self._scaled(x) for x in parts]
        train_y, *held_y = self.targets([source.y[rows] for rows in indices])
        self.val, self.test = zip(parts[-2:], held_y, strict=True)
        self._targets = self._add_duplicates(self._add_label_noise(train_y))
        if self.in_memory and self._augmentation is None:
            self.train = self._add_duplicates(parts[0]), self._targets
        self.indices = indices

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        """The training split before augmentation; computed on access if training uses other inputs."""
        if self._train is not None:
            return self._train
        images = self._lazy_inputs if self._augmentation is None else self._augmentation.images
        if images is None:
            raise AttributeError(f"{type(self).__name__} has no training split before it is set up")
        parts = [images] if isinstance(images, Tensor) else images.chunks()
        return self._add_duplicates(torch.cat([self._transform(x) for x in parts])), self._targets

    @train.setter
    def train(self, pair: tuple[Tensor, Tensor]) -> None:
        self._train = pair

    def targets(self, parts: Sequence[Tensor]) -> Sequence[Tensor]:
        """Convert the source's targets of the training, validation and test split to the targets of the network."""
        return parts

    def _validate_labels(self, y: Tensor) -> None:
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

    def _validate_range(self, y: Tensor) -> None:
        if y.dtype == torch.int64:
            strange = (y < 0) | (y >= self.num_classes)
            if strange.any():
                row = int(strange.nonzero()[0])
                raise ValueError(
                    f"{type(self).__name__}: sample {row} has the label {int(y[row])}; "
                    f"{self.num_classes} classes have labels 0 to {self.num_classes - 1}"
                )

    def _validate_finite(self, source: Source, indices: Split, parts: Sequence[Tensor]) -> None:
        chunks = [(part, rows) for part, rows in zip(parts, indices[-len(parts) :], strict=True)]
        if self._lazy_inputs is not None:
            chunks += zip(self._lazy_inputs.chunks(), torch.split(indices.train, CHUNK), strict=True)
        for part, rows in chunks:
            broken = ~torch.stack([t.reshape(len(rows), -1).isfinite().all(1) for t in (part, source.y[rows])]).all(0)
            if broken.any():
                raise ValueError(f"{type(self).__name__}: sample {int(rows[broken][0])} has a value that is not finite")

    def _statistics(self, train: Tensor) -> tuple[Tensor, Tensor]:
        if self._lazy_inputs is None:
            return standardization(train, per_feature=self.per_feature)
        groups, shape = statistic_groups(self._lazy_inputs.shape[1:], self.per_feature)

        def columns(x: Tensor) -> Tensor:
            x = self._permuted(x) if self.permute else x
            return x.double().reshape(len(x), groups, -1).transpose(1, 2).reshape(-1, groups)

        mean, std = streamed_standardization(self._lazy_inputs, columns)
        return mean.float().reshape(shape), std.where(std > 0, 1.0).float().reshape(shape)

    def _permuted(self, x: Tensor) -> Tensor:
        """Permute the features of samples, or the pixels of each channel of images."""
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

    def _add_label_noise(self, y: Tensor) -> Tensor:
        """Replace some of the training labels by random ones."""
        if not self.label_noise:
            return y
        # With more noise or more samples, the labels changed so far change in the same way, and others are added.
        hit = torch.rand(len(y), generator=generator(self._seed, "label noise")) < self.label_noise
        drawn = torch.randint(self.num_classes, y.shape, generator=generator(self._seed, "noisy label"))
        return torch.where(hit, drawn, y)

    def _add_duplicates(self, part: Tensor) -> Tensor:
        """Append the duplicates of the training split."""
        return part.repeat([1 + self.duplicates, *[1] * (part.dim() - 1)]) if self.duplicates else part

    def _make_inputs(self, rows: Tensor, epoch: int) -> Tensor:
        """Compute some rows of the training inputs of an epoch."""
        if self._augmentation is not None:
            x = self._augmentation(rows, epoch)
        else:
            assert self._lazy_inputs is not None
            x = self._lazy_inputs[rows % len(self._lazy_inputs)]
        return self._transform(x)

    @property
    def scaled_inputs(self) -> ScaledInputs | None:
        """Training inputs computed from the source sample by sample; None if in memory, augmented or permuted."""
        if self._lazy_inputs is None or self._augmentation is not None or self.permute:
            return None
        return ScaledInputs(self._lazy_inputs, self._scaling)

    def _transform(self, x: Tensor) -> Tensor:
        """Permute and standardise inputs if asked for."""
        return self._scaled(self._permuted(x) if self.permute else x)

    @property
    def num_batches(self) -> int:
        """Number of training batches of an epoch."""
        return -(-self.num_train * (1 + self.duplicates) // int(self.batch_size))

    def smallest_batch(self) -> tuple[Tensor, Tensor]:
        """Return a batch for a trial step: two samples, or one if an epoch has a training batch of one sample."""
        size = int(self.batch_size)
        rows = torch.arange(min(len(self._targets) % size or size, 2))
        return self.train[0][rows] if self.in_memory else self._make_inputs(rows, 0), self._targets[rows]

    def train_dataloader(self) -> OrderedLoader:
        """Return the batches of the training split, in an order that depends on seed and epoch.

        Raises:
            ValueError: training on several devices, each of which would get every sample.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            raise ValueError(
                f"{type(self).__name__} feeds one device, not {self.trainer.world_size}: set trainer.devices to 1"
            )
        device, workers = self._device, 0
        if not self.in_memory:
            device = torch.device("cpu")
            workers = 0 if multiprocessing.current_process().daemon else 2 if self.workers is None else self.workers
        elif self._augmentation is not None:
            self._augmentation.images = self._augmentation.images.to(device)  # type: ignore[union-attr]
        if self.in_memory and self._augmentation is None:
            samples = Samples(self._to_device(self.train))
        else:
            samples = Samples([self._targets.to(device)], self._make_inputs)
        # `overfit_batches` needs the same batches in every epoch; Lightning can freeze only its own samplers.
        shuffle = self.trainer is None or not self.trainer.overfit_batches  # type: ignore[attr-defined]
        order = Order(len(samples), batch_size=int(self.batch_size), seed=self._seed, shuffle=shuffle, device=device)
        return self.resume_loader(ordered_loader(samples, order, workers))

    @property
    def _seed(self) -> int:
        assert self.seed is not None  # set by `__post_init__`
        return self.seed

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _to_device(self, data: Sequence[Tensor]) -> list[Tensor]:
        """Move tensors to the training device, all batches at once."""
        return [tensor.to(self._device) for tensor in data]

    def val_dataloader(self) -> OrderedLoader:
        """Return the batches of the validation split, in its order."""
        return self.evaluation_loader(self.val)

    def test_dataloader(self) -> OrderedLoader:
        """Return the batches of the test split, in its order."""
        return self.evaluation_loader(self.test)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the test split, in its order, with torch's sampler: prediction writers get its rows."""
        # A separate generator, because the global one is reserved for the network.
        own = torch.Generator()
        return DataLoader(TensorDataset(*self.test), batch_size=EVALUATION_BATCH_SIZE, generator=own)

    def evaluation_loader(self, data: tuple[Tensor, Tensor]) -> OrderedLoader:
        """Return batches of inputs and targets, in their order."""
        samples = Samples(self._to_device(data))
        order = Order(
            len(samples), batch_size=EVALUATION_BATCH_SIZE, seed=self._seed, shuffle=False, device=self._device
        )
        return ordered_loader(samples, order)
