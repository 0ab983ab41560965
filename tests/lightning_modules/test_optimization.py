"""Optimisers against torch's own, schedules against closed forms, the latter through real fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import lightning
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from lightning_modules import FullyConnected
from lightning_modules.fully_connected import FullyConnectedNetwork
from lightning_modules.optimization import (
    OPTIMIZERS,
    SCHEDULES,
    build_optimizer,
    learning_rates,
    optimizer_arguments,
    validate_schedule,
)
from lightning_modules.penalties import penalized_weights, penalty

Fit = Callable[..., lightning.Trainer]


def descend(
    build: Callable[[nn.Module], torch.optim.Optimizer], cost: Callable[[nn.Module], torch.Tensor] | None = None
) -> list[torch.Tensor]:
    """Take 20 steps on the same problem; give the parameters."""
    network = FullyConnectedNetwork(6, 3, [5, 5], seed=0, activation="tanh", normalization="layer").double()
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 6, generator=g, dtype=torch.float64), torch.randint(3, (30,), generator=g)
    optimizer = build(network)
    for _ in range(20):
        loss = F.cross_entropy(network(x), y)
        optimizer.zero_grad()
        (loss if cost is None else loss + cost(network)).backward()
        optimizer.step()
    return [parameter.detach() for parameter in network.parameters()]


def groups(network: nn.Module) -> list[dict[str, Any]]:
    """Biases, and the scales of normalisations, do not decay."""
    named = list(network.named_parameters())
    decays = [name.endswith("weight") and "normalization" not in name for name, _ in named]
    return [
        {"params": [p for (_, p), d in zip(named, decays, strict=True) if d]},
        {"params": [p for (_, p), d in zip(named, decays, strict=True) if not d], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize(
    ("name", "ours", "torch_class", "theirs"),
    [
        ("sgd", {}, torch.optim.SGD, {}),
        ("sgd", {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
        ("sgd", {"momentum": 0.9, "nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("sgd", {"weight_decay": 0.1}, torch.optim.SGD, {"weight_decay": 0.1}),
        ("adam", {}, torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ("adam", {"beta1": 0.5, "beta2": 0.9}, torch.optim.Adam, {"betas": (0.5, 0.9)}),
        ("adam", {"beta2": 0.9, "weight_decay": 0.1}, torch.optim.Adam, {"betas": (0.9, 0.9), "weight_decay": 0.1}),
        ("adamw", {}, torch.optim.AdamW, {"weight_decay": 0.01}),
        ("adamw", {"weight_decay": 1.0, "beta1": 0.8}, torch.optim.AdamW, {"weight_decay": 1.0, "betas": (0.8, 0.999)}),
        ("adamw", {"weight_decay": 0.0}, torch.optim.AdamW, {"weight_decay": 0.0}),
        ("rmsprop", {"momentum": 0.5}, torch.optim.RMSprop, {"momentum": 0.5}),
        ("rmsprop", {"weight_decay": 0.1}, torch.optim.RMSprop, {"weight_decay": 0.1}),
        ("adagrad", {}, torch.optim.Adagrad, {}),
        ("adagrad", {"weight_decay": 0.1}, torch.optim.Adagrad, {"weight_decay": 0.1}),
        ("adadelta", {}, torch.optim.Adadelta, {}),
        ("adadelta", {"weight_decay": 0.1}, torch.optim.Adadelta, {"weight_decay": 0.1}),
        ("amsgrad", {}, torch.optim.Adam, {"amsgrad": True}),
        ("amsgrad", {"beta2": 0.5}, torch.optim.Adam, {"amsgrad": True, "betas": (0.9, 0.5)}),
        ("adamax", {}, torch.optim.Adamax, {}),
        ("adamax", {"beta1": 0.5, "beta2": 0.9}, torch.optim.Adamax, {"betas": (0.5, 0.9)}),
        ("nadam", {}, torch.optim.NAdam, {}),
        ("nadam", {"beta1": 0.5, "weight_decay": 0.1}, torch.optim.NAdam, {"betas": (0.5, 0.999), "weight_decay": 0.1}),
        ("radam", {}, torch.optim.RAdam, {}),
        ("radam", {"beta2": 0.9, "weight_decay": 0.1}, torch.optim.RAdam, {"betas": (0.9, 0.9), "weight_decay": 0.1}),
    ],
)
def test_same_as_torch(name: str, ours: dict[str, Any], torch_class: Any, theirs: dict[str, Any]) -> None:
    arguments = optimizer_arguments(name, lr=0.05, **ours)
    mine = descend(lambda network: build_optimizer(network, name, arguments))
    # The plain loop over parameters; ours is fused where torch can, which rounds in another order.
    reference = descend(lambda network: torch_class(groups(network), lr=0.05, foreach=False, **theirs))
    for one, other in zip(mine, reference, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_every_rule_steps_in_its_own_way() -> None:
    ends = {
        name: descend(lambda network, name=name: build_optimizer(network, name, optimizer_arguments(name, lr=0.05)))
        for name in OPTIMIZERS
    }
    for one, other in itertools.combinations(OPTIMIZERS, 2):
        apart = [(a - b).abs().max() for a, b in zip(ends[one], ends[other], strict=True)]
        assert max(apart) > 1e-5, (one, other)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "amsgrad", "adagrad"])
def test_fused_on_the_cpu(name: str) -> None:
    network = FullyConnectedNetwork(6, 3, [5], seed=0)
    optimizer = build_optimizer(network, name, optimizer_arguments(name, lr=0.1))
    assert all(group["fused"] for group in optimizer.param_groups)


def test_l2_penalty_is_weight_decay_under_sgd() -> None:
    plain = optimizer_arguments("sgd", lr=0.05, momentum=0.9)
    decay = optimizer_arguments("sgd", lr=0.05, momentum=0.9, weight_decay=0.2)
    one = descend(lambda n: build_optimizer(n, "sgd", plain), cost=lambda n: penalty(penalized_weights(n), 0.0, 0.1))
    other = descend(lambda n: build_optimizer(n, "sgd", decay))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adm"}, r"unknown optimizer 'adm': did you mean 'adam'\? valid: sgd, adam, adamw, amsgrad"),
        ({"optimizer": "adam", "momentum": 0.9}, "adam does not use momentum; it uses lr, beta1, beta2, weight_decay"),
        ({"optimizer": "adamw", "momentum": 0.0}, "adamw does not use momentum"),
        ({"optimizer": "adam", "nesterov": False}, "adam does not use nesterov"),
        ({"optimizer": "rmsprop", "nesterov": True}, "rmsprop does not use nesterov"),
        ({"optimizer": "sgd", "beta1": 0.9}, "sgd does not use beta1; it uses lr, momentum, nesterov, weight_decay"),
        ({"optimizer": "adagrad", "beta2": 0.9}, "adagrad does not use beta2; it uses lr, weight_decay"),
        ({"optimizer": "adadelta", "beta2": 0.9}, "adadelta does not use beta2; it uses lr, weight_decay"),
        ({"optimizer": "nadam", "momentum": 0.9}, "nadam does not use momentum; it uses lr, beta1, beta2"),
        ({"optimizer": "sgd", "nesterov": True}, "nesterov=True needs a momentum > 0, not None"),
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0.0}, "nesterov=True needs a momentum > 0, not 0.0"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum must be a finite number >= 0 and < 1, not 1.0"),
        ({"optimizer": "sgd", "momentum": -0.1}, "momentum must be a finite number >= 0 and < 1, not -0.1"),
        ({"optimizer": "adam", "beta1": 1.5}, "beta1 must be a finite number >= 0 and < 1, not 1.5"),
        ({"optimizer": "adam", "beta2": -1.0}, "beta2 must be a finite number >= 0 and < 1, not -1.0"),
        ({"optimizer": "adam", "weight_decay": -1e-3}, "weight_decay must be a finite number >= 0, not -0.001"),
        ({"optimizer": "sgd", "lr": 0.0}, "lr must be a finite number > 0, not 0.0"),
        ({"optimizer": "sgd", "lr": -0.1}, "lr must be a finite number > 0, not -0.1"),
        ({"optimizer": "sgd", "lr": math.inf}, "lr must be a finite number > 0, not inf"),
        ({"optimizer": "sgd", "lr": math.nan}, "lr must be a finite number > 0, not nan"),
        ({"optimizer": "sgd", "lr": True}, "lr must be a finite number > 0, not True"),
    ],
)
def test_bad_optimizer_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        optimizer_arguments(**{"lr": 0.1, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("schedule", "warmup", "message"),
    [
        ("cosin", 0.0, r"unknown schedule 'cosin': did you mean 'cosine'\? valid: constant, step, cosine, linear"),
        ("linear", 1.0, "warmup must be a finite number >= 0 and < 1, not 1.0"),
        ("linear", -0.1, "warmup must be a finite number >= 0 and < 1, not -0.1"),
        ("one_cycle", 0.1, "one_cycle warms up by itself, over 30 % of the steps: warmup must be 0, not 0.1"),
        ("plateau", 0.1, "plateau follows the validation loss and not the steps: warmup must be 0, not 0.1"),
    ],
)
def test_bad_schedules(schedule: str, warmup: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_schedule(schedule, warmup)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 10, 40, 101])
@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        ("constant", lambda o, _total: lr_scheduler.ConstantLR(o, 1.0)),
        ("cosine", lambda o, total: lr_scheduler.CosineAnnealingLR(o, total)),
        ("linear", lambda o, total: lr_scheduler.LinearLR(o, 1.0, 0.0, total)),
        ("one_cycle", lambda o, total: lr_scheduler.OneCycleLR(o, 1.0, total, cycle_momentum=False)),
    ],
)
def test_schedules_of_torch(schedule: str, reference: Any, total: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs, expected = reference(optimizer, total), []
    for step in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < total - 1:
            theirs.step()
    assert learning_rates(schedule, 0.0, total) == pytest.approx(expected, abs=1e-12)


def test_step_schedule() -> None:
    expected = [1.0] * 50 + [0.1] * 25 + [0.01] * 25
    assert learning_rates("step", 0.0, 100) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=100)
@given(schedule=st.sampled_from(list(SCHEDULES)), warmup=st.floats(0, 0.99), total=st.integers(1, 500))
def test_a_rate_is_a_share_of_the_largest(schedule: str, warmup: float, total: int) -> None:
    # Torch's plateau follows a metric and no steps.
    assume(schedule not in ("one_cycle", "plateau") and (not warmup or round(warmup * total)))
    rates, ramp = learning_rates(schedule, warmup, total), round(warmup * total)
    assert len(rates) == total
    assert all(-1e-12 <= rate <= 1 + 1e-12 for rate in rates)
    # During the warm-up the rate rises evenly to all of it; then the schedule is that of the steps that remain.
    assert rates[:ramp] == pytest.approx([(step + 1) / ramp for step in range(ramp)], abs=1e-12)
    assert rates[ramp:] == pytest.approx(learning_rates(schedule, 0.0, total - ramp), abs=1e-12)


@pytest.mark.parametrize("warmup", [1e-9, 0.04])
def test_a_warm_up_of_no_step_is_an_error(warmup: float) -> None:
    with pytest.raises(ValueError, match=f"warmup={warmup} has no effect: of 10 steps it is none"):
        learning_rates("linear", warmup, 10)


def cos_half(t: float, total: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * t / total)


# lr 0.2; 15 steps: 3 epochs of 5 batches. The last number of each is the last step's.
FITS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "constant": ({"schedule": "constant"}, [0.2] * 15),
    "constant, warm-up": (
        {"schedule": "constant", "warmup": 0.2},
        [0.2 / 3, 0.4 / 3, *[0.2] * 13],
    ),
    "step": ({"schedule": "step"}, [*[0.2] * 8, *[0.02] * 4, *[0.002] * 3]),
    "cosine": ({"schedule": "cosine"}, [0.2 * cos_half(t, 15) for t in range(15)]),
    "cosine, warm-up": (
        {"schedule": "cosine", "warmup": 0.2},
        [0.2 / 3, 0.4 / 3, 0.2, *[0.2 * cos_half(t, 12) for t in range(12)]],
    ),
    "linear": ({"schedule": "linear"}, [0.2 * (15 - t) / 15 for t in range(15)]),
    "linear, warm-up": (
        {"schedule": "linear", "warmup": 1 / 3},
        [*[0.04 * t for t in range(1, 6)], *[0.02 * t for t in range(10, 0, -1)]],
    ),
    "one_cycle": (
        {"schedule": "one_cycle"},
        [
            *[0.2 / 25 + (0.2 - 0.2 / 25) * (1 - cos_half(t, 3.5)) for t in range(4)],
            *[0.2 / 25e4 + (0.2 - 0.2 / 25e4) * cos_half(t - 3.5, 10.5) for t in range(4, 15)],
        ],
    ),
}


class Rates(lightning.Callback):
    def __init__(self) -> None:
        self.used: list[float] = []
        self.logged: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.used.append(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.logged.append(trainer.callback_metrics["lr"].item())


@pytest.mark.parametrize("case", FITS)
@pytest.mark.parametrize("ending", [{"max_epochs": 3}, {"max_steps": 15}, {"max_epochs": 9, "max_steps": 15}])
def test_rates_of_a_fit(case: str, ending: dict[str, int], batches: Any, trainer: Fit) -> None:
    arguments, expected = FITS[case]
    model = FullyConnected(
        num_features=6, num_classes=3, seed=0, depth=1, width=4, optimizer="sgd", lr=0.2, **arguments
    ).double()
    rates = Rates()
    trainer(**ending, callbacks=[rates]).fit(model, batches(samples=23, size=5))
    assert rates.used == pytest.approx(expected, abs=1e-12)
    # One value an epoch: the rate of its last step.
    assert rates.logged == pytest.approx(expected[4::5], abs=1e-12)


def test_rates_when_the_last_epoch_is_cut_short(batches: Any, trainer: Fit) -> None:
    model = FullyConnected(num_features=6, num_classes=3, seed=0, depth=1, width=4, lr=0.7, schedule="linear").double()
    rates = Rates()
    trainer(max_steps=7, callbacks=[rates]).fit(model, batches(samples=23, size=5))
    assert rates.used == pytest.approx([0.1 * t for t in range(7, 0, -1)], abs=1e-12)
    assert rates.logged == pytest.approx([0.3, 0.1], abs=1e-12)


def test_a_schedule_counts_optimizer_steps_under_accumulation(batches: Any, trainer: Fit) -> None:
    model = FullyConnected(num_features=6, num_classes=3, seed=0, depth=1, width=4, lr=0.6, schedule="linear").double()
    rates = Rates()
    trainer(max_epochs=2, accumulate_grad_batches=2, callbacks=[rates]).fit(model, batches(samples=23, size=5))
    assert rates.used == pytest.approx([0.1 * t for t in range(6, 0, -1)], abs=1e-12)


def test_a_schedule_without_an_end_is_an_error(batches: Any, trainer: Fit) -> None:
    model = FullyConnected(num_features=6, num_classes=3, seed=0, depth=1, width=4, schedule="cosine").double()
    with pytest.raises(ValueError, match=r"schedule cosine needs the number of steps: set trainer\.max_steps"):
        trainer(max_epochs=-1).fit(model, batches())


class Stagnant(FullyConnected):
    """Its validation loss is what its script says, whatever it learns."""

    script: tuple[float, ...] = ()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", torch.tensor(self.script[self.current_epoch]))

    def on_validation_epoch_end(self) -> None:
        pass


def test_plateau_lowers_the_rate_after_ten_validations_without_progress(batches: Any, trainer: Fit) -> None:
    model = Stagnant(
        num_features=6, num_classes=3, seed=0, depth=1, width=4, optimizer="sgd", lr=0.2, schedule="plateau"
    ).double()
    # The fourth validation is the best; ten do not reach it, and the eleventh is one too many.
    model.script = (4.0, 3.0, 2.0, 1.0, *[1.5] * 26)
    rates = Rates()
    trainer(max_epochs=30, callbacks=[rates], num_sanity_val_steps=0).fit(
        model, batches(samples=5, size=5), batches(seed=1)
    )
    assert rates.used == pytest.approx([*[0.2] * 15, *[0.02] * 11, *[0.002] * 4], rel=1e-12)
    assert rates.logged == rates.used


def test_plateau_without_a_validation_says_so(batches: Any, trainer: Fit) -> None:
    model = FullyConnected(num_features=6, num_classes=3, seed=0, depth=1, width=4, schedule="plateau").double()
    with pytest.raises(lightning.fabric.utilities.exceptions.MisconfigurationException, match="val/loss"):
        trainer(max_epochs=1).fit(model, batches())
