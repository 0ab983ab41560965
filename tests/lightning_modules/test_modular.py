"""The network of modules trained by its own backward, by autograd, and as FullyConnected: one curve, to 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules import Digits
from lightning_modules.fully_connected import FullyConnected
from lightning_modules.modular import Modular

Fit = Callable[..., lightning.Trainer]
SGD = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05}
ADAM = {"optimizer": "adam", "lr": 0.003}


def module(**changes: Any) -> Modular:
    arguments: dict[str, Any] = {"num_features": 6, "num_classes": 3, "seed": 1000, "hidden": [8, 5], **changes}
    return Modular(**arguments).double()


class Curve(lightning.Callback):
    """The loss of every step, and whether it came with a graph."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        assert loss.requires_grad == (getattr(pl_module, "gradient", "autograd") == "autograd")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].item())


def train(model: lightning.LightningModule, data: Any, trainer: Fit, **arguments: Any) -> tuple[Tensor, Tensor]:
    """Give the loss of every step and the trained parameters, in forward order."""
    torch.manual_seed(5)
    curve = Curve()
    trainer(callbacks=[curve], **arguments).fit(model, data)
    parameters = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.tensor(curve.losses, dtype=torch.float64), parameters


@pytest.fixture
def no_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("autograd was called")

    monkeypatch.setattr(torch.autograd, "backward", forbidden)
    monkeypatch.setattr(torch.autograd, "grad", forbidden)
    monkeypatch.setattr(Tensor, "backward", forbidden)


@pytest.fixture
def data(batches: Any) -> Callable[[str], Any]:
    def build(loss: str) -> Any:
        made = batches(samples=36, size=9)
        if loss == "mse":
            made.targets = made.inputs[:, :3].sin()
        elif loss == "bce":
            made.targets = (made.inputs[:, :3] > 0.3).double()
        return made

    return build


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({**SGD, "activation": "sigmoid"}, {}),
        ({**ADAM, "activation": "tanh"}, {}),
        ({**SGD, "normalization": "batch", "dropout": 0.3}, {}),
        ({**ADAM, "normalization": "layer", "weight_decay": 0.1}, {}),
        ({**ADAM, "loss": "mse", "l2": 0.01}, {}),
        ({**SGD, "loss": "bce", "l1": 0.01, "l2": 0.02}, {}),
        ({**SGD, "loss": "bce", "reduction": "sum", "schedule": "cosine"}, {"gradient_clip_val": 0.5}),
        # Four batches: a whole window, and three: the last one partial.
        ({**SGD, "l1": 0.01}, {"accumulate_grad_batches": 2}),
        ({**ADAM, "dropout": 0.2}, {"accumulate_grad_batches": 3}),
    ],
)
def test_one_curve_by_hand_by_autograd_and_by_torchs_layers(
    changes: dict[str, Any], arguments: dict[str, Any], data: Any, trainer: Fit
) -> None:
    batches = data(changes.get("loss", "cross_entropy"))
    models = [
        module(**changes, gradient="manual"),
        module(**changes, gradient="autograd"),
        FullyConnected(**{"num_features": 6, "num_classes": 3, "seed": 1000, "hidden": [8, 5], **changes}).double(),
    ]
    start = [torch.cat([p.detach().flatten() for p in model.parameters()]) for model in models]
    (manual, by_hand), *others = [train(model, batches, trainer, max_epochs=5, **arguments) for model in models]
    assert len(manual) == 20
    assert (by_hand - start[0]).abs().max() > 0.01
    for before, (curve, parameters) in zip(start[1:], others, strict=True):
        assert torch.equal(before, start[0])
        torch.testing.assert_close(manual, curve, atol=1e-10, rtol=0)
        torch.testing.assert_close(by_hand, parameters, atol=1e-10, rtol=0)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_the_curve_on_the_digits_is_that_of_fully_connected(optimizer: dict[str, Any], trainer: Fit) -> None:
    finals = []
    for build in (Modular, FullyConnected):
        model = build(num_features=64, num_classes=10, hidden=[32, 16], seed=1000, activation="tanh", **optimizer)
        run = trainer(max_epochs=2, precision="64-true")
        run.fit(model, datamodule=Digits(batch_size=64, seed=1000))
        metrics = run.callback_metrics
        finals.append([metrics["train/loss"].item(), metrics["val/loss"].item(), metrics["val/accuracy"].item()])
    assert finals[0] == pytest.approx(finals[1], abs=1e-10)
    assert finals[0][2] > 0.3


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_no_autograd_by_hand(normalization: str, no_autograd: None, data: Any, trainer: Fit) -> None:
    model = module(normalization=normalization, dropout=0.1, l1=1e-3, l2=1e-3)
    curve, _ = train(model, data("cross_entropy"), trainer, max_epochs=10)
    assert curve[-4:].mean() < curve[:4].mean()
    assert not model(data("cross_entropy").inputs).requires_grad
    # The forbidden calls are those that the other way makes.
    with pytest.raises(AssertionError, match="autograd was called"):
        train(module(gradient="autograd"), data("cross_entropy"), trainer, max_epochs=1)


def test_the_names_are_those_of_fully_connected() -> None:
    arguments: dict[str, Any] = {"num_features": 6, "num_classes": 3, "hidden": [8, 5], "seed": 3}
    ours, theirs = Modular(**arguments).state_dict(), FullyConnected(**arguments).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    named = dict(module(dropout=0.1, normalization="batch").named_modules())
    assert {"network.hidden.0.activation", "network.hidden.1.activation"} <= set(named)


def test_images_are_flattened() -> None:
    model = Modular(num_features=12, num_classes=3, hidden=[4], seed=0)
    images = torch.randn(5, 1, 3, 4)
    assert torch.equal(model(images), model(images.reshape(5, 12)))


@pytest.mark.parametrize("normalization", ["none", "batch", "layer"])
def test_checkpoint_round_trip(normalization: str, batches: Any, trainer: Fit, tmp_path: Path) -> None:
    model, data, path = (
        module(normalization=normalization, dropout=0.2).float(),
        batches(samples=25),
        tmp_path / "m.ckpt",
    )
    data.inputs = data.inputs.float()
    run = trainer(max_epochs=2)
    run.fit(model, data)
    run.save_checkpoint(path)
    loaded = Modular.load_from_checkpoint(path, weights_only=True)
    model.eval()
    loaded.eval()
    assert torch.equal(model(data.inputs), loaded(data.inputs))
    assert loaded.hparams == model.hparams
    other = Modular.load_from_checkpoint(path, weights_only=True, gradient="autograd").eval()
    assert torch.equal(model(data.inputs), other(data.inputs))
    assert not torch.equal(model(data.inputs), module(normalization=normalization).float().eval()(data.inputs))


def test_loss_is_the_usual_one(data: Any) -> None:
    batches = data("cross_entropy")
    model = module()
    outputs = model(batches.inputs)
    expected = F.cross_entropy(outputs, batches.targets)
    torch.testing.assert_close(model.criterion.mean(outputs, batches.targets), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient": "autograde"}, r"unknown gradient 'autograde': did you mean 'autograd'\? valid: manual, autograd"),
        ({"activation": "gelu"}, r"unknown activation 'gelu': .*valid: sigmoid, tanh, relu"),
        ({"normalization": "bach"}, r"unknown normalization 'bach': did you mean 'batch'\?"),
        ({"dropout": 1.0}, "dropout must be a finite number >= 0 and < 1, not 1.0"),
        ({"hidden": []}, r"hidden must list at least one width, not \[\]"),
        ({"hidden": [4, 0]}, "the size of a layer must be a whole number >= 1, not 0"),
        ({"num_features": 0}, "num_features must be a whole number >= 1, not 0"),
        ({"num_classes": 0}, "num_classes must be a whole number >= 1, not 0"),
        ({"loss": "one_hot_mse"}, "Modular has no one_hot_mse written by hand: valid: cross_entropy, mse, bce"),
        ({"loss": "naive_cross_entropy"}, "Modular has no naive_cross_entropy written by hand"),
        ({"loss": "crossentropy"}, r"unknown loss 'crossentropy': did you mean 'cross_entropy'\?"),
        ({"loss": "mse", "reduction": "sum"}, "mse does not use reduction"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        module(**changes)
    assert "\n" not in str(error.value)


def test_an_unknown_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="depth"):
        module(depth=3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:, :5], y), r"a batch must have 6 features a sample; its shape is \(9, 5\)"),
        (lambda x, y: (x, y + 1), "label 3 is out of range: 3 classes have labels 0 to 2"),
        (lambda x, y: (x, y.view(-1, 1)), r"cross_entropy needs labels of shape \(9,\)"),
    ],
)
def test_bad_batches(spoil: Callable[..., Any], message: str, data: Any, trainer: Fit) -> None:
    good = [(x, (torch.arange(len(x)) % 3)) for x, _ in data("cross_entropy")]
    loader = torch.utils.data.DataLoader([good[0], spoil(*good[1])], batch_size=None)
    with pytest.raises(ValueError, match=message) as error:
        trainer(max_epochs=1).fit(module(), loader)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("precision", "devices", "message"),
    [
        ("16-mixed", 1, "gradient=manual needs a trainer.precision that ends in -true, not 16-mixed"),
        ("32-true", 2, "gradient=manual trains on one device, not 2"),
    ],
)
def test_what_needs_autograd_is_refused(precision: str, devices: int, message: str) -> None:
    model = module()
    model.trainer = SimpleNamespace(precision=precision, world_size=devices, datamodule=None)
    with pytest.raises(ValueError, match=message):
        model.on_fit_start()
    model = module(gradient="autograd")
    model.trainer = SimpleNamespace(precision=precision, world_size=devices, datamodule=None)
    model.on_fit_start()


def test_mixed_precision_is_refused_before_the_first_step(data: Any, trainer: Fit) -> None:
    with pytest.raises(ValueError, match="ends in -true, not bf16-mixed"):
        trainer(max_epochs=1, precision="bf16-mixed").fit(module().float(), data("cross_entropy"))
