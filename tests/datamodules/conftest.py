"""Small data sets in the genuine IDX format, and a network that records what it is fed."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from datamodules.sources import FASHION_MNIST, IdxSource

FILES = tuple(FASHION_MNIST.sha256)


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(length.to_bytes(4, "big") for length in values.shape)
    return header + values.astype(np.uint8).tobytes()


@dataclass
class SmallIdx:
    """A small IDX data set: its values, its files' contents, and the source that describes it."""

    arrays: dict[str, np.ndarray]
    contents: dict[str, bytes]
    source: IdxSource

    def write(self, folder: Path, compressed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.contents.items():
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def small_idx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallIdx:
    """120 training and 43 test images, written nowhere yet; the system's folder and `data/` are absent."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    shapes = dict(zip(FILES, [(120, 28, 28), (120,), (43, 28, 28), (43,)], strict=True))
    arrays = {name: rng.integers(0, 256 if len(shape) == 3 else 10, shape) for name, shape in shapes.items()}
    contents = {name: idx_bytes(values) for name, values in arrays.items()}
    source = IdxSource(
        name="FashionMNIST",
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        num_train=120,
        num_test=43,
        system=tmp_path / "system",
        package="dataset-fashion-mnist",
    )
    return SmallIdx(arrays, contents, source)


class Recorder(lightning.LightningModule):
    """A linear network that notes, batch by batch, the epoch and the bytes of every sample."""

    def __init__(self, num_features: int, scheduled: bool = False) -> None:
        super().__init__()
        self.scheduled = scheduled
        self.layer = torch.nn.Linear(num_features, 10)
        torch.nn.init.constant_(self.layer.weight, 0.01)
        torch.nn.init.zeros_(self.layer.bias)
        self.seen: list[tuple[int, list[bytes]]] = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        self.seen.append((self.current_epoch, [row.tobytes() for row in x.numpy()]))
        return torch.nn.functional.cross_entropy(self.layer(x.flatten(1)), y)

    def validation_step(self, batch, batch_idx):
        return None

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        if not self.scheduled:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., lightning.Trainer]:
    def make(**options) -> lightning.Trainer:
        return lightning.Trainer(
            accelerator="cpu",
            devices=1,
            default_root_dir=tmp_path,
            logger=False,
            enable_checkpointing="callbacks" in options,  # Lightning insists, for a callback that saves
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )

    return make
