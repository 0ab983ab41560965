"""Optimising an image through a frozen network: against autograd of the composition, written out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.input_optimization import InputOptimization, pretrain

SHAPE, CLASSES = (1, 4, 3), 3
Fit = Callable[..., lightning.Trainer]


class Data(lightning.LightningDataModule):
    """Three blobs; a training split and a test split, as the data modules have them."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(5)
        y = torch.arange(60) % CLASSES
        x = torch.randn(60, *SHAPE, generator=g) + 2 * torch.randn(CLASSES, *SHAPE, generator=g)[y]
        self.train, self.val, self.test = (x[:40], y[:40]), (x[40:50], y[40:50]), (x[50:], y[50:])

    def loader(self, part: tuple[Tensor, Tensor]) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*part), batch_size=1)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.train)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.val)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.test)

    predict_dataloader = test_dataloader


def module(**changes: Any) -> InputOptimization:
    arguments = {"hidden": [12, 10], "pretraining_steps": 60, "optimizer": "adamw", "lr": 0.5, "seed": 0, **changes}
    return InputOptimization(sample_shape=SHAPE, num_classes=CLASSES, **arguments)


def fitted(model: InputOptimization, trainer: Fit, steps: int = 280, **options: Any) -> lightning.Trainer:
    run = trainer(max_steps=steps, **options)
    run.fit(model, datamodule=Data())
    return run


def state(model: InputOptimization) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def by_hand(model: InputOptimization, image: Tensor) -> Tensor:
    """The frozen network, written out."""
    z = image.flatten(1)
    for layer in model.network.frozen.hidden:
        z = torch.tanh(z @ layer.linear.weight.T + layer.linear.bias)
    output = model.network.frozen.output
    return z @ output.weight.T + output.bias


@pytest.mark.parametrize("changes", [{}, {"loss": "cross_entropy", "target_class": 2}], ids=["inversion", "class"])
def test_the_noise_takes_the_steps_of_the_composition(changes: dict[str, Any], trainer: Fit) -> None:
    """Plain SGD with weight decay: noise ← noise − lr · (gradient + decay · noise), three times."""
    decay = {"optimizer": "sgd", "lr": 0.2, "weight_decay": 0.1, **changes}
    model = module(**decay).double()
    noise = model.network.noise.weight.detach().clone()
    fitted(model, trainer, steps=3)
    target = model.network.target_image
    for _ in range(3):
        noise.requires_grad_()
        outputs = by_hand(model, noise)
        if target is None:
            loss = F.cross_entropy(outputs, torch.tensor([2]))
        else:
            loss = (outputs - by_hand(model, target)).square().mean()
        (gradient,) = torch.autograd.grad(loss, noise)
        assert gradient.abs().max() > 1e-3
        noise = (noise - 0.2 * (gradient + 0.1 * noise)).detach()
    torch.testing.assert_close(model.network.noise.weight.detach(), noise, atol=1e-12, rtol=1e-12)


class Silence(lightning.Callback):
    """Makes every output of the network 0, and wants nothing else."""

    @torch.no_grad()
    def on_train_start(self, trainer: Any, pl_module: InputOptimization) -> None:
        for value in (*pl_module.network.frozen.parameters(), pl_module.network.wanted):
            value.zero_()


def test_weight_decay_acts_on_the_noise_and_can_be_switched_off(trainer: Fit) -> None:
    """AdamW's own .01 · lr is all that moves the noise where the network gives 0 for every image."""
    for given, factor in (({}, 1 - 0.01 * 0.5), ({"weight_decay": 0.0}, 1.0)):
        model = module(pretraining_steps=0, **given)
        before = model.network.noise.weight.detach().clone()
        run = fitted(model, trainer, steps=1, callbacks=[Silence()])
        torch.testing.assert_close(model.network.noise.weight.detach(), factor * before)
        (group,) = run.optimizers[0].param_groups
        assert [parameter is model.network.noise.weight for parameter in group["params"]] == [True]


def test_l2_is_a_penalty_on_the_noise_alone(trainer: Fit) -> None:
    model = module(optimizer="sgd", lr=1e-9, l2=0.5).double()
    run = fitted(model, trainer, steps=1)
    expected = 0.5 * model.network.noise.weight.square().sum().item()
    assert run.callback_metrics["train/penalty"].item() == pytest.approx(expected, rel=1e-6)


def test_the_network_is_trained_on_the_training_split_then_frozen(trainer: Fit) -> None:
    class Seen(lightning.Callback):
        def on_train_start(self, trainer: Any, pl_module: InputOptimization) -> None:
            self.state = state(pl_module)

    seen, model, data = Seen(), module(pretraining_steps=200), Data()
    untrained = state(model)
    run = fitted(model, trainer, steps=5, callbacks=[seen])
    before, after = seen.state, state(model)
    assert {name for name in after if not torch.equal(before[name], after[name])} == {"network.noise.weight"}
    assert not torch.equal(untrained["network.frozen.output.weight"], after["network.frozen.output.weight"])
    assert not any(p.requires_grad for p in model.network.frozen.parameters())
    assert all(p.grad is None for p in model.network.frozen.parameters())
    outputs = torch.cat(run.predict(model, datamodule=data))
    torch.testing.assert_close(outputs, by_hand(model, data.test[0]), atol=1e-5, rtol=1e-5)
    assert (by_hand(model, data.train[0]).argmax(1) == data.train[1]).double().mean() > 0.9
    # The target is one of the test images.
    assert (data.test[0] == model.network.target_image).flatten(1).all(1).sum() == 1
    torch.testing.assert_close(model.network.wanted, by_hand(model, model.network.target_image))


class Losses(lightning.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self.values.append(loss.item())


@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": 0.0, "schedule": "one_cycle"},
        # Of tanh units the outputs are bounded, and so is how sure the network can be.
        {"loss": "cross_entropy", "target_class": 1, "activation": "relu", "schedule": "one_cycle"},
        {"loss": "one_hot_mse", "target_class": 1, "weight_decay": 0.0, "schedule": "one_cycle"},
    ],
    ids=["inversion", "class", "one-hot"],
)
def test_the_loss_falls_a_hundredfold(changes: dict[str, Any], trainer: Fit) -> None:
    model, data, losses = module(pretraining_steps=200, **changes), Data(), Losses()
    run = fitted(model, trainer, callbacks=[losses])
    validated = run.callback_metrics["val/loss"].item()
    (tested,) = run.test(model, datamodule=data, verbose=False)
    assert tested["test/loss"] == pytest.approx(validated, rel=1e-6)
    assert validated < losses.values[0] / 100
    if "target_class" in changes:
        assert tested["test/accuracy"] == 1
        assert model(model.network.noise()).argmax().item() == 1


def test_a_run_depends_on_its_seed_only(trainer: Fit) -> None:
    finals = []
    for seed in (0, 0, 1):
        model = module(seed=seed, schedule="one_cycle")
        torch.manual_seed(len(finals))  # nobody draws from the global generator
        fitted(model, trainer, steps=40)
        finals.append(state(model))
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])
    assert not any(torch.equal(finals[0][name], finals[2][name]) for name in finals[0])


def test_the_batches_of_the_pretraining_depend_on_the_seed(monkeypatch: pytest.MonkeyPatch, trainer: Fit) -> None:
    used = []
    monkeypatch.setattr(
        "lightning_modules.input_optimization.pretrain", lambda *_, steps, seed: used.append((steps, seed))
    )
    fitted(module(seed=7, pretraining_steps=11), trainer, steps=1)
    assert used == [(11, 7)]
    monkeypatch.undo()
    data, finals = Data(), []
    for seed in (0, 0, 1):
        network = module().configure_network().frozen.requires_grad_()
        pretrain(network, *data.train, steps=2, seed=seed)
        finals.append(network.output.weight)
    assert torch.equal(finals[0], finals[1])
    assert not torch.equal(finals[0], finals[2])


def test_noise_is_standard_normal() -> None:
    noise = InputOptimization(sample_shape=(3, 40, 40), num_classes=2, seed=0).network.noise()
    assert noise.shape == (1, 3, 40, 40)
    # 4,800 draws: three standard errors.
    assert abs(noise.mean().item()) < 3 / 4800**0.5
    assert noise.var().item() == pytest.approx(1, abs=3 * (2 / 4800) ** 0.5)


@pytest.mark.parametrize("changes", [{}, {"loss": "cross_entropy", "target_class": 0}], ids=["inversion", "class"])
def test_checkpoint_round_trip(changes: dict[str, Any], trainer: Fit, tmp_path: Path) -> None:
    model, data, path = module(**changes), Data(), tmp_path / "model.ckpt"
    run = fitted(model, trainer, steps=20)
    run.save_checkpoint(path)
    loaded = InputOptimization.load_from_checkpoint(path, weights_only=True)
    x = data.test[0]
    assert torch.equal(loaded(x), model(x))
    assert not torch.equal(module(**changes)(x), model(x))
    assert loaded.hparams == model.hparams
    values = [fit.test(m, datamodule=data, verbose=False) for m, fit in ((model, run), (loaded, trainer()))]
    assert values[0] == values[1]
    # Another 20 steps from the checkpoint are the steps 21 to 40.
    more, whole = module(**changes), module(**changes)
    resumed = trainer(max_steps=40)
    resumed.fit(more, datamodule=data, ckpt_path=path, weights_only=True)
    fitted(whole, trainer, steps=40)
    assert all(torch.equal(state(more)[name], state(whole)[name]) for name in state(whole))


def test_pretraining_is_adam_on_the_cross_entropy() -> None:
    data = Data()
    network = module().configure_network().frozen.requires_grad_()
    before = F.cross_entropy(network(data.train[0]), data.train[1]).item()
    pretrain(network, *data.train, steps=150, seed=0)
    assert F.cross_entropy(network(data.train[0]), data.train[1]).item() < before / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_class": 1}, "target_class=1 has no effect: mse brings the noise to a test image"),
        ({"loss": "cross_entropy"}, "cross_entropy needs a target_class from 0 to 2, not None"),
        ({"loss": "cross_entropy", "target_class": 3}, "needs a target_class from 0 to 2, not 3"),
        ({"loss": "bce"}, "loss must be mse or one of class labels"),
        ({"pretraining_steps": -1}, "pretraining_steps must be a whole number >= 0, not -1"),
        ({"hidden": [0]}, "the size of a layer must be a whole number >= 1, not 0"),
        ({"activation": "tan"}, r"unknown activation 'tan': did you mean 'tanh'\?"),
        ({"lr": 0.0}, "lr must be a finite number > 0"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        module(**changes)
    assert "\n" not in str(error.value)


def test_bad_data(trainer: Fit) -> None:
    with pytest.raises(ValueError, match="on the training split of a data module: give one"):
        trainer(max_steps=1).fit(module(), Data().train_dataloader())
    for spoil, message in (
        (lambda x, y: (x, y.float()), "cross_entropy needs labels of shape"),
        (lambda x, y: (x, y + 1), "label 3 is out of range: 3 classes have labels 0 to 2"),
        (lambda x, y: (x[:, :, :3], y), "a batch must have 12 features a sample"),
    ):
        data = Data()
        data.train = spoil(*data.train)
        with pytest.raises(ValueError, match=message):
            trainer(max_steps=1).fit(module(), datamodule=data)
