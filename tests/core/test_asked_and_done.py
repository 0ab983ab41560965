"""What a config asks for is done, or said not to be: of Lightning's own classes, and of the trainer's arguments."""

from __future__ import annotations

import importlib
import io
import json
import logging

import one_fit
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from torchmetrics import Metric

from experiments.core.commands import glossary
from experiments.core.files.yaml import as_list
from experiments.core.training import allow_list
from experiments.core.training.allow_list import REASONS, SUPPORTED, WORDS
from experiments.core.training.fit import build_fit
from lightning_modules import FullyConnected
from lightning_modules.metrics import METRICS, metric_modes

SMALL = (
    *("--model.depth=2", "--model.width=8", "--data.num_train=256", "--data.num_val=64", "--data.num_test=64"),
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
)
TWO_EPOCHS = ("--trainer.max_epochs=2", *SMALL)


def callback(name: str, **arguments: object) -> str:
    return f"--trainer.callbacks+={json.dumps({'class_path': name, 'init_args': arguments})}"


@pytest.fixture
def fit(command, here, base_yaml):
    """Fit on 256 digits for two epochs, 8 steps."""
    yield lambda *words, config=base_yaml: command("fit", "--config", config, *TWO_EPOCHS, *words)
    allow_list.allow("")


@pytest.fixture
def refused_fit(refused, base_yaml):
    """Such a fit, which must be refused; gives the line."""
    return lambda *words: refused("fit", "--config", base_yaml, *TWO_EPOCHS, *words)


# The list


@pytest.mark.parametrize("package", SUPPORTED)
def test_every_class_of_lightning_is_supported_or_has_a_reason_not_to_be(package):
    names = set(importlib.import_module(package).__all__)
    assert set(SUPPORTED[package]) <= names
    assert not set(SUPPORTED[package]) & set(REASONS)
    if package.rpartition(".")[2] in ("callbacks", "loggers", "profilers", "strategies"):
        assert names - set(SUPPORTED[package]) <= set(REASONS)


def test_the_list_is_in_the_docs():
    page = glossary.PAGE.read_text(encoding="utf-8")
    assert glossary.lightnings() in page
    for name in [*sum(SUPPORTED.values(), ()), *sum(WORDS.values(), ()), *REASONS]:
        assert f"`{name}`" in page


USED = {
    "EarlyStopping": [callback("EarlyStopping", monitor="val/accuracy")],
    "LearningRateMonitor": [callback("LearningRateMonitor", logging_interval="step", log_momentum=True)],
    "ModelCheckpoint": [callback("ModelCheckpoint", monitor="val/accuracy", save_last=True)],
    "CSVLogger": ["--trainer.logger={class_path: CSVLogger, init_args: {save_dir: .}}"],
    "TensorBoardLogger": [],
    "SimpleProfiler": ["--trainer.profiler=SimpleProfiler"],
    "AdvancedProfiler": ["--trainer.profiler=lightning.pytorch.profilers.AdvancedProfiler"],
    "PyTorchProfiler": ["--trainer.profiler=pytorch"],
    "single_device": ["--trainer.strategy=single_device"],
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.endswith("Profiler") else name for name in USED]
)
def test_what_is_supported_trains_as_without_and_its_config_repeats_it(command, fit, result, here, name):
    first = fit(*USED[name], "--trainer.default_root_dir=first")
    assert first.code == 0, first.err
    stored = result(here / "first")
    assert (stored["status"], stored["epochs"], stored["steps"]) == ("ok", 2, 8)
    assert "test/accuracy" in stored["measures"]
    again = command("fit", "--config", "first/config.yaml", "--trainer.default_root_dir=again")
    assert again.code == 0, again.err
    for file in ("config.yaml", "metrics.csv"):
        assert (here / "first" / file).read_bytes() == (here / "again" / file).read_bytes()
    assert result(here / "again")["measures"] == stored["measures"]


@pytest.mark.parametrize("name", ["TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary"])
def test_bars_and_summaries(command, here, base_yaml, name):
    answer = command("fit", "--config", base_yaml, "--trainer.max_epochs=1", *SMALL[:5], callback(name))
    assert answer.code == 0, answer.err


def test_a_worker_shows_no_bars_and_no_summaries(here, base_yaml):
    parts = [{"class_path": name} for name in ("RichProgressBar", "RichModelSummary")]
    words = ["--config", str(base_yaml), "--trainer.max_epochs=1", "--data.num_train=64"]
    config = one_fit.resolve([*words, *(f"--trainer.callbacks+={json.dumps(part)}" for part in parts)])
    cli = build_fit(config, 1000, here / "run")
    assert not any(isinstance(callback, ProgressBar | ModelSummary) for callback in cli.trainer.callbacks)


@pytest.mark.parametrize(("mode", "offline"), [(None, True), ("offline", True), ("online", False)])
@pytest.mark.parametrize(
    "logger", ["WandbLogger", "{class_path: lightning.pytorch.loggers.WandbLogger}", "[WandbLogger]"]
)
def test_weights_and_biases_needs_no_login_unless_somebody_asks_for_it(
    here, base_yaml, monkeypatch, logger, mode, offline
):
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    else:
        monkeypatch.delenv("WANDB_MODE", raising=False)
    overlay = {"trainer": {"logger": yaml.safe_load(logger)}}
    (here / "wandb.yaml").write_text(yaml.safe_dump(overlay))
    found = one_fit.resolve(["--config", str(base_yaml), "--config", "wandb.yaml"])["trainer"]["logger"]
    assert as_list(found)[0]["init_args"]["offline"] is offline


QUIET = "--trainer.enable_model_summary=false"
REPORTS = {
    ("--trainer.profiler=simple", QUIET): "FIT Profiler Report",
    (callback("ModelSummary", max_depth=2),): "Trainable params",
}


@pytest.mark.parametrize("words", REPORTS, ids=REPORTS.get)
def test_a_report_that_is_asked_for_is_shown(command, base_yaml, words):
    """In this process; in one of its own it is in `stress/test_processes.py`."""
    lightnings, said = logging.getLogger("lightning.pytorch"), io.StringIO()
    handler = logging.StreamHandler(said)
    lightnings.addHandler(handler)
    try:
        answer = command("fit", "--config", base_yaml, "--trainer.max_epochs=1", *SMALL[:6], *words)
    finally:
        lightnings.removeHandler(handler)
    assert answer.code == 0, answer.err
    assert {text for text in REPORTS.values() if text in said.getvalue()} == {REPORTS[words]}


NOT_SUPPORTED = {
    **{name: callback(name) for name in ("BatchSizeFinder", "StochasticWeightAveraging", "LambdaCallback", "Timer")},
    "LearningRateFinder": callback("lightning.pytorch.callbacks.LearningRateFinder"),
    "ModelPruning": "--trainer.callbacks=ModelPruning",
    "EMAWeightAveraging": "--trainer.callbacks=[EMAWeightAveraging]",
    "DeviceStatsMonitor": callback("lightning.pytorch.callbacks.device_stats_monitor.DeviceStatsMonitor"),
    "MLFlowLogger": "--trainer.logger=MLFlowLogger",
    "CometLogger": "--trainer.logger=[{class_path: lightning.pytorch.loggers.CometLogger}]",
    "PassThroughProfiler": "--trainer.profiler=PassThroughProfiler",
    "DDPStrategy": "--trainer.strategy=DDPStrategy",
    "FSDPStrategy": "--trainer.strategy.class_path=lightning.pytorch.strategies.FSDPStrategy",
    "AsyncCheckpointIO": "--trainer.plugins=AsyncCheckpointIO",
    "MixedPrecision": "--trainer.plugins=[{class_path: MixedPrecision}]",
    "CPUAccelerator": "--trainer.accelerator=lightning.pytorch.accelerators.CPUAccelerator",
}


@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_what_is_not_supported_is_refused_with_the_reason(refused_fit, name):
    line = refused_fit(NOT_SUPPORTED[name])
    assert line.startswith(f"Lightning's {name} is not supported: {REASONS.get(name, 'nobody has tried')}")
    assert "; --allow-import lightning.pytorch." in line
    assert line.endswith(f".{name} allows it")


@pytest.mark.parametrize(
    "word", ["strategy=ddp_fork", "strategy=fsdp", "strategy=xla", "profiler=xla", "accelerator=tpu"]
)
def test_words_pass_through_the_same_list(refused_fit, word):
    key, _, value = word.partition("=")
    line = refused_fit(f"--trainer.{word}")
    assert line.startswith(f"trainer.{key} {value} is not supported: ")
    assert line.endswith("; --allow-import lightning allows it")


def test_who_allows_a_class_has_it_built(fit, result):
    answer = fit(callback("WeightAveraging"), "--allow-import=lightning.pytorch.callbacks.WeightAveraging")
    assert answer.code == 0, answer.err
    assert result(answer.directory)["steps"] == 8


# What a training cannot do is refused before it

CHECKPOINT = callback("ModelCheckpoint", monitor="val/loss")
STOPPING = callback("EarlyStopping", monitor="val/loss")
UNVALIDATED = "monitors val/loss, and this training ends without a validation"
REFUSED = {
    ("--trainer.limit_val_batches=0", CHECKPOINT): UNVALIDATED,
    ("--trainer.limit_val_batches=0", STOPPING): UNVALIDATED,
    ("--trainer.limit_val_batches=0", callback("StackableEarlyStopping", monitor="val/loss")): UNVALIDATED,
    ("--trainer.limit_val_batches=0", callback("BestWeights", monitor="val/accuracy")): "BestWeights monitors val/acc",
    ("--trainer.max_steps=2", CHECKPOINT): UNVALIDATED,
    ("--trainer.max_steps=2", STOPPING): UNVALIDATED,
    ("--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=99", STOPPING): UNVALIDATED,
    ("--trainer.limit_val_batches=0", "--model.schedule=plateau"): "the schedule plateau follows val/loss, and this",
    ("--trainer.callbacks.monitor=train/loss",): "BestWeights compares what a validation has logged; 'train/loss' is",
    ("--trainer.limit_test_batches=0.001",): "trainer.limit_test_batches 0.001 leaves none of the 1 batches",
    ("--trainer.limit_train_batches=0.001",): "trainer.limit_train_batches 0.001 leaves none of the 4 batches",
    ("--trainer.barebones=true",): "trainer.barebones must be false: nothing would be recorded",
    ("--trainer.enable_autolog_hparams=false",): "every run shows its hyper-parameters",
    ("--trainer.reload_dataloaders_every_n_epochs=1",): "the loaders know the order of every epoch",
    (callback("ModelSummary"),): "trainer.enable_model_summary is false, and trainer.callbacks holds a ModelSummary",
    ("--trainer.max_time=00:00:00:00",): "the training ended without a step, and there is no result",
    ("--trainer.max_time={seconds: -1}",): "the training ended without a step, and there is no result",
    (
        callback("BatchSizeFinder", max_trials=1),
        "--allow-import=lightning.pytorch.callbacks.BatchSizeFinder",
    ): "the training ended without a step, and there is no result",
    (
        callback("ModelCheckpoint", monitor="val/accuracy", mode="min"),
    ): "ModelCheckpoint: mode must be max for 'val/acc",
    (callback("EarlyStopping", monitor="train/loss", mode="max"),): "EarlyStopping: mode must be min for 'train/loss'",
    (callback("StackableEarlyStopping", monitor="val/accuracy", mode="min"),): "mode must be max for 'val/accuracy'",
    (
        callback("EarlyStopping", monitor="val/loss", check_on_train_epoch_end=True),
        "--trainer.check_val_every_n_epoch=2",
    ): "EarlyStopping looks at val/loss after epochs without a validation",
    ("--trainer.callbacks.mode=max",): "BestWeights: mode must be min for 'val/loss'; it is max",
}


@pytest.mark.parametrize(
    "words",
    [pytest.param(words, marks=pytest.mark.slow) if "BatchSizeFinder" in words[0] else words for words in REFUSED],
)
def test_what_would_not_be_done_is_refused(refused_fit, words):
    assert REFUSED[words] in refused_fit(*words)


def test_a_checkpoint_of_a_finished_run(command, fit):
    path = fit(callback("ModelCheckpoint")).directory
    (checkpoint,) = path.rglob("*.ckpt")
    answer = command("fit", "--config", path / "config.yaml", "--ckpt_path", checkpoint)
    assert answer.code == 2
    assert "has made all 8 steps already: a longer training needs a larger max_epochs" in answer.err
    longer = command("fit", "--config", path / "config.yaml", "--ckpt_path", checkpoint, "--trainer.max_epochs=3")
    assert longer.code == 0, longer.err


# What was not done is said in the last lines

SAID = {
    ("--trainer.limit_val_batches=0",): "BestWeights kept no best weights, so that they could not be tested\n",
    ("--trainer.max_steps=2",): "BestWeights kept no best weights, so that they could not be tested\n",
    (callback("ModelCheckpoint", every_n_epochs=9),): "ModelCheckpoint kept no best weights, so that they could not",
    ("--trainer.max_time=00:00:00:01", "--trainer.max_epochs=100000"): "trainer.max_time ended the training after ",
}


@pytest.mark.parametrize("words", SAID)
def test_what_was_not_done_is_said(command, here, base_yaml, words):
    epochs = () if any("max_epochs" in word for word in words) else ("--trainer.max_epochs=2",)
    answer = command("fit", "--config", base_yaml, *SMALL, *epochs, *words)
    allow_list.allow("")
    assert answer.code == 0, answer.err
    assert SAID[words] in answer.err


def test_a_setting_that_a_callback_has_changed_is_said(fit, here, monkeypatch):
    (here / "faster.py").write_text(
        "from lightning.pytorch.callbacks import Callback\n\n\nclass Faster(Callback):\n"
        "    def on_fit_start(self, trainer, pl_module):\n        pl_module.lr *= 2\n"
    )
    monkeypatch.syspath_prepend(here)
    answer = fit("--trainer.callbacks+=faster.Faster", "--allow-import=faster")
    assert answer.code == 0
    assert answer.err == "model.lr is 0.1 now, and the config says 0.05: the config does not repeat this run\n"


def test_an_ordinary_fit_says_nothing(fit):
    assert fit().err == ""


def test_a_trial_leaves_nothing(fit, here):
    assert fit("--trainer.fast_dev_run=true").code == 0
    assert not [path for path in here.rglob("*") if path.is_file()]


# Which of two values is better


def test_modes_of_the_metrics():
    assert {name for name, mode in metric_modes().items() if mode == "min"} == {
        *("loss", "penalty", "calibration_error", "mean_absolute_error")
    }
    assert metric_modes().keys() == {"loss", "penalty", *(name for kind in METRICS.values() for name in kind)}
    assert None not in metric_modes().values()


@pytest.mark.parametrize("name", ["ModelCheckpoint", "EarlyStopping", "BestWeights", "StackableEarlyStopping"])
def test_a_missing_mode_is_filled_in(fit, name):
    answer = fit(callback(name, monitor="val/accuracy"))
    assert answer.code == 0, answer.err
    stored = yaml.safe_load((answer.directory / "config.yaml").read_text())["trainer"]["callbacks"]
    (found,) = [part for part in stored if part["class_path"].endswith(f".{name}")]
    assert found["init_args"]["mode"] == "max"


def test_the_best_epoch_is_kept(fit, result):
    answer = fit(callback("ModelCheckpoint", monitor="val/accuracy", filename="best"), "--model.lr=0.5")
    (path,) = answer.directory.rglob("best.ckpt")
    rows = [line.split(",") for line in (answer.directory / "metrics.csv").read_text().splitlines()[1:]]
    values = {int(epoch): float(value) for epoch, _, name, value in rows if name == "val/accuracy"}
    assert values[torch.load(path, weights_only=True)["epoch"]] == max(values.values())


class Certainty(Metric):
    """The mean of the largest output."""

    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, outputs: torch.Tensor) -> None:
        self.total = outputs.max()

    def compute(self) -> torch.Tensor:
        return self.total


def test_a_metric_of_ones_own_has_a_direction_too(refused_fit, fit, monkeypatch):
    ours = FullyConnected.configure_metrics
    monkeypatch.setattr(FullyConnected, "configure_metrics", lambda self: {**ours(self), "certainty": Certainty()})
    words = callback("ModelCheckpoint", monitor="val/certainty")
    assert "ModelCheckpoint: mode must be max for 'val/certainty'; it is min" in refused_fit(words)
    assert fit(callback("ModelCheckpoint", monitor="val/certainty", mode="max")).code == 0
