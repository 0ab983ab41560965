"""WeightStatistics against the weights."""

from __future__ import annotations

import lightning
import pytest
import torch
from heard import Heard, rows_of

from datamodules import Digits
from experiments.core.callbacks import WeightStatistics
from experiments.core.callbacks.weight_statistics import HISTOGRAM_EDGES, magnitude_shares
from lightning_modules import FullyConnected


def test_weights_before_and_after_training():
    module = FullyConnected(
        num_features=64, num_classes=10, hidden=[12], activation="relu", optimizer="adam", lr=0.01, seed=7, l1=0.01
    )
    initial = torch.cat([p.detach().flatten() for n, p in module.named_parameters() if n.endswith("weight")])
    datamodule = Digits(batch_size=50, seed=7, num_train=120, num_val=50, num_test=50)
    trainer = lightning.Trainer(
        callbacks=[WeightStatistics()], max_epochs=2, logger=Heard(), accelerator="cpu", num_sanity_val_steps=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule)
    final = torch.cat([p.detach().flatten() for n, p in module.named_parameters() if n.endswith("weight")])
    rows = rows_of(trainer)
    for step, w in {0: initial, 6: final}.items():
        found = {row.name: row.value for row in rows if row.step == step}
        assert found["weight/norm"] == pytest.approx(w.double().square().sum().sqrt().item(), rel=1e-5)
        assert found["weight/sum"] == pytest.approx(w.double().abs().sum().item(), rel=1e-5)
        assert found["weight/negligible"] == pytest.approx((w.abs() < 1e-3).double().mean().item(), rel=1e-9)
        shares = [found[f"weight/histogram/bin_{index:02d}"] for index in range(32)]
        assert sum(shares) == pytest.approx(1, rel=1e-6)
        inside = ((w.abs() >= 0.1) & (w.abs() < 10**-0.75)).double().mean().item()
        assert shares[24] == pytest.approx(inside, abs=2 / len(w))
        assert HISTOGRAM_EDGES[24].item() == -1.0
    assert {row.step for row in rows} == {0, 6}
    assert final.norm() != initial.norm()


def test_magnitudes_outside_the_histogram_are_in_its_end_bins():
    shares = magnitude_shares(torch.tensor([0.0, -1e-9, 1e-7, -100.0, 0.2]))
    assert shares.tolist() == pytest.approx([0.6, *[0.0] * 24, 0.2, *[0.0] * 5, 0.2])


def test_histograms_are_in_our_files_and_not_on_a_dashboard(fit, base_yaml, here):
    more = here / "more.yaml"
    more.write_text("trainer: {callbacks+: [{class_path: WeightStatistics}]}")
    csv_logger = base_yaml.parents[1] / "core" / "configs" / "csv.yaml"
    run = fit("--config", base_yaml, "--config", csv_logger, "--config", more)
    ours = (run / "metrics.csv").read_text()
    (dashboard,) = run.glob("csv/**/metrics.csv")
    for name in ("weight", "activation"):
        assert f"{name}/histogram/bin_00" in ours
        assert f"{name}/histogram" not in dashboard.read_text()
    assert "weight/norm" in dashboard.read_text()
