"""What `result.json` says was applied is what the optimiser, the loader and the trainer did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import one_fit
import pytest
from lightning.pytorch.callbacks import Callback

from experiments.core.callbacks import GradientClipping
from experiments.core.callbacks.optimization_record import OptimizationRecord
from experiments.core.training.fit import build_fit
from experiments.core.training.stacking import fit
from lightning_modules.optimization import learning_rates


class Probe(Callback):
    """Asks what was applied as a run's recorder does, and writes down every rate besides."""

    def __init__(self) -> None:
        self.applied = OptimizationRecord()
        self.rates: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.applied.start(trainer, pl_module)

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_end(self, *_: Any) -> None:
        self.applied.stop()

    @property
    def section(self) -> dict[str, Any]:
        return self.applied.section()


@pytest.fixture
def asked(network, samples, train) -> Callable[..., Probe]:
    """Fit a network of 24 samples in batches of 8, with arguments of the module and of the trainer."""

    def run(*callbacks: Callback, trainer: dict[str, Any] | None = None, **module: Any) -> Probe:
        probe = Probe()
        train(network(**module), samples(), probe, *callbacks, **{"max_epochs": 4, **(trainer or {})})
        return probe

    return run


def test_nothing_is_said_before_a_training():
    assert OptimizationRecord().section() == {}


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "linear", "one_cycle"])
def test_the_rates_are_those_of_the_first_and_the_last_step(asked, schedule):
    probe = asked(schedule=schedule, lr=0.3)
    assert len(probe.rates) == 12
    assert probe.section["lr"] == {"first": probe.rates[0], "last": probe.rates[-1]}
    expected = [0.3 * learning_rates(schedule, 0.0, 12)[step] for step in (0, 11)]
    assert list(probe.section["lr"].values()) == pytest.approx(expected, rel=1e-12)
    assert probe.section["schedule"] == {"name": schedule, "warmup": 0.0, "steps": 12}


def test_the_rate_is_what_the_optimiser_had_whoever_set_it(asked):
    class Halving(Callback):
        def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
            trainer.optimizers[0].param_groups[0]["lr"] /= 2

    assert asked(Halving(), lr=0.1).section["lr"] == {"first": 0.1 / 2, "last": 0.1 / 2**12}


class Stop(Callback):
    """Ends the training after five steps."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 5


def test_a_training_that_only_a_callback_ends_has_no_length(asked):
    assert asked(Stop(), trainer={"max_epochs": -1}).section["schedule"]["steps"] is None


def test_a_training_that_is_cut_short_ends_with_its_own_last_rate(asked):
    probe = asked(Stop(), schedule="linear", lr=0.12)
    assert probe.section["schedule"]["steps"] == 12
    assert probe.section["lr"]["last"] == pytest.approx(0.12 * (1 - 4 / 12), rel=1e-12)


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"max_epochs": -1, "max_steps": 7}, 7),
        ({"max_epochs": 2, "limit_train_batches": 2}, 4),
        ({"max_epochs": 4, "accumulate_grad_batches": 3}, 4),
    ],
)
def test_the_length_of_the_schedule_is_the_steps_of_the_training(asked, trainer, steps):
    assert asked(trainer=trainer).section["schedule"]["steps"] == steps


OPTIMIZERS = {
    "sgd": ({"momentum": 0.9, "weight_decay": 0.1}, "SGD", {"momentum": 0.9, "weight_decay": 0.1, "nesterov": False}),
    "adam": ({"beta2": 0.99}, "Adam", {"betas": [0.9, 0.99], "weight_decay": 0.0, "eps": 1e-8, "amsgrad": False}),
    "adamw": ({}, "AdamW", {"betas": [0.9, 0.999], "weight_decay": 0.01}),
    "rmsprop": ({"momentum": 0.5}, "RMSprop", {"momentum": 0.5, "alpha": 0.99}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimiser_is_named_with_its_arguments(asked, name):
    given, kind, expected = OPTIMIZERS[name]
    section = asked(optimizer=name, lr=0.01, schedule="cosine", **given).section["optimizer"]
    assert section["class"] == kind
    assert section["lr"] == 0.01
    assert {key: section[key] for key in expected} == expected
    assert not {"foreach", "fused", "params", "initial_lr"} & set(section)


def test_clipping_is_by_norm_by_value_or_not_done(asked):
    assert asked().section["clipping"] is None
    assert asked(GradientClipping(2.5)).section["clipping"] == {"norm": 2.5}
    assert asked(trainer={"gradient_clip_val": 0.5}).section["clipping"] == {"norm": 0.5}
    by_value = {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}
    assert asked(trainer=by_value).section["clipping"] == {"value": 0.5}


BASE = Path(__file__).resolve().parents[2] / "experiments" / "vanishing" / "base.yaml"
SMALL = (
    f"--config={BASE}",
    "--model.depth=1",
    "--model.schedule=cosine",
    "--data.num_train=100",
    "--data.batch_size=32",
    "--trainer.max_epochs=2",
    "--trainer.logger=false",
)


def alone(seed: int, directory: Path, *options: str) -> dict[str, Any]:
    """Fit one run of a condition, and ask it."""
    cli, probe = build_fit(one_fit.resolve([*SMALL, *options]), seed, directory), Probe()
    cli.trainer.callbacks.append(probe)
    cli.trainer.fit(cli.model, cli.datamodule)
    return probe.section


def test_a_run_says_its_seeds_and_its_batches(here):
    section = alone(7, here)
    assert section["seed"] == {"model": 7, "data": 7}
    assert section["batches"] == {"size": 32, "per_epoch": 4, "per_step": 1, "shuffled": True}


def test_a_run_says_that_its_order_is_fixed(here):
    section = alone(7, here, "--trainer.overfit_batches=2", "--trainer.accumulate_grad_batches=2")
    assert section["batches"] == {"size": 32, "per_epoch": 2, "per_step": 2, "shuffled": False}


def test_in_a_stack_each_run_says_the_same_as_alone(here):
    seeds, directories = [7, 8, 9], [here / name for name in "abc"]
    cli, probe = build_fit(one_fit.resolve(SMALL), seeds[0], directories[0]), Probe()
    stack, data = cli.stack(seeds, directories)
    cli.trainer.callbacks.append(probe)
    fit(cli.trainer, stack, data)
    together, expected = [probe.applied.section(index) for index in range(3)], alone(17, here / "d")
    assert [section.pop("seed") for section in together] == [{"model": seed, "data": seed} for seed in (7, 8, 9)]
    assert expected.pop("seed") == {"model": 17, "data": 17}
    assert together == [expected] * 3


def test_of_a_network_that_ended_before_the_others_the_last_rate_is_its_own(asked):
    probe = asked(schedule="linear", lr=0.12)
    assert probe.applied.section(0, probe.rates[4])["lr"] == {"first": probe.rates[0], "last": probe.rates[4]}
