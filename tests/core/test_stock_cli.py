"""A config of an experiment is a Lightning file: Lightning's own CLI trains it, and logs what our `fit` records."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from experiments.core.files import run_directory
from experiments.core.training.cli import run_cli

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CONFIGS = ["vanishing/base.yaml", "multilabel/base.yaml", "regression/base.yaml"]


def stock_fit(*args: str) -> None:
    LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        args=["fit", *args],
    )


def of_csv_logger(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in ("epoch", "step"):
                    found.setdefault(name, []).append(float(value))
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_lightnings_own_cli_logs_what_our_fit_records(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["script.py"])
    torch.set_num_threads(1)
    short = ["max_epochs=3", "check_val_every_n_epoch=1", "enable_progress_bar=false"]
    options = ["--config", str(EXPERIMENTS / config), *(f"--trainer.{option}" for option in short)]
    run_cli("fit", [*options, f"--trainer.default_root_dir={tmp_path / 'ours'}", "--trainer.logger=false"])
    stock_fit(*options, "--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'stock'}")
    (path,) = (tmp_path / "stock").rglob("metrics.csv")
    stock = of_csv_logger(path)
    ours: dict[str, list[float]] = {}
    for _, _, name, value in run_directory.read_metrics(tmp_path / "ours" / run_directory.METRICS):
        # A logger gets curves; bins of histograms are no curves.
        if "/histogram/" not in name:
            ours.setdefault(name, []).append(value)
    assert len(ours) > 4
    assert stock == ours
