"""A measured run ends with the weights of an unmeasured one, bit for bit, and says the same about them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

INSTRUMENTS = (
    "GradientFlow",
    "ActivationStatistics",
    "experiments.vanishing.callbacks.GradientBySaturation",
    "experiments.normalization.callbacks.Landscape",
    "experiments.normalization.callbacks.TrainEvalGap",
    "Divergence",
    "LearningRateMonitor",
)


def config(base_yaml: Path, directory: Path, measured: bool, changes: dict) -> Path:
    """base.yaml with every instrument at every step, or with none; without clipping, which is meant to change it."""
    content = yaml.safe_load(base_yaml.read_text())
    content["model"]["init_args"].update({"depth": 3, **changes})
    callbacks = [{"class_path": name} for name in INSTRUMENTS] if measured else []
    for callback in callbacks:
        if callback["class_path"] not in ("LearningRateMonitor", "Divergence"):
            callback["init_args"] = {"every_n_steps": 1}
    if measured:
        callbacks.append({"class_path": "GradientClipping", "init_args": {"max_norm": 1e9, "every_n_steps": 1}})
    content["trainer"]["callbacks"] = [*callbacks, {"class_path": "BestWeights"}]
    path = directory / f"measured-{measured}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "relu", "dropout": 0.3, "normalization": "batch"},
        {"activation": "sigmoid", "residual": True, "schedule": "one_cycle", "l2": 1e-3},
    ],
    ids=["dropout and BatchNorm", "residual and schedule"],
)
def test_instruments_change_nothing(fit, base_yaml, result, here, changes):
    runs = [fit("--config", config(base_yaml, here, measured, changes)) for measured in (True, False)]
    states = [torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for run in runs]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with_instruments, without = (result(run)["measures"] for run in runs)
    outcome = {name for name in without if name.startswith(("train/", "val/", "test/"))}
    assert len(outcome) >= 6
    assert {name: with_instruments[name] for name in outcome} == {name: without[name] for name in outcome}
    assert any(name.startswith("gradient/delta_a") for name in with_instruments)
    assert not any(name.startswith(("gradient/", "activation/", "saturation/")) for name in without)
