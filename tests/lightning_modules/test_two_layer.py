"""The two-layer network against its formula, float64, 1e-12."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.two_layer import TwoLayer

Fit = Callable[..., lightning.Trainer]


def model(**changes: Any) -> TwoLayer:
    return TwoLayer(**{"num_features": 4, "num_classes": 1, "seed": 0, **changes}).double()


def data(
    columns: int = 1, dtype: torch.dtype = torch.float64, steps: int = 1
) -> tuple[Tensor, Tensor, DataLoader[Any]]:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    y = torch.sin(2 * x[:, :columns]) + x[:, 3:].square()
    return x, y, DataLoader([(x, y)] * steps, batch_size=None)


@pytest.mark.parametrize("bias", [True, False])
def test_forward(bias: bool) -> None:
    network, (x, *_) = model(bias=bias).network, data()
    first, second = network.hidden[0].linear, network.output
    assert (tuple(first.weight.shape), tuple(second.weight.shape)) == ((5, 4), (1, 5))
    b1, b2 = (first.bias, second.bias) if bias else (0, 0)
    truth = torch.tanh(x @ first.weight.T + b1) @ second.weight.T + b2
    torch.testing.assert_close(network(x), truth, atol=1e-12, rtol=0)
    assert sum(p.numel() for p in network.parameters()) == 5 * 4 + 5 + (6 if bias else 0)


def test_options() -> None:
    network, (x, *_) = model(units=3, activation="relu", num_classes=2, initialization="he").network, data()
    assert network.hidden[0].linear.out_features == 3
    truth = (x @ network.hidden[0].linear.weight.T).clamp_min(0) @ network.output.weight.T
    torch.testing.assert_close(network(x), truth, atol=1e-12, rtol=0)


def test_it_learns_what_no_linear_model_can(trainer: Fit) -> None:
    x, y, loader = data()
    net = model(lr=0.05)
    run = trainer(max_epochs=1)
    (before,) = run.validate(net, loader, verbose=False)
    run.fit(net, data(steps=300)[-1])
    (after,) = run.validate(net, loader, verbose=False)
    assert set(after) == {"val/loss", "val/r2"}
    assert after["val/loss"] < 0.1 * before["val/loss"]
    design = torch.cat([x, torch.ones(30, 1, dtype=torch.float64)], 1)
    residual = y - design @ torch.linalg.lstsq(design, y).solution
    assert after["val/loss"] < 0.5 * residual.square().mean().item()


def test_checkpoint_round_trip(trainer: Fit, tmp_path: Path) -> None:
    x, _, loader = data(columns=2, dtype=torch.float32)
    changes: dict[str, Any] = {"num_classes": 2, "units": 3, "activation": "sigmoid", "bias": False}
    net = model(**changes).float()
    run = trainer(max_epochs=2)
    run.fit(net, loader)
    run.save_checkpoint(tmp_path / "model.ckpt")
    loaded = TwoLayer.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.hparams == net.hparams
    assert torch.equal(loaded(x), net(x))
    assert not torch.equal(loaded(x), model(**changes).float()(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 0}, "units must be a whole number >= 1, not 0"),
        ({"num_features": 0}, "num_features must be a whole number >= 1, not 0"),
        ({"num_classes": 0}, "num_classes must be a whole number >= 1, not 0"),
        ({"activation": "tanhh"}, r"unknown activation 'tanhh': did you mean 'tanh'\?"),
        ({"loss": "mae"}, "unknown loss 'mae'"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        model(**changes)
    assert "\n" not in str(error.value)
