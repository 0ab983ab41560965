"""The standard training function through real fits: exact means, checkpoints, and wrong inputs."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from sklearn.metrics import f1_score, r2_score
from torch import Tensor
from torch.nn import functional as F

import lightning_modules
from lightning_modules.base import LectureModule
from lightning_modules.fully_connected import FullyConnected
from lightning_modules.linear import LinearModel, LinearStack
from lightning_modules.perceptron import Perceptron
from lightning_modules.two_layer import TwoLayer

Fit = Callable[..., lightning.Trainer]


def module(**changes: Any) -> FullyConnected:
    shape = {} if "hidden" in changes else {"depth": 2, "width": 8}
    arguments: dict[str, Any] = {"num_features": 6, "num_classes": 3, "seed": 1000, **shape, "lr": 0.1, **changes}
    return FullyConnected(**arguments).double()


class Watch(lightning.Callback):
    """What an epoch's means must be, from the outputs of its steps, beside what a plain callback can read."""

    def __init__(self, model: FullyConnected) -> None:
        self.model = model
        self.batches: list[tuple[int, float, int]] = []
        self.epochs: list[tuple[list[tuple[int, float, int]], dict[str, Tensor]]] = []
        model.network.register_forward_hook(self.keep)

    def keep(self, network: Any, inputs: Any, outputs: Tensor) -> None:
        self.outputs = outputs.detach()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        labels = batch[1]
        loss = F.cross_entropy(self.outputs, labels).item()
        self.batches.append((len(labels), loss, int((self.outputs.argmax(1) == labels).sum())))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.epochs.append((self.batches, dict(trainer.callback_metrics)))
        self.batches = []

    def check(self, epochs: int, steps: int, samples: int) -> None:
        assert len(self.epochs) == epochs
        for batches, seen in self.epochs:
            assert len(batches) == steps
            assert sum(size for size, _, _ in batches) == samples
            mean = sum(size * loss for size, loss, _ in batches) / samples
            assert seen["train/loss"].item() == pytest.approx(mean, rel=1e-12)
            assert seen["train/accuracy"].item() == pytest.approx(sum(c for _, _, c in batches) / samples, rel=1e-12)


def test_means_are_exact_with_a_partial_last_batch(batches: Any, trainer: Fit) -> None:
    model = module()
    watch = Watch(model)
    trainer(max_epochs=3, callbacks=[watch]).fit(model, batches(samples=23, size=5))
    watch.check(epochs=3, steps=5, samples=23)
    # The mean of batch means is something else here, so the test can tell.
    steps, seen = watch.epochs[0]
    assert abs(sum(loss for _, loss, _ in steps) / 5 - seen["train/loss"].item()) > 1e-4


@pytest.mark.parametrize(
    ("arguments", "epochs", "steps", "samples"),
    [
        ({"max_epochs": 2, "limit_train_batches": 3}, 2, 3, 15),
        ({"max_steps": 3}, 1, 3, 15),
        ({"max_steps": 2, "accumulate_grad_batches": 2}, 1, 4, 20),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 2, 5, 23),
        ({"max_epochs": 2, "val_check_interval": 2}, 2, 5, 23),
    ],
)
def test_means_however_an_epoch_ends(
    arguments: dict[str, Any], epochs: int, steps: int, samples: int, batches: Any, trainer: Fit
) -> None:
    model = module()
    watch = Watch(model)
    data = batches(samples=23, size=5)
    watch_validation = {"num_sanity_val_steps": 1} if "val_check_interval" in arguments else {"limit_val_batches": 0}
    trainer(callbacks=[watch], **watch_validation, **arguments).fit(model, data, batches(seed=1, samples=4))
    watch.check(epochs, steps, samples)


def test_validation_and_test_means(batches: Any, trainer: Fit) -> None:
    model, validation = module(dropout=0.5, normalization="batch"), batches(seed=1, samples=13, size=4)
    run = trainer(max_epochs=2)
    run.fit(model, batches(), validation)
    logged = dict(run.callback_metrics)
    model.eval()
    with torch.no_grad():
        outputs = model(validation.inputs)
    loss = F.cross_entropy(outputs, validation.targets).item()
    accuracy = (outputs.argmax(1) == validation.targets).double().mean().item()
    assert logged["val/loss"].item() == pytest.approx(loss, rel=1e-12)
    assert logged["val/accuracy"].item() == pytest.approx(accuracy, rel=1e-12)
    (tested,) = run.test(model, validation, verbose=False)
    assert tested == {"test/loss": pytest.approx(loss, rel=1e-12), "test/accuracy": pytest.approx(accuracy, rel=1e-12)}
    (first, *rest) = run.predict(model, validation)
    torch.testing.assert_close(torch.cat([first, *rest]), outputs, atol=1e-12, rtol=0)


def test_a_value_is_logged_once_an_epoch(batches: Any, trainer: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    model, logged = module(), []
    monkeypatch.setattr(model, "log", lambda name, *_, **__: logged.append(name))
    trainer(max_epochs=2, num_sanity_val_steps=0).fit(model, batches(), batches(seed=1))
    train, val = ["train/loss", "train/accuracy", "lr"], ["val/loss", "val/accuracy"]
    assert sorted(logged) == sorted([*train, *val] * 2)


def test_penalty_is_minimized_but_not_counted_in_the_loss(batches: Any, trainer: Fit) -> None:
    model, data = module(l1=0.01, l2=0.02, optimizer="sgd"), batches(samples=5, size=5)
    weights = [
        model.network.hidden[0].linear.weight,
        model.network.hidden[1].linear.weight,
        model.network.output.weight,
    ]
    cost = sum(0.01 * w.abs().sum().item() + 0.02 * w.square().sum().item() for w in weights)
    loss = F.cross_entropy(model(data.inputs), data.targets)
    weight = weights[0]
    (gradient,) = torch.autograd.grad(loss, weight)
    expected = (weight - 0.1 * (gradient + 0.01 * weight.sign() + 0.04 * weight)).detach()
    run = trainer(max_epochs=1)
    run.fit(model, data, data)
    assert set(run.callback_metrics) == {
        *("train/loss", "train/accuracy", "train/penalty", "lr"),
        *("val/loss", "val/accuracy"),
    }
    assert run.callback_metrics["train/loss"].item() == pytest.approx(loss.item(), rel=1e-12)
    assert run.callback_metrics["train/penalty"].item() == pytest.approx(cost, rel=1e-12)
    torch.testing.assert_close(weight.detach(), expected, atol=1e-12, rtol=0)


def test_regression(batches: Any, trainer: Fit) -> None:
    data = batches(samples=23, size=5)
    data.targets = data.inputs @ torch.ones(6, 1, dtype=torch.float64)
    model = module(num_classes=1, loss="mse", optimizer="adam", lr=0.02)
    run = trainer(max_epochs=60)
    run.fit(model, data)
    assert set(run.callback_metrics) == {"train/loss", "train/r2", "lr"}
    assert F.mse_loss(model(data.inputs), data.targets).item() < 0.1 * data.targets.var().item()


@pytest.mark.parametrize("columns", [1, 3])
def test_r2_of_an_epoch_of_unequal_batches(columns: int, batches: Any, trainer: Fit) -> None:
    model, data = module(num_classes=columns, loss="mse"), batches(samples=23, size=5)
    data.targets = 100 + data.inputs[:, :columns] * torch.arange(1, columns + 1)
    (tested,) = trainer().test(model, data, verbose=False)
    with torch.no_grad():
        outputs = model(data.inputs)
    assert tested == {
        "test/loss": pytest.approx(F.mse_loss(outputs, data.targets).item(), rel=1e-12),
        "test/r2": pytest.approx(r2_score(data.targets, outputs), rel=1e-10),
    }


def test_several_labels(batches: Any, trainer: Fit) -> None:
    model, data = module(loss="bce", reduction="sum", lr=0.05), batches(samples=23, size=5)
    data.targets = (data.inputs[:, :3] > 0.3).double()
    run = trainer(max_epochs=20)
    run.fit(model, data)
    assert set(run.callback_metrics) == {"train/loss", "train/exact_match", "train/micro_f1", "lr"}
    (tested,) = run.test(model, data, verbose=False)
    with torch.no_grad():
        outputs = model(data.inputs)
    truth, predicted = data.targets.numpy(), (outputs > 0).numpy()
    cost = F.binary_cross_entropy_with_logits(outputs, data.targets, reduction="sum").item() / 23
    assert tested == {
        "test/loss": pytest.approx(cost, rel=1e-12),
        "test/exact_match": pytest.approx((truth == predicted).all(1).mean(), rel=1e-12),
        "test/micro_f1": pytest.approx(f1_score(truth, predicted, average="micro", zero_division=0), rel=1e-12),
    }
    assert tested["test/micro_f1"] > 0.9


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid", "softmax"])
def test_one_hot_targets(output_activation: str, batches: Any, trainer: Fit) -> None:
    data = batches(samples=60, size=10)
    data.targets = data.inputs[:, :3].argmax(1)
    model = module(loss="one_hot_mse", output_activation=output_activation, reduction="sum", lr=0.02)
    run = trainer(max_epochs=30)
    run.fit(model, data)
    assert set(run.callback_metrics) == {"train/loss", "train/accuracy", "lr"}
    assert run.callback_metrics["train/accuracy"].item() > 0.9


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_learns_and_repeats_itself(optimizer: str, batches: Any, trainer: Fit) -> None:
    data = batches(samples=60, size=10)
    data.targets = data.inputs[:, :3].argmax(1)
    finals = []
    for _ in range(2):
        model = module(optimizer=optimizer, lr=0.3 if optimizer == "sgd" else 0.02)
        run = trainer(max_epochs=30)
        run.fit(model, data)
        assert run.callback_metrics["train/accuracy"].item() > 0.95
        finals.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*finals)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine", "normalization": "batch", "dropout": 0.2},
        {"activation": "sign_straight_through", "dropout": 0.2, "dropout_mask": "batch", "bias": False},
        {"loss": "one_hot_mse", "output_activation": "sigmoid", "reduction": "sum", "activation": "sign"},
        {"hidden": [9, 4], "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "normalization": "layer"},
    ],
)
def test_checkpoint_round_trip(changes: dict[str, Any], batches: Any, trainer: Fit, tmp_path: Path) -> None:
    model, data, path = module(**changes).float(), batches(), tmp_path / "model.ckpt"
    data.inputs = data.inputs.float()
    run = trainer(max_epochs=2)
    run.fit(model, data)
    run.save_checkpoint(path)
    loaded = FullyConnected.load_from_checkpoint(path, weights_only=True)
    model.eval()
    loaded.eval()
    assert torch.equal(model(data.inputs), loaded(data.inputs))
    assert loaded.hparams == model.hparams
    plain = str | int | float | bool | None
    assert all(isinstance(value, plain) or all(isinstance(v, int) for v in value) for value in model.hparams.values())
    # Not a copy of a default: other weights would not do.
    assert not torch.equal(model(data.inputs), module(**changes).float().eval()(data.inputs))


def test_short_names_for_the_command_line() -> None:
    # Every architecture has one: no class that can be trained is left out, and none stands there by mistake.
    found = set()
    for info in pkgutil.walk_packages(lightning_modules.__path__, "lightning_modules."):
        members = vars(importlib.import_module(info.name)).values()
        classes = [m for m in members if isinstance(m, type) and m.__module__ == info.name]
        found |= {c for c in classes if issubclass(c, LectureModule) and not inspect.isabstract(c)}
    assert sorted(lightning_modules.__all__) == sorted(c.__name__ for c in found)
    assert {getattr(lightning_modules, name) for name in lightning_modules.__all__} == found


SIZES = {"num_features": 6, "num_classes": 2, "seed": 0}


@pytest.mark.parametrize(
    ("build", "arguments"),
    [
        (FullyConnected, {**SIZES, "depth": 1, "width": 4}),
        (Perceptron, SIZES),
        (LinearModel, SIZES),
        (LinearStack, {**SIZES, "hidden": [3]}),
        (TwoLayer, SIZES),
    ],
)
@pytest.mark.parametrize("typo", ["dept", "optimiser", "num_feature"])
def test_a_typo_is_a_type_error_that_names_it(build: Callable[..., Any], arguments: dict[str, Any], typo: str) -> None:
    build(**arguments)
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{typo}'"):
        build(**arguments, **{typo: 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_features": 0}, "num_features must be a whole number >= 1, not 0"),
        ({"num_classes": 0}, "num_classes must be a whole number >= 1, not 0"),
        ({"seed": -1}, "seed must be a whole number >= 0, not -1"),
        ({"depth": 0}, "depth must be a whole number >= 1, not 0"),
        ({"width": -3}, "width must be a whole number >= 1, not -3"),
        ({"hidden": [8], "depth": 2}, "not both: depth=2"),
        ({"hidden": [8, 0]}, "the size of a layer must be a whole number >= 1, not 0"),
        ({"activation": "sigmod"}, r"unknown activation 'sigmod': did you mean 'sigmoid'\?"),
        ({"normalization": "instance"}, "unknown normalization 'instance': valid: none, batch, layer"),
        ({"normalization_position": "after"}, "normalization_position=after has no effect"),
        ({"initialization": "glorot"}, "unknown initialization 'glorot': valid: default, xavier, he, orthogonal"),
        ({"gain": 0.0}, "gain must be"),
        ({"dropout": 1.5}, "dropout must be"),
        ({"dropout_mask": "batch"}, "dropout_mask=batch has no effect: dropout is 0"),
        ({"hidden": [8, 9], "residual": True}, "residual=True has no effect"),
        ({"loss": "crossentropy"}, r"unknown loss 'crossentropy': did you mean 'cross_entropy'\?"),
        (
            {"reduction": "sum"},
            "cross_entropy does not use reduction=sum; these losses do: one_hot_mse, bce, naive_bce",
        ),
        ({"loss": "bce", "output_activation": "sigmoid"}, "bce does not use output_activation=sigmoid"),
        ({"loss": "one_hot_mse", "output_activation": "relu"}, "unknown output_activation 'relu'"),
        ({"optimizer": "adamW1"}, r"unknown optimizer 'adamW1': did you mean 'adamw'\?"),
        ({"lr": 0.0}, "lr must be a finite number > 0, not 0.0"),
        ({"momentum": 0.9}, "adam does not use momentum"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov=True needs a momentum > 0"),
        ({"schedule": "one-cycle"}, r"unknown schedule 'one-cycle': did you mean 'one_cycle'\?"),
        ({"warmup": 2.0}, "warmup must be"),
        ({"l1": -1.0}, "l1 must be a finite number >= 0, not -1.0"),
        ({"l2": -1.0}, "l2 must be a finite number >= 0, not -1.0"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        module(**changes)
    assert "\n" not in str(error.value)


def test_one_class_of_labels(batches: Any, trainer: Fit) -> None:
    data = batches(classes=1)
    with pytest.raises(ValueError, match=r"^cross_entropy needs at least 2 classes, not 1$"):
        trainer(max_epochs=1).fit(module(num_classes=1), data)


def test_a_vector_for_one_column(batches: Any, trainer: Fit) -> None:
    data = batches()
    data.targets = data.inputs[:, 0]
    with pytest.raises(ValueError, match=r"^mse needs targets of the outputs' shape \(5, 1\) .*, not \(5,\) and"):
        trainer(max_epochs=1).fit(module(num_classes=1, loss="mse"), data)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:, :5], y), r"a batch must have 6 features a sample; its shape is \(5, 5\)"),
        (lambda x, y: (x, y + 1), "label 3 is out of range: 3 classes have labels 0 to 2"),
        (lambda x, y: (x, y.view(-1, 1)), r"cross_entropy needs labels of shape \(5,\)"),
        (lambda x, y: (x, y, y), r"a batch must be a pair \(inputs, targets\), not a list of 3"),
        (lambda x, _: x, r"a batch must be a pair \(inputs, targets\), not a Tensor of 5"),
    ],
)
def test_bad_batches(spoil: Callable[..., Any], message: str, batches: Any, trainer: Fit) -> None:
    good = list(batches(samples=20, size=5))
    good[-1] = (good[-1][0], torch.tensor([0, 1, 2, 0, 1]))
    # The last batch is spoilt: a look at the first alone would not see it.
    loader = torch.utils.data.DataLoader([*good[:-1], spoil(*good[-1])], batch_size=None)
    with pytest.raises(ValueError, match=message) as error:
        trainer(max_epochs=1).fit(module(), loader)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("training", [True, False])
def test_a_trial_batch_leaves_no_trace(training: bool) -> None:
    model = module(normalization="batch", dropout=0.5).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    model.validate_batch(
        (torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator()), torch.tensor([0, 1, 2, 0]))
    )
    assert torch.equal(torch.get_rng_state(), drawn)
    assert model.training is training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_trial_batch_finds_out_what_training_would() -> None:
    model = module(normalization="batch")
    one = torch.zeros(1, 6, dtype=torch.float64), torch.tensor([0])
    with pytest.raises(ValueError, match="a training batch of 1 is not possible: Expected more than 1 value"):
        model.validate_batch(one)
    with pytest.raises(ValueError, match="label 3 is out of range"):
        model.validate_batch((torch.zeros(2, 6, dtype=torch.float64), torch.tensor([0, 3])))


def test_a_compiled_network_learns_the_same(trainer: Fit, batches: Callable[..., Any], monkeypatch: Any) -> None:
    calls: list[int] = []

    def eager(graph: Any, _examples: Any) -> Any:
        calls.append(1)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=eager))
    data = batches(samples=12, size=4)
    one, other = module(), module(compiled=True)
    for model in (one, other):
        trainer(max_epochs=2).fit(model, data)
    assert calls
    assert list(one.state_dict()) == list(other.state_dict())
    for weight, same in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(weight, same)
