"""The same training implemented in several ways; each function returns its seconds, including reading the data."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

import datamodules
from datamodules.base import InMemoryDataModule
from experiments.core.training.fit import fit_seeds
from experiments.core.training.parsing import resolve

SEED = 1000
CLASSES = 10
INSTRUMENTS = ("GradientFlow", "ActivationStatistics", "GradientClipping")


@dataclass(frozen=True)
class Workload:
    """A fully connected network, its data and its number of epochs with Adam."""

    data: str
    sizes: dict[str, int]  # options of the data module: num_train, num_val, batch_size and, for images, size
    hidden: tuple[int, ...]
    normalization: str
    epochs: int

    @property
    def description(self) -> str:
        """Description with all numbers needed to repeat the training."""
        images = " of {0} × {0} pixels".format(self.sizes["size"]) if "size" in self.sizes else ""
        layers = "–".join(str(units) for units in self.hidden)
        norm = " with BatchNorm" if self.normalization == "batch" else ""
        return (
            f"{self.data}{images}, {self.sizes['num_train']:,} + {self.sizes['num_val']:,} samples, hidden layers "
            f"{layers}{norm}, Adam, batch {self.sizes['batch_size']}, epochs: {self.epochs}"
        )

    def config(self) -> dict[str, Any]:
        """Return the config of `fit`, with TensorBoard, best checkpoint and divergence detection."""
        network = {"hidden": list(self.hidden), "normalization": self.normalization, "optimizer": "adam"}
        return {
            "seed_everything": SEED,
            "model": {"class_path": "FullyConnected", "init_args": network},
            "data": {"class_path": self.data, "init_args": self.sizes},
            "trainer": {"max_epochs": self.epochs, "callbacks": []},
        }

    def samples(self) -> InMemoryDataModule:
        """Return the data of the first seed, set up."""
        data: InMemoryDataModule = getattr(datamodules, self.data)(**self.sizes, seed=SEED)
        data.setup()
        return data


def ours(config: dict[str, Any], seeds: int = 1) -> float:
    """Train a number of seeds of a config in one fit like the grid, with all files of a run."""
    with tempfile.TemporaryDirectory() as folder:
        chosen, config = range(SEED, SEED + seeds), resolve(config)
        started = time.perf_counter()
        refused = fit_seeds(config, chosen, [Path(folder) / f"seed={seed}" for seed in chosen])
        if refused:
            raise RuntimeError(refused)
        return time.perf_counter() - started


def without_instruments(config: dict[str, Any]) -> dict[str, Any]:
    """Remove the callbacks that record gradients and activations."""
    kept = [part for part in config["trainer"]["callbacks"] if part["class_path"] not in INSTRUMENTS]
    return {**config, "trainer": {**config["trainer"], "callbacks": kept}}


def plain_network(features: int, workload: Workload) -> nn.Sequential:
    """Build the network from torch's modules."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [features, *workload.hidden]
    for before, after in itertools.pairwise(sizes):
        layers.append(nn.Linear(before, after))
        layers += [nn.BatchNorm1d(after)] if workload.normalization == "batch" else []
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(sizes[-1], CLASSES))


def by_hand(workload: Workload) -> float:
    """Train and validate in a hand-written loop over tensors with a fused optimiser."""
    started = time.perf_counter()
    data = workload.samples()
    (x, y), (val_x, val_y) = data.train, data.val
    network = plain_network(data.num_features, workload)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    for _ in range(workload.epochs):
        network.train()
        for rows in torch.split(torch.randperm(len(x)), workload.sizes["batch_size"]):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for inputs, labels in zip(torch.split(val_x, 1024), torch.split(val_y, 1024), strict=True):
                outputs = network(inputs)
                F.cross_entropy(outputs, labels).item()
                (outputs.argmax(1) == labels).sum().item()
    return time.perf_counter() - started


def stacked_by_hand(workload: Workload, seeds: int) -> float:
    """Train a number of seeds in a hand-written loop with batched products, the lower bound for a stack."""
    if workload.normalization != "none":
        raise ValueError("the loop of a stack has no normalisation")
    started = time.perf_counter()
    data = workload.samples()
    (x, y), (val_x, val_y) = (tuple(part.flatten(1) if part.ndim > 1 else part for part in pair)
                              for pair in (data.train, data.val))  # fmt: skip
    layers = []
    for before, after in itertools.pairwise([data.num_features, *workload.hidden, CLASSES]):
        bound = 1 / math.sqrt(before)
        layers.append(tuple(torch.empty(seeds, n, after).uniform_(-bound, bound) for n in (before, 1)))
    parameters = [parameter.requires_grad_() for layer in layers for parameter in layer]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def forward(z: Tensor) -> Tensor:
        for weight, bias in layers[:-1]:
            z = torch.baddbmm(bias, z, weight).relu()
        return torch.baddbmm(layers[-1][1], z, layers[-1][0])

    for _ in range(workload.epochs):
        orders = torch.stack([torch.randperm(len(x)) for _ in range(seeds)])
        for rows in torch.split(orders, workload.sizes["batch_size"], dim=1):
            optimizer.zero_grad()
            losses = F.cross_entropy(forward(x[rows]).flatten(0, 1), y[rows].flatten(), reduction="sum")
            (losses / rows.shape[1]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            for inputs, labels in zip(torch.split(val_x, 1024), torch.split(val_y, 1024), strict=True):
                outputs = forward(inputs.expand(seeds, -1, -1))
                F.cross_entropy(outputs.flatten(0, 1), labels.repeat(seeds)).item()
                (outputs.argmax(2) == labels).sum(1).tolist()
    return time.perf_counter() - started


class _Bare(lightning.LightningModule):
    """A minimal module for the Trainer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3, fused=True)


class _Usual(_Bare):
    """A usual module, which logs loss and torchmetrics' accuracy of each epoch with `self.log_dict`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.train_accuracy = MulticlassAccuracy(CLASSES, average="micro")
        self.val_accuracy = MulticlassAccuracy(CLASSES, average="micro")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train", self.train_accuracy)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self._step(batch, "val", self.val_accuracy)

    def _step(self, batch: Sequence[Tensor], stage: str, accuracy: MulticlassAccuracy) -> Tensor:
        inputs, labels = batch
        outputs = self.network(inputs)
        loss = F.cross_entropy(outputs, labels)
        accuracy.update(outputs, labels)
        self.log_dict({f"{stage}/loss": loss, f"{stage}/accuracy": accuracy}, on_step=False, on_epoch=True)
        return loss


def bare(workload: Workload) -> float:
    """Train with a Trainer without logger, checkpoints, metrics and progress bar."""
    started = time.perf_counter()
    data = workload.samples()
    module = _Bare(plain_network(data.num_features, workload))
    _trainer(workload, logger=False, enable_checkpointing=False).fit(module, datamodule=data)
    return time.perf_counter() - started


def usual(workload: Workload) -> float:
    """Train like a usual template: TensorDataset, DataLoader, torchmetrics, TensorBoard, best checkpoint."""
    started = time.perf_counter()
    data = workload.samples()
    train = DataLoader(TensorDataset(*data.train), batch_size=workload.sizes["batch_size"], shuffle=True)
    val = DataLoader(TensorDataset(*data.val), batch_size=1024)
    module = _Usual(plain_network(data.num_features, workload))
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(monitor="val/loss")
        _trainer(workload, logger=TensorBoardLogger(folder), callbacks=[best]).fit(module, train, val)
        return time.perf_counter() - started


def _trainer(workload: Workload, **options: Any) -> lightning.Trainer:
    silent: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(max_epochs=workload.epochs, accelerator="cpu", **silent, **options)
