"""What all data modules share: tensors in memory, splits from the seed, statistics from the training split only."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from lightning import LightningDataModule
from torch import Tensor

from datamodules.loader import TensorLoader

EVALUATION_BATCH_SIZE = 1024
# An experiment's means rest on ten seeds unless a claim asks for more.
USUAL_NUMBER_OF_SEEDS = 10


@dataclass(frozen=True)
class Source:
    """A data set as its files hold it, before any split or scaling.

    Args:
        x: inputs, (n, …), in the type of the source.
        y: targets, (n,).
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


class Split(NamedTuple):
    """Rows of a source: three index tensors without a common element."""

    train: Tensor
    val: Tensor
    test: Tensor


def standardization(x: Tensor, *, per_feature: bool) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (divided by n) to standardise with; 1 where nothing varies.

    Args:
        x: inputs of the training split, (n, features).
        per_feature: one pair a feature, (features,) each; otherwise one for all of them, (1,) each.
    """
    # Double precision: the rounded result must not depend on the order in which threads add.
    columns = x.double() if per_feature else x.double().reshape(-1, 1)
    std = columns.std(dim=0, correction=0).where(columns.amax(dim=0) > columns.amin(dim=0), 1.0)
    return columns.mean(dim=0).float(), std.float()


class InMemoryDataModule(LightningDataModule, ABC):
    """A data set that fits in memory. `setup` fills `train`, `val` and `test`: x (n, features) float32 and y (n,) each.

    A subclass says where the data come from (`load`), who goes where (`split`), and how an input becomes a row of
    numbers (`features`). A training batch of one sample, also as the rest at the end of an epoch, is allowed: only a
    network that normalises over the batch cannot take it, and it says so.

    Args:
        batch_size: samples per training batch.
        seed: fixes the split, the test sample and the order of the training samples, each by a generator of its own.
        num_train: training samples.
        num_val: validation samples.
        num_test: test samples.
        standardize: subtract the mean of the training split and divide by its standard deviation.

    Raises:
        ValueError: a size is below 1, the seed is negative, or the batch is larger than the training split.
    """

    num_features: int
    num_classes: int
    # Columns of a table have their own units; the pixels of an image share one.
    per_feature: ClassVar[bool] = True

    def __init__(
        self, *, batch_size: int, seed: int, num_train: int, num_val: int, num_test: int, standardize: bool
    ) -> None:
        super().__init__()
        sizes = {"batch_size": batch_size, "num_train": num_train, "num_val": num_val, "num_test": num_test}
        for key, size in sizes.items():
            if size < 1:
                raise ValueError(f"{key} must be >= 1, not {size}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, not {seed}")
        if batch_size > num_train:
            raise ValueError(f"batch_size must be <= num_train = {num_train}, not {batch_size}")
        self.batch_size = batch_size
        self.seed = seed
        self.n_train, self.n_val, self.n_test = num_train, num_val, num_test
        self.standardize = standardize
        self.indices: Split | None = None
        self.train: tuple[Tensor, Tensor]
        self.val: tuple[Tensor, Tensor]
        self.test: tuple[Tensor, Tensor]
        self._train_loader: TensorLoader | None = None
        self._state_to_resume: dict[str, Any] | None = None

    @abstractmethod
    def load(self) -> Source:
        """Return the whole data set, read once per process."""

    @abstractmethod
    def split(self) -> Split:
        """Choose the rows of the three parts; depends on the seed and the sizes only."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Turn inputs as the source holds them, (n, …), into (n, num_features) float32, before standardisation."""

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
        """Read, split and scale the data, once for all stages."""
        if self.indices is not None:
            return
        source, indices = self.load(), self.split()
        train, val, test = (self.features(source.x[rows]) for rows in indices)
        if self.standardize:
            mean, std = standardization(train, per_feature=self.per_feature)
            train, val, test = ((x - mean) / std for x in (train, val, test))
        self.train, self.val, self.test = (
            (x, source.y[rows]) for x, rows in zip((train, val, test), indices, strict=True)
        )
        self.indices = indices

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
        loader = TensorLoader(self.train, batch_size=self.batch_size, seed=self.seed, shuffle=shuffle)
        if self._state_to_resume is not None:
            loader.load_state_dict(self._state_to_resume)
            self._state_to_resume = None
        self._train_loader = loader
        return loader

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
        return TensorLoader(data, batch_size=EVALUATION_BATCH_SIZE, seed=self.seed, shuffle=False)

    def state_dict(self) -> dict[str, Any]:
        """Return where the training loader stands, for the checkpoint.

        Lightning saves the loader's own state too, but does not load it back if `configure_optimizers` has asked for
        `estimated_stepping_batches`, as every schedule does (Lightning issue 20550): the epoch would begin anew.
        """
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next training loader go on where the saved one stood."""
        self._state_to_resume = state_dict
