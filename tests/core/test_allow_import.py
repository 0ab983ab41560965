"""Code from outside this project and Lightning is imported only where `--allow-import` names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.core.files.errors import UserError
from experiments.core.training import allow_list

# Its import leaves a file.
OUTSIDE = """
from pathlib import Path

Path("imported").touch()

from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.profilers import SimpleProfiler

from datamodules import Digits
from lightning_modules import TwoLayer


class Net(TwoLayer):
    pass


class Data(Digits):
    pass


class Watch(Callback):
    pass


class Log(CSVLogger):
    pass


class Profile(SimpleProfiler):
    pass


def function(*arguments, **named):
    pass
"""
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.logger=false")
SMALL = ("--data.num_train=64", "--trainer.max_epochs=1", *QUIET)


@pytest.fixture
def outside(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory holds a module `outside`, which can be imported; gives the file that its import leaves."""
    (here / "outside.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield here / "imported"
    sys.modules.pop("outside", None)
    allow_list.allow("")


PLACES = {
    "model": ["--model=outside.Net"],
    "data": ["--data=outside.Data"],
    "model's help": ["--model.help=outside.Net"],
    "callback": ["--trainer.callbacks+=outside.Watch"],
    "callbacks": ["--trainer.callbacks=[{class_path: outside.Watch}]"],
    "logger": ["--trainer.logger=outside.Log"],
    "loggers": ["--trainer.logger=[{class_path: outside.Log}]"],
    "profiler": ["--trainer.profiler=outside.Profile"],
    "profiler's class path": ["--trainer.profiler.class_path=outside.Profile"],
    "plugins": ["--trainer.plugins=[outside.Profile]"],
    "accelerator": ["--trainer.accelerator=outside.Profile"],
    "strategy": ["--trainer.strategy=outside.Profile"],
    "deep": ["--trainer.strategy.init_args.cluster_environment=outside.Profile"],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("allowed", ["", "--allow-import=other", "--allow-import=outside.Ne"])
def test_nothing_from_outside_is_imported_wherever_it_is_named(command, base_yaml, outside, place, allowed):
    answer = command("fit", "--config", base_yaml, *PLACES[place], *([allowed] if allowed else []), *QUIET[:2])
    assert answer.code == 2
    path = PLACES[place][-1].partition("outside.")[2].rstrip("]}")
    line = f"error: class path 'outside.{path}' is neither this project's nor Lightning's, and is not imported; "
    assert answer.err == f"{line}--allow-import outside allows it\n"
    assert not outside.exists()
    assert "outside" not in sys.modules


TAKING_FUNCTIONS = [
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.StochasticWeightAveraging",
]
FUNCTION_PLACES = [
    ["--trainer.callbacks+=LambdaCallback", "--trainer.callbacks.on_train_start=outside.function"],
    ["--trainer.callbacks=[{class_path: LambdaCallback, init_args: {on_train_start: outside.function}}]"],
    [
        "--trainer.callbacks+={class_path: StochasticWeightAveraging, init_args: {swa_lrs: 0.1}}",
        "--trainer.callbacks.avg_fn=outside.function",
    ],
]


@pytest.mark.parametrize("words", FUNCTION_PLACES)
@pytest.mark.parametrize("allowed", [TAKING_FUNCTIONS, [*TAKING_FUNCTIONS, "other"], [*TAKING_FUNCTIONS, "outside.Ne"]])
def test_no_function_from_outside_is_imported(command, base_yaml, outside, words, allowed):
    answer = command("fit", "--config", base_yaml, *words, f"--allow-import={','.join(allowed)}", *QUIET[:2])
    assert answer.code == 2
    line = "error: class path 'outside.function' is neither this project's nor Lightning's, and is not imported; "
    assert answer.err == f"{line}--allow-import outside allows it\n"
    assert not outside.exists()
    assert "outside" not in sys.modules


@pytest.mark.parametrize("allowed", ["outside", "outside.Net", "other,outside"])
def test_what_is_named_is_imported_and_trained(command, result, here, base_yaml, outside, allowed):
    (here / "net.yaml").write_text(
        "seed_everything: 1000\n"
        "model: {class_path: outside.Net, init_args: {units: 3, loss: cross_entropy}}\n"
        "data: {class_path: Digits, init_args: {batch_size: 32}}\n"
    )
    answer = command("fit", "--config", "net.yaml", "--allow-import", allowed, *SMALL)
    assert answer.code == 0, answer.err
    assert outside.exists()
    stored = yaml.safe_load((answer.directory / "config.yaml").read_text())
    assert stored["model"]["class_path"] == "outside.Net"
    assert "allow" not in (answer.directory / "config.yaml").read_text()
    again = command("fit", "--config", answer.directory / "config.yaml", f"--allow-import={allowed}")
    assert result(again.directory)["measures"] == result(answer.directory)["measures"]
    assert command("fit", "--config", answer.directory / "config.yaml").code == 2
    (best,) = answer.directory.rglob("*.ckpt")
    for subcommand in ("validate", "test", "predict"):
        words = (subcommand, "--config", answer.directory / "config.yaml", "--ckpt_path", best)
        assert command(*words).code == 2
        assert command(*words, "--allow-import", allowed).code == 0


def test_a_config_cannot_allow_itself(command, here, base_yaml, outside):
    (here / "self.yaml").write_text("allow-import: outside\nmodel: {class_path: outside.Net}\n")
    answer = command("fit", "--config", base_yaml, "--config", "self.yaml")
    assert answer.code == 2
    assert "unknown key 'allow-import'" in answer.err
    assert not outside.exists()


def test_one_call_allows_nothing_for_the_next(command, base_yaml, outside):
    allow_list.allow("outside")
    answer = command("fit", "--config", base_yaml, "--model=outside.Net")
    assert answer.code == 2
    assert allow_list.allowed() == ""


@pytest.mark.parametrize("name", ["a b", "outside.", ".outside", "out-side", "a,,b", "../outside"])
@pytest.mark.parametrize("line", ["fit --config BASE", "run vanishing --scale=smoke"])
def test_only_names_can_be_allowed(command, here, base_yaml, line, name):
    answer = command(*line.replace("BASE", str(base_yaml)).split(), f"--allow-import={name}")
    assert answer.code == 2
    assert answer.err.startswith("error: --allow-import takes the name of a package, a module or a class; it is ")
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "path",
    [
        *("torchvision.models.ResNet", "torch.nn.Linear", "lightningx.Y", "sklearn.svm.SVC", "os.system"),
        *(
            "lightning_modules_evil.X",
            "lightning.pytorch.demos.BoringModel",
            "experiments.core.files.run_directory.empty",
        ),
    ],
)
def test_nobody_else_is_trusted(path):
    with pytest.raises(UserError, match="is neither this project's nor Lightning's"):
        allow_list.validate_allowed(path)


def test_workers_know_what_is_allowed():
    allow_list.allow("outside")
    try:
        program = "from experiments.core.training.allow_list import validate_allowed; validate_allowed('outside.Net')"
        subprocess.run(
            [sys.executable, "-c", program], check=True, env=os.environ, cwd=Path(allow_list.__file__).parents[3]
        )
    finally:
        allow_list.allow("")


FUNCTIONS = [
    *("torch.os.system", "torch.hub.load", "torch.hub.shutil.rmtree", "lightning.pytorch.cli.instantiate_class"),
    *(
        "lightning.pytorch.loggers.tensorboard.os.system",
        "datamodules.files.hashlib.sha256",
        "datamodules.files.read_verified",
    ),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("allowed", ["", ",torch"])
def test_no_function_is_named_whoever_wrote_it(command, here, base_yaml, function, allowed):
    words = ["--trainer.callbacks+=LambdaCallback", f"--trainer.callbacks.on_fit_start={function}"]
    answer = command("fit", "--config", base_yaml, *words)
    assert "Lightning's LambdaCallback is not supported: it takes a function, and a config names none" in answer.err
    answer = command("fit", "--config", base_yaml, *words, f"--allow-import={TAKING_FUNCTIONS[0]}{allowed}")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "is not imported" in answer.err or "a config names classes and no functions" in answer.err
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [["--data", "Digits"], ["--data=Digits"], ["--data.class_path=Digits"]])
def test_a_file_called_like_a_class_is_not_opened(command, here, base_yaml, outside, words):
    (here / "Digits").write_text("class_path: outside.Data\ninit_args: {batch_size: 64}\n")
    for name in ("FullyConnected", "CSVLogger", "WeightStatistics"):
        (here / name).write_text("class_path: outside.Net\n")
    more = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=.", "--trainer.callbacks+=WeightStatistics"]
    answer = command("fit", "--config", base_yaml, *words, "--model=FullyConnected", *more, *SMALL[:2], *QUIET[:2])
    assert answer.code == 0, answer.err
    assert not outside.exists()


@pytest.mark.parametrize("words", ["fit --help", "test --help", "run --help", "verify --help"])
def test_help_tells_of_it(command, words):
    assert "--allow-import" in command(*words.split()).out


@pytest.mark.parametrize("allowed", [True, False])
def test_an_experiment_of_classes_from_outside(tiny, outside, allowed):
    tiny.edit(
        "base.yaml",
        "- {class_path: GradientFlow}",
        "- {class_path: GradientFlow}\n    - {class_path: outside.Watch}",
    )
    answer = tiny.run("--scale=smoke", *(["--allow-import=outside"] if allowed else []))
    assert answer.code == (0 if allowed else 2), answer.err
    assert allowed or "--allow-import outside allows it" in answer.err
    assert outside.exists() == allowed
