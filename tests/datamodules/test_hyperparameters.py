"""Options of data modules: known, documented, logged and kept in checkpoints; the seed comes from `seed_everything`."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
from lightning import LightningDataModule
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

import datamodules
from datamodules import Digits, FashionMNIST
from datamodules.base import InMemoryDataModule

CLASSES = [getattr(datamodules, name) for name in datamodules.__all__]
OPTIONS: dict[str, Any] = {"batch_size": 200, "label_noise": 0.25, "augmentation": ["shift(1)"]}


@pytest.mark.parametrize("cls", CLASSES)
def test_hyperparameters_build_the_data_again(cls):
    data = cls(batch_size="full", seed=1000, permute=True)
    assert not {"seed", "root"} & set(data.hparams)
    assert data.hparams["batch_size"] == "full"
    again = type(data)(**data.hparams, seed=1001)
    assert again.hparams == data.hparams
    assert (again.seed, again.batch_size) == (1001, data.batch_size)


def test_another_seed_differs_in_nothing_else():
    data = FashionMNIST(batch_size=64, seed=1000, size=28, root="/somewhere")
    other = dataclasses.replace(data, seed=1001)
    assert (other.seed, other.root, other.sample_shape) == (1001, "/somewhere", (1, 28, 28))
    assert other.hparams == data.hparams


@pytest.mark.parametrize("cls", CLASSES)
def test_an_option_that_does_not_exist_is_refused(cls):
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        cls(batchsize=64)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_option_is_documented_where_it_is_introduced(cls):
    for option in inspect.signature(cls).parameters:
        first = [base for base in cls.__mro__ if option in vars(base).get("__annotations__", {})][-1]
        assert f"    {option}: " in (first.__doc__ or ""), option


def test_without_a_seed_it_is_that_of_seed_everything():
    lightning.seed_everything(1234, verbose=False)
    data, given = Digits(batch_size=64), Digits(batch_size=64, seed=1234)
    torch.manual_seed(0)
    assert data.seed == 1234
    assert torch.equal(data.split().train, given.split().train)


def check_logged(folder: Path) -> None:
    """Require that the options stand in the logger's file and in the checkpoint, and build the data again."""
    logged = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert OPTIONS.items() <= logged.items()
    assert not {"seed", "_class_path"} & set(logged)
    loaded = Digits.load_from_checkpoint(folder / "some.ckpt", weights_only=True, seed=1000)
    assert {name: loaded.hparams[name] for name in OPTIONS} == OPTIONS
    assert loaded.seed == 1000


def test_options_are_logged_and_kept(recorder, tmp_path):
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=CSVLogger(tmp_path, name="", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[],
    )
    trainer.fit(recorder(64), Digits(**OPTIONS, seed=1000))
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    check_logged(tmp_path)


def test_options_are_logged_and_kept_by_a_stock_cli(recorder, tmp_path):
    config = {
        "seed_everything": 1003,
        "model": {"num_features": 64},
        "data": {"class_path": "datamodules.Digits", "init_args": OPTIONS},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": str(tmp_path), "name": "", "version": ""}},
        },
    }
    cli = LightningCLI(
        recorder,
        LightningDataModule,
        subclass_mode_data=True,
        save_config_callback=None,
        auto_configure_optimizers=False,
        args={"subcommand": "fit", "fit": config},
    )
    data = cli.datamodule
    assert isinstance(data, InMemoryDataModule)
    assert data.seed == 1003
    assert type(data)(**data.hparams, seed=1004).hparams == data.hparams
    cli.trainer.save_checkpoint(tmp_path / "some.ckpt")
    check_logged(tmp_path)
