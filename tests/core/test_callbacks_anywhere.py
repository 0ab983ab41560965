"""Our callbacks under a plain Trainer, with a module, loaders and a metric that know nothing of this project."""

from __future__ import annotations

import csv
import gc
import math
import weakref
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from experiments.core.callbacks import (
    ActivationStatistics,
    BestWeights,
    Divergence,
    GradientClipping,
    GradientFlow,
    Parameters,
    StackableEarlyStopping,
    WeightStatistics,
)

MAX_NORM, LR, SIZE = 0.3, 0.5, 8


class Foreign(lightning.LightningModule):
    """As people write them: a `Sequential`, a step and a metric of its own."""

    def __init__(self, lr: float = LR) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
        self.accuracy = MulticlassAccuracy(3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.accuracy(self(x), y)
        self.log("val_accuracy", self.accuracy)
        self.log("val_loss", F.cross_entropy(self(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def samples(n: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=g, dtype=torch.float64), torch.randint(3, (n,), generator=g)


TRAIN, VAL = samples(24, 0), samples(16, 1)


def instruments() -> list[lightning.Callback]:
    return [
        GradientFlow(every_n_steps=1),
        ActivationStatistics(every_n_steps=1),
        GradientClipping(MAX_NORM, every_n_steps=1),
        Divergence(),
        StackableEarlyStopping("val_loss", patience=100),
        BestWeights("val_accuracy", mode="max"),
        WeightStatistics(),
        Parameters(every_n_steps=1),
    ]


def fit(directory: Path, loggers: object, callbacks: list[lightning.Callback], lr: float = LR, epochs: int = 3):
    torch.manual_seed(3)
    module = Foreign(lr)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=loggers, callbacks=callbacks, default_root_dir=directory,
        log_every_n_steps=1, num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loaders = [DataLoader(TensorDataset(*part), batch_size=SIZE) for part in (TRAIN, VAL)]
    trainer.fit(module, *loaders)
    return module, trainer


def read(path: Path) -> dict[tuple[str, int], float]:
    """Numbers of a `metrics.csv` of Lightning's, by name and step."""
    with path.open(newline="") as file:
        return {
            (name, int(row["step"])): float(value)
            for row in csv.DictReader(file)
            for name, value in row.items()
            if value and name not in ("step", "epoch")
        }


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def by_hand(epochs: int = 3) -> dict[tuple[str, int], float]:
    """The same training written out, with all that the instruments look at."""
    torch.manual_seed(3)
    layers = Foreign().layers
    weights = [layers[0].weight, layers[2].weight, layers[4].weight]
    found: dict[tuple[str, int], float] = {}
    step = clipped = 0

    def weigh() -> None:
        w = torch.cat([weight.detach().flatten() for weight in weights]).abs()
        found["weight/norm", step] = float(w.norm())
        found["weight/sum", step] = float(w.sum())
        found["weight/negligible", step] = float((w < 1e-3).double().mean())

    weigh()
    for _ in range(epochs):
        for x, y in zip(TRAIN[0].split(SIZE), TRAIN[1].split(SIZE), strict=True):
            a1 = layers[0](x)
            a2 = layers[2](a1.relu())
            loss = F.cross_entropy(layers[4](a2.relu()), y)
            parameters = list(layers.parameters())
            *deltas, g1, g2 = torch.autograd.grad(loss, [*parameters, a1, a2])
            for k, (a, delta) in enumerate(((a1, g1), (a2, g2)), start=1):
                found[f"gradient/delta_a/layer_{k:02d}", step] = rms(delta * SIZE)
                found[f"activation/mean/layer_{k:02d}", step] = float(a.detach().mean())
                found[f"activation/std/layer_{k:02d}", step] = float(a.detach().std(correction=0))
            for name, gradient in zip(("layer_01", "layer_02", "output"), deltas[::2], strict=True):
                found[f"gradient/weight/{name}", step] = rms(gradient)
            norm = float(torch.cat([g.flatten() for g in deltas]).norm())
            factor = min(MAX_NORM / (norm + 1e-6), 1.0)
            found["gradient/norm_before", step], found["gradient/norm_after", step] = norm, norm * factor
            clipped += norm > MAX_NORM
            with torch.no_grad():
                for parameter, gradient in zip(parameters, deltas, strict=True):
                    parameter -= LR * factor * gradient
            step += 1
        found["gradient/clipped_share", step] = clipped / step
        with torch.no_grad():
            a1 = layers[0](VAL[0])
            a2 = layers[2](a1.relu())
            for k, a in enumerate((a1, a2), start=1):
                found[f"activation/dead/layer_{k:02d}", step] = float((a <= 0).all(0).double().mean())
            # Lightning's own numbers of an epoch carry the step before.
            found["val_loss", step - 1] = float(F.cross_entropy(layers[4](a2.relu()), VAL[1]))
    weigh()
    return found


def test_the_numbers_in_lightnings_own_file_are_those_of_autograd(tmp_path: Path) -> None:
    callbacks = instruments()
    fit(tmp_path, CSVLogger(tmp_path, name="", version=""), callbacks)
    found, expected = read(tmp_path / "metrics.csv"), by_hand()
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-6, abs=1e-12)
    ours = ("gradient/", "activation/", "weight/")
    assert {key for key in found if key[0].startswith(ours)} == {key for key in expected if key[0] != "val_loss"}
    for callback in callbacks:
        assert not getattr(callback, "_pending", []), "numbers pile up"


def test_several_loggers_get_the_same(tmp_path: Path) -> None:
    loggers = [CSVLogger(tmp_path, name=name, version="") for name in ("a", "b")]
    fit(tmp_path, loggers, instruments())
    assert read(tmp_path / "a" / "metrics.csv") == read(tmp_path / "b" / "metrics.csv")
    assert ("gradient/delta_a/layer_01", 0) in read(tmp_path / "a" / "metrics.csv")


def test_without_a_logger_nothing_piles_up_and_the_training_is_the_same(tmp_path: Path) -> None:
    callbacks = instruments()
    (silent, _), (logged, _) = fit(tmp_path, False, callbacks), fit(tmp_path, CSVLogger(tmp_path), instruments())
    assert all(torch.equal(a, b) for a, b in zip(silent.parameters(), logged.parameters(), strict=True))
    assert not any(getattr(callback, "_pending", []) for callback in callbacks)


def test_the_best_weights_load_into_the_module_they_are_of(tmp_path: Path) -> None:
    best = BestWeights("val_accuracy", mode="max")
    fit(tmp_path, False, [best])
    module = Foreign.load_from_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    accuracy = float((module(VAL[0]).argmax(1) == VAL[1]).double().mean())
    assert isinstance(module.accuracy, MulticlassAccuracy)
    assert math.isfinite(accuracy)
    state = best.state_of()
    assert state is not None
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


def test_a_loss_that_is_not_finite_and_one_that_gets_no_better_end_the_training(tmp_path: Path) -> None:
    divergence = Divergence()
    _, trainer = fit(tmp_path, False, [divergence], lr=1e200)
    assert divergence.diverged_at() is not None
    assert trainer.global_step == 3
    _, trainer = fit(tmp_path, False, [StackableEarlyStopping("val_loss", patience=2)], lr=0.0, epochs=9)
    assert trainer.current_epoch == 3


def test_after_a_fit_nothing_is_held(tmp_path: Path) -> None:
    # Lightning gives every callback a method of the module: whoever keeps the callback keeps the module.
    module, trainer = fit(tmp_path, CSVLogger(tmp_path), instruments())
    watched = [weakref.ref(thing) for thing in (module, module.layers, trainer, trainer.optimizers[0])]
    del module, trainer
    gc.collect()
    assert [reference() for reference in watched] == [None] * 4
