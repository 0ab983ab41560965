"""The same training in several forms: written by hand, by the usual recipe, by this project for one seed or a stack."""

from __future__ import annotations

import contextlib
import itertools
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from datamodules.augmentation import Augmentation, parse_operations
from datamodules.base import InMemoryDataModule
from datamodules.stack import StackedData
from experiments.core.classes import find_class
from experiments.core.cli import build_fit, fit_seeds
from experiments.core.execution import Pool, Task
from experiments.core.stacking import train_stack
from experiments.core.workers import Pool
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.stack import StackedNetwork

SEED = 1000


@dataclass(frozen=True)
class Workload:
    """A network, its data and how long it is trained; what every form of the training does."""

    data: str
    side: int | None  # of the images, where the data set has a choice
    hidden: tuple[int, ...]
    normalization: str
    batch_size: int
    num_train: int
    num_val: int
    epochs: int
    accelerator: str = "cpu"
    precision: str = "32-true"
    compiled: bool = False

    @property
    def device(self) -> torch.device:
        """Where a loop by hand trains."""
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")

    @property
    def description(self) -> str:
        """In words, so that anyone can repeat it."""
        norm = " with BatchNorm" if self.normalization == "batch" else ""
        layers = "–".join(str(units) for units in self.hidden)
        images = f" of {self.side} × {self.side} pixels" if self.side else ""
        how = [self.accelerator, self.precision, "compiled" if self.compiled else "as it is"]
        usual = ["cpu", "32-true", "as it is"]
        unusual = "".join(f", {word}" for word, expected in zip(how, usual, strict=True) if word != expected)
        return (
            f"{self.data}{images}, {self.num_train:,} + {self.num_val:,} samples, hidden layers {layers}{norm}, Adam, "
            f"batch {self.batch_size}, epochs: {self.epochs}{unusual}"
        )

    def config(self) -> dict[str, Any]:
        """The config of this project: TensorBoard, the best checkpoint and the watch for divergence on."""
        logger = {"save_dir": ".", "name": "", "version": "", "default_hp_metric": False, "max_queue": 1000}
        best = {"dirpath": "checkpoints", "filename": "best", "monitor": "val/loss", "save_on_train_epoch_end": False}
        return {
            "seed_everything": SEED,
            "model": {
                "class_path": "FullyConnected",
                "init_args": {
                    "hidden": list(self.hidden),
                    "normalization": self.normalization,
                    "optimizer": "adam",
                    "compiled": self.compiled,
                },
            },
            "data": {"class_path": self.data, "init_args": self._data_arguments()},
            "trainer": {
                "max_epochs": self.epochs,
                "accelerator": self.accelerator,
                "precision": self.precision,
                "logger": {"class_path": "TensorBoardLogger", "init_args": logger},
                "callbacks": [
                    {"class_path": "Divergence"},
                    {"class_path": "ModelCheckpoint", "init_args": best},
                ],
            },
        }

    def samples(self) -> InMemoryDataModule:
        """The data of the first seed."""
        build: Any = find_class("data", self.data)
        data: InMemoryDataModule = build(**self._data_arguments(), seed=SEED)
        data.setup()
        return data

    def _data_arguments(self) -> dict[str, int]:
        sizes = {"num_train": self.num_train, "num_val": self.num_val, "batch_size": self.batch_size}
        return sizes if self.side is None else {**sizes, "size": self.side}


def plain_network(features: int, workload: Workload) -> nn.Sequential:
    """Build the network as torch's own modules."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [features, *workload.hidden]
    for before, after in itertools.pairwise(sizes):
        layers.append(nn.Linear(before, after))
        layers += [nn.BatchNorm1d(after)] if workload.normalization == "batch" else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


def by_hand(workload: Workload) -> float:
    """Seconds of a loop over tensors with a fused optimiser that only trains and validates."""
    data = workload.samples()
    x, y, val_x, val_y = (tensor.to(workload.device) for tensor in (*data.train, *data.val))
    network = plain_network(data.num_features, workload).to(workload.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    started = time.perf_counter()
    for _ in range(workload.epochs):
        network.train()
        order = torch.randperm(len(x), device=workload.device)
        for first in range(0, len(x), workload.batch_size):
            rows = order[first : first + workload.batch_size]
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for first in range(0, len(val_x), 1024):
                outputs = network(val_x[first : first + 1024])
                F.cross_entropy(outputs, val_y[first : first + 1024]).item()
                (outputs.argmax(1) == val_y[first : first + 1024]).sum().item()
    return time.perf_counter() - started


def _stacked_network(features: int, workload: Workload, seeds: int) -> StackedNetwork:
    sizes = (features, 10, list(workload.hidden))
    networks = [FullyConnectedNetwork(*sizes, seed=k, normalization=workload.normalization) for k in range(seeds)]
    network = StackedNetwork(networks, range(seeds))
    network.link()
    return network


def stacked_by_hand(workload: Workload, seeds: int) -> float:
    """Seconds of such a loop over the stacked network of so many seeds, all together: the floor of a stack."""
    data = workload.samples()
    (x, y), (val_x, val_y) = data.train, data.val
    network = _stacked_network(data.num_features, workload, seeds)
    optimizer = torch.optim.Adam(network.network.parameters(), lr=1e-3, fused=True)
    started = time.perf_counter()
    for _ in range(workload.epochs):
        network.network.train()
        orders = torch.stack([torch.randperm(len(x)) for _ in range(seeds)])
        for first in range(0, len(x), workload.batch_size):
            rows = orders[:, first : first + workload.batch_size]
            network.zero_gradients()
            _sum_of_losses(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.network.eval()
        with torch.no_grad():
            for first in range(0, len(val_x), 1024):
                outputs = network(val_x[first : first + 1024].expand(seeds, -1, *val_x.shape[1:]))
                F.cross_entropy(outputs[0], val_y[first : first + 1024]).item()
                (outputs.argmax(2) == val_y[first : first + 1024]).sum(1).tolist()
    return time.perf_counter() - started


class _Bare(lightning.LightningModule):
    """The least that the Trainer needs: a loss."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


class _BareStack(_Bare):
    """The same for the network of several seeds."""

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return _sum_of_losses(self.network(batch[0]), batch[1])


def _sum_of_losses(outputs: Tensor, labels: Tensor) -> Tensor:
    """Add the mean losses of the seeds, from (seeds, batch, classes) and (seeds, batch)."""
    return F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="sum") / labels.shape[1]


def bare(workload: Workload) -> float:
    """Seconds of a Trainer that does nothing besides training and validating: no logger, checkpoint, metric or bar."""
    data = workload.samples()
    return _fit_bare(workload, _Bare(plain_network(data.num_features, workload)), data)


def bare_stacked(workload: Workload, seeds: int) -> float:
    """Seconds of such a Trainer with the stacked network of so many seeds, all together."""
    data = [workload.samples() for _ in range(seeds)]
    return _fit_bare(workload, _BareStack(_stacked_network(data[0].num_features, workload, seeds)), StackedData(data))


def _fit_bare(workload: Workload, module: _Bare, data: lightning.LightningDataModule) -> float:
    trainer = lightning.Trainer(
        max_epochs=workload.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    started = time.perf_counter()
    trainer.fit(module, datamodule=data)
    return time.perf_counter() - started


def ours(workload: Workload) -> float:
    """Seconds of this project's fit of one seed."""
    with tempfile.TemporaryDirectory() as folder:
        cli = build_fit(workload.config(), SEED, Path(folder) / "run")
        started = time.perf_counter()
        cli.trainer.fit(cli.model, cli.datamodule)
        seconds = time.perf_counter() - started
        _close(cli.trainer.loggers)
        return seconds


def _close(loggers: Sequence[Logger]) -> None:
    """End what loggers still write: their directory is about to be deleted."""
    for logger in loggers:
        logger.finalize("success")


def stacked(workload: Workload, seeds: int) -> float:
    """Seconds of this project's fit of so many seeds as one stack, all together."""
    with tempfile.TemporaryDirectory() as folder:
        directories = [Path(folder) / f"seed={seed}" for seed in range(SEED, SEED + seeds)]
        cli = build_fit(workload.config(), SEED, directories[0])
        members = cli.members(range(SEED, SEED + seeds), directories)
        started = time.perf_counter()
        train_stack(cli.trainer, members)
        seconds = time.perf_counter() - started
        _close([logger for member in members for logger in member.loggers])
        return seconds


class _Images(Dataset[tuple[Tensor, int]]):
    """Samples one at a time, as torchvision's data sets give them: an image of PIL, transformed."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self.images[index].numpy(), mode="L")
        return self.transform(image), int(self.labels[index])


class _Usual(lightning.LightningModule):
    """The usual module: torchmetrics updated and logged at every step and every epoch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.train_accuracy = MulticlassAccuracy(num_classes=10, average="micro")
        self.val_accuracy = MulticlassAccuracy(num_classes=10, average="micro")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        inputs, labels = batch
        outputs = self.network(inputs)
        loss = F.cross_entropy(outputs, labels)
        self.train_accuracy(outputs, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", self.train_accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        inputs, labels = batch
        outputs = self.network(inputs)
        self.val_accuracy(outputs, labels)
        self.log("val/loss", F.cross_entropy(outputs, labels), prog_bar=True)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def usual(workload: Workload) -> float:
    """Seconds of the fit as tutorials write it: data set, transforms, DataLoader, torchmetrics, bar, TensorBoard."""
    data = workload.samples()
    source = data.load()
    assert data.indices is not None
    parts = [_Images(source.x[rows].squeeze(1), source.y[rows]) for rows in (data.indices.train, data.indices.val)]
    train = DataLoader(parts[0], batch_size=workload.batch_size, shuffle=True)
    val = DataLoader(parts[1], batch_size=workload.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=workload.epochs,
            accelerator=workload.accelerator,
            logger=TensorBoardLogger(folder),
            callbacks=[ModelCheckpoint(monitor="val/loss"), RichProgressBar()],
            enable_model_summary=False,
        )
        module = _Usual(plain_network(data.num_features, workload))
        started = time.perf_counter()
        trainer.fit(module, train, val)
        return time.perf_counter() - started


# --- Instruments, processes, augmentation, memory

INSTRUMENTS = ("GradientFlow", "ActivationStatistics", "GradientClipping")


def instrumented(path: Path, with_instruments: bool) -> float:
    """Seconds of the fit that a config file describes, with its instruments or without."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not with_instruments:
        callbacks = content["trainer"]["callbacks"]
        content["trainer"]["callbacks"] = [c for c in callbacks if c["class_path"] not in INSTRUMENTS]
    with tempfile.TemporaryDirectory() as folder:
        cli = build_fit(content, SEED, Path(folder) / "run")
        started = time.perf_counter()
        cli.trainer.fit(cli.model, cli.datamodule)
        return time.perf_counter() - started


def grid(workload: Workload, runs: int, jobs: int) -> float:
    """Seconds of so many runs, none stacked, on so many worker processes that are there already."""
    with tempfile.TemporaryDirectory() as folder, Pool(jobs) as pool:
        tasks = [
            Task(f"seed={seed}", Path(folder) / f"seed={seed}", seed, "", config=workload.config())
            for seed in range(SEED, SEED + runs)
        ]
        # The first task of a worker pays for its imports.
        first = [(replace(task, directory=task.directory / "first"),) for task in tasks[: 2 * jobs]]
        for warm_up in (first, [(task,) for task in tasks]):
            started = time.perf_counter()
            for task, outcome in run_groups(pool, warm_up):
                if outcome.status != "ok":
                    raise RuntimeError(f"{task.label}: {outcome.error}")
        return time.perf_counter() - started


def conditions(workload: Workload, count: int) -> float:
    """Seconds of so many conditions of ten seeds each, one stack after another in this process."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for index in range(count):
            seeds = range(SEED + 10 * index, SEED + 10 * index + 10)
            with contextlib.redirect_stdout(None):
                fit_seeds(workload.config(), seeds, [Path(folder) / f"{index}" / f"seed={seed}" for seed in seeds])
        return time.perf_counter() - started


def memory(workload: Workload, runs: int) -> tuple[float, float]:
    """Largest memory in megabytes that a worker has had after so many runs, and after a tenth of them."""
    with Pool(1) as pool:
        pool.start()
        last, early = pool.map(_memory, [(workload, runs)])[0]
    return last, early


def _memory(workload: Workload, runs: int) -> tuple[float, float]:
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(SEED, SEED + runs):
            with contextlib.redirect_stdout(None):
                fit_seeds(workload.config(), [seed], [Path(folder) / f"seed={seed}"])
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    return sizes[-1], sizes[runs // 10]


def augmented(workload: Workload, images: int) -> float:
    """Seconds of an affine change of each of so many images, a batch at a time, with a draw for each."""
    data = workload.samples()
    change = Augmentation(parse_operations(["affine"]), data.features(data.load().x[:images]), seed=SEED)
    started = time.perf_counter()
    for rows in torch.split(torch.arange(images), workload.batch_size):
        change(rows, 0)
    return time.perf_counter() - started


def augmented_one_by_one(workload: Workload, images: int) -> float:
    """Seconds of torchvision's random affine change of as many images of PIL, each converted to a tensor."""
    from PIL import Image

    source = workload.samples().load().x[:images].squeeze(1).numpy()
    pictures = [Image.fromarray(one, mode="L") for one in source]
    change = v2.Compose(
        [
            v2.RandomAffine(degrees=15, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    started = time.perf_counter()
    for picture in pictures:
        change(picture)
    return time.perf_counter() - started
