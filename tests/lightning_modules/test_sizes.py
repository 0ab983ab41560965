"""Sizes and seed: given, from the data module, from a checkpoint; and options that do not exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import lightning_modules
from lightning_modules import FullyConnected, LinearModel, Perceptron
from lightning_modules.base import LectureModule
from lightning_modules.fully_connected import FullyConnectedNetwork

Fit = Callable[..., lightning.Trainer]
CHANNELS, SIDE, SAMPLES = 1, 4, 24
# What a class needs besides sizes and seed; some of it is not the default.
OPTIONS: dict[str, dict[str, Any]] = {
    "Convolutional": {"channels": [4], "activation": "tanh"},
    "FullyConnected": {"depth": 2, "width": 8, "normalization": "batch", "dropout": 0.2},
    "InputOptimization": {"hidden": [8], "pretraining_steps": 3, "loss": "cross_entropy", "target_class": 1},
    "LinearModel": {"bias": False},
    "LinearStack": {"hidden": [3]},
    "Modular": {"hidden": [5], "activation": "tanh"},
    "Perceptron": {"initialization": "he", "lr": 0.5},
    "Recurrent": {"width": 5, "steps": 8},
    "TwoLayer": {"units": 7, "loss": "cross_entropy"},
}


class Images(lightning.LightningDataModule):
    """Images of two classes, with the sizes that a module asks for and nothing else of this project."""

    sample_shape = (CHANNELS, SIDE, SIDE)
    num_features = CHANNELS * SIDE * SIDE
    num_classes = 2

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(0)
        inputs = torch.randn(SAMPLES, *self.sample_shape, generator=g)
        self.train = self.test = inputs, (inputs.mean((1, 2, 3)) > 0).long()

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(*self.train), batch_size=8)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def build(name: str, **more: Any) -> LectureModule:
    found: LectureModule = getattr(lightning_modules, name)(**OPTIONS[name], **more)
    return found


def test_every_class_is_tried() -> None:
    assert sorted(OPTIONS) == sorted(lightning_modules.__all__)


@pytest.mark.parametrize("name", OPTIONS)
def test_load_from_checkpoint_needs_nothing(name: str, trainer: Fit, tmp_path: Path) -> None:
    data, keep = Images(), ModelCheckpoint(dirpath=tmp_path, monitor="val/loss", save_weights_only=True)
    lightning.seed_everything(17, verbose=False)
    model = build(name)
    trainer(max_epochs=2, enable_checkpointing=True, callbacks=[keep]).fit(model, data)
    # In another process, the global seed is another one.
    lightning.seed_everything(99, verbose=False)
    loaded = type(model).load_from_checkpoint(keep.best_model_path, weights_only=True)
    stored = torch.load(keep.best_model_path, weights_only=True)["state_dict"]
    assert stored.keys() == loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in stored.items())
    assert loaded.hparams == model.hparams
    assert loaded.seed == 17
    assert loaded.sizes == model.sizes == {key: getattr(data, key) for key in model.sizes}
    assert {option.name for option in dataclasses.fields(model) if option.init} == set(model.hparams)
    # It tests, predicts and goes on by itself.
    (tested,) = trainer().test(loaded, data, verbose=False)
    assert tested["test/loss"] == pytest.approx(keep.best_model_score.item(), rel=1e-5)
    assert len(torch.cat(trainer().predict(loaded, data))) == SAMPLES
    trainer(max_epochs=1).fit(loaded, data)


def test_the_seed_is_that_of_seed_everything_where_none_is_given() -> None:
    sizes = {"num_features": 4, "num_classes": 2, "depth": 1, "width": 3}
    lightning.seed_everything(5, verbose=False)
    drawn, given, other = FullyConnected(**sizes), FullyConnected(**sizes, seed=5), FullyConnected(**sizes, seed=6)
    assert drawn.hparams == given.hparams
    states = [torch.cat([p.flatten() for p in model.parameters()]) for model in (drawn, given, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
    # One that is given wins, and drawing from the global generator changes none.
    torch.rand(3)
    assert FullyConnected(**sizes).seed == 5


@pytest.mark.parametrize("name", OPTIONS)
def test_a_plain_trainer_gives_a_module_the_sizes_of_its_data(name: str, trainer: Fit) -> None:
    data, model = Images(), build(name, seed=3)
    assert None in model.sizes.values()
    assert not hasattr(model, "network")
    run = trainer(max_epochs=1)
    lightning.seed_everything(0, verbose=False)  # dropout draws from the global generator
    run.fit(model, data)
    assert model.sizes == {key: getattr(data, key) for key in model.sizes}
    assert run.callback_metrics["val/loss"].isfinite()
    # As if they had been given.
    given = build(name, seed=3, **model.sizes)
    lightning.seed_everything(0, verbose=False)
    trainer(max_epochs=1).fit(given, data)
    assert given.hparams == model.hparams
    assert all(torch.equal(given.state_dict()[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("entry", ["test", "validate", "predict"])
def test_evaluation_takes_the_sizes_too(entry: str, trainer: Fit) -> None:
    model = build("FullyConnected", seed=3)
    getattr(trainer(), entry)(model, datamodule=Images())
    assert model.num_features == CHANNELS * SIDE * SIDE


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("FullyConnected", {"num_features": 15}, "num_features=15 does not fit Images, which has 16"),
        ("FullyConnected", {"num_features": 16, "num_classes": 3}, "num_classes=3 does not fit Images, which has 2"),
        ("Recurrent", {"sample_shape": (2, 2, 4)}, r"sample_shape=\(2, 2, 4\) does not fit Images, which has \(1, 4"),
    ],
)
def test_a_contradiction_to_the_data_is_refused(name: str, given: dict[str, Any], message: str, trainer: Fit) -> None:
    with pytest.raises(ValueError, match=message) as error:
        trainer(max_epochs=1).fit(build(name, **given), Images())
    assert "\n" not in str(error.value)


def test_without_a_data_module_sizes_must_be_given(batches: Any, trainer: Fit) -> None:
    message = "FullyConnected needs num_features: give it, or a data module that has it"
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1).fit(build("FullyConnected"), batches())
    with pytest.raises(ValueError, match="FullyConnected needs num_classes: give it"):
        trainer(max_epochs=1).fit(build("FullyConnected", num_features=6), batches())


@pytest.mark.parametrize("sizes", [{}, {"num_features": 6, "num_classes": 2, "seed": 0}])
@pytest.mark.parametrize("kind", [FullyConnected, LinearModel, Perceptron])
def test_an_option_of_another_class_is_unknown(kind: type[LectureModule], sizes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample_shape'"):
        kind(**sizes, sample_shape=(1, 2, 3))


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Scaled(LinearModel):
    """A class of one's own, with an option of its own."""

    factor: float = 1.0
    """Multiplies the outputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.factor * super().forward(inputs)


def test_options_of_ones_own_are_kept_and_checked(trainer: Fit, tmp_path: Path) -> None:
    model, data = Scaled(factor=3.0, lr=0.01), Images()
    run = trainer(max_epochs=1)
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Scaled.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert (loaded.factor, loaded.lr, loaded.num_features) == (3.0, 0.01, 16)
    inputs = data.train[0]
    assert torch.equal(loaded(inputs), model(inputs))
    for wrong in ("facto", "width", "num_feature"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'"):
            Scaled(**{wrong: 3})
    # Options are given by name.
    with pytest.raises(TypeError, match="positional"):
        Scaled(3.0)  # type: ignore[misc]


def test_a_class_must_say_what_its_network_is() -> None:
    class Nothing(LectureModule):
        pass

    with pytest.raises(TypeError, match="configure_network"):
        Nothing()  # type: ignore[abstract]


def test_an_option_that_the_network_lacks_is_unknown() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'activtion'"):
        FullyConnectedNetwork(4, 2, [3], seed=0, activtion="tanh")
