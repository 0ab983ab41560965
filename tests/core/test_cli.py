"""The real Lightning CLI with the real YAML: what a run leaves, that it repeats bit for bit, and each subcommand."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from one_fit import asked, resolve, run_stack

from datamodules import Digits
from experiments.core.callbacks import Divergence
from experiments.core.files import run_directory
from experiments.core.files.environment import rounding
from experiments.core.grid import catalogue
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.training import rebuild
from experiments.core.training.cli import LectureCLI

BASES = sorted(catalogue.ROOT.glob("*/base.yaml"))
# Files that name their own model stand alone; the others lie on a base.
OTHERS = sorted(set(catalogue.ROOT.glob("*/*.yaml")) - set(BASES))
WHOLE = [path for path in OTHERS if "class_path" in (yaml.safe_load(path.read_text()).get("model") or {})]
OVERLAYS = [path for path in OTHERS if path not in WHOLE]
# Of these the rest of the file knows what a run leaves.
OF_VANISHING = [path for path in OVERLAYS if path.parent.name == "vanishing"]
LOGGERS = sorted((catalogue.ROOT / "core" / "configs").glob("*.yaml"))
OUTCOMES = {f"{split}/{name}" for split in ("train", "val", "test") for name in ("loss", "accuracy")}


def label(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def layers(overlay: Path) -> list[Path]:
    """The files that lie under an overlay, lowest first: `data-scale` lies on `scale` and `data`."""
    data, _, scale = overlay.stem.partition("-")
    below = [path for word in (scale, data) if scale and (path := overlay.with_stem(word)).is_file()]
    return list(dict.fromkeys([overlay.with_stem("base"), *below, overlay]))


def at_smoke(files: list[Path]) -> list[str]:
    """The command line of files as the grid lays them at smoke scale, which has the last word where there is one."""
    smoke = files[-1].with_stem("smoke")
    return [f"--config={path}" for path in [*files, *([smoke] if smoke.is_file() and smoke not in files else [])]]


SHORT = ("--trainer.max_epochs=1", "--data.num_train=256")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")


# One epoch of a few batches. That experiments end at smoke scale is a matter of their own tests.
LITTLE = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.limit_train_batches=3")


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted({path.parent.name for path in OTHERS}))
def test_every_overlay_trains(command, result, fashion_mnist, subtests, folder):
    """Conditions and overlays of `smoke` train with their topics, those of `full` are built in test_plan."""
    check_that_they_train(command, result, subtests, [path for path in OTHERS if path.parent.name == folder])


# The others are slow; their conditions train with their topics.
QUICK = ("architectures", "gradient_descent", "nonlinearity", "vanishing")


@pytest.mark.parametrize(
    "folder",
    [
        folder if folder in QUICK else pytest.param(folder, marks=pytest.mark.slow)
        for folder in sorted({path.parent.name for path in BASES})
    ],
)
def test_every_config_trains(command, result, fashion_mnist, subtests, folder):
    paths = [path for path in [*BASES, *WHOLE] if path.parent.name == folder]
    # Whole configs of other topics are conditions of their grids.
    check_that_they_train(command, result, subtests, paths if folder == "architectures" else paths[:1])


def check_that_they_train(command, result, subtests, paths: list[Path]) -> None:
    """Train files as a student gives them to `fit`: a whole one alone, an overlay on what lies below it."""
    for path in paths:
        folder = path.parent.name
        with subtests.test(label(path)):
            files = [path] if path in WHOLE and folder == "architectures" else layers(path)
            # A validation after so many steps comes only where there are so many.
            little = () if "val_check_interval" in path.read_text() else LITTLE
            answer = command("fit", *at_smoke(files), *QUIET, *little)
            assert answer.code == 0, answer.err
            assert_trained(answer.directory, result(answer.directory))


def assert_trained(directory: Path, content: dict[str, Any]) -> None:
    """Require results, curves, the config in its own form, and the best weights of what has been validated."""
    assert content["status"] == "ok"
    assert math.isfinite(content["measures"]["train/loss"])
    assert list(directory.glob("events.out.tfevents.*"))
    text = (directory / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert text == yaml.safe_dump(config, sort_keys=False)
    checkpoints, trainer = list(directory.rglob("*.ckpt")), config["trainer"]
    too_late = trainer["check_val_every_n_epoch"] is None and trainer["val_check_interval"] > content["steps"]
    if trainer["limit_val_batches"] == 0 or too_late:
        assert checkpoints == []
    else:
        (path,) = checkpoints
        assert path.parent == directory / "checkpoints"
        assert {"val/loss", "test/loss"} <= set(content["measures"])
        stored = torch.load(path, weights_only=True)
        assert all(weight.isfinite().all() for weight in stored["state_dict"].values())


def test_every_config_is_used():
    """Each is a base, an overlay of a scale or of a data set that is declared, or one that the grid names."""
    for path in OTHERS:
        experiment = catalogue.load(path.parent.name)
        blocks = [*experiment.grid, *(block for added in experiment.scale_grid.values() for block in added)]
        named = {str(point["config"]) for block in blocks for point in block if "config" in point}
        pairs = {f"{data}-{scale}" for data in experiment.data for scale in catalogue.SCALES}
        assert path.stem in {*catalogue.SCALES, *experiment.data, *pairs, *named}, label(path)


def test_the_base_config_leaves_outcomes_weights_and_curves(fit, result, base_yaml):
    directory = fit("--config", base_yaml)
    assert result(directory)["status"] == "ok"
    assert set(result(directory)["measures"]) >= OUTCOMES
    assert (directory / "checkpoints" / "best.ckpt").is_file()
    assert list(directory.glob("events.out.tfevents.*"))


def test_the_trainer_is_given_one_batch_even_if_building_makes_it_all_batches(base_yaml, tmp_path):
    # Which of int and float is tried first depends on what was imported before: the conversion is made here by hand.
    options = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1.0"]
    cli = LectureCLI(asked([f"--config={base_yaml}", *options, f"--trainer.default_root_dir={tmp_path}"]))
    cli.config_init.trainer.limit_train_batches, cli.config_init.trainer.limit_val_batches = 1.0, 1
    trainer = cli.instantiate_trainer()
    assert repr([trainer.limit_train_batches, trainer.limit_val_batches]) == "[1, 1.0]"


@pytest.mark.parametrize("overlay", OF_VANISHING, ids=label)
def test_overlays_of_vanishing_train_on_what_lies_below(fit, result, fashion_mnist, overlay):
    # Its own size would take minutes; `SMALL` shrinks what it leaves large.
    directory = fit(*(f"--config={path}" for path in layers(overlay)))
    content = result(directory)
    assert content["status"] == "ok"
    text = (directory / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert text == yaml.safe_dump(config, sort_keys=False)
    without_validation = config["trainer"]["limit_val_batches"] == 0
    assert list(directory.rglob("*.ckpt")) == ([] if without_validation else [directory / "checkpoints" / "best.ckpt"])
    assert set(content["measures"]) >= ({"initial/gradient/delta_a/layer_01"} if without_validation else OUTCOMES)
    assert content["measures"]["initial/gradient/delta_a/layer_01"] > 0


@pytest.mark.parametrize("logger", LOGGERS, ids=label)
def test_every_logger_leaves_its_files_in_each_run(fit, result, base_yaml, monkeypatch, logger):
    from experiments.core.execution.planner import LOGGER_FILES

    monkeypatch.setenv("WANDB_SILENT", "true")
    # Twice in one process: a logger must not go on writing into the first run.
    for seed in (1, 2):
        directory = fit("--config", base_yaml, "--config", logger, f"--seed_everything={seed}", "--model.depth=2")
        assert result(directory)["status"] == "ok"
        assert list(directory.glob(LOGGER_FILES[logger.stem]))
        assert not list(directory.glob("events.out.tfevents.*"))


def test_without_a_logger(fit, result, base_yaml):
    directory = fit("--config", base_yaml, "--trainer.logger=false", "--model.depth=2")
    assert sorted(path.name for path in directory.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "metrics.csv",
        "result.json",
    ]
    assert result(directory)["status"] == "ok"


def test_every_number_stands_once_in_metrics_and_last_in_the_result(trained, result):
    rows = run_directory.read_metrics(trained / "metrics.csv")
    assert len({row[:3] for row in rows}) == len(rows)
    measures = result(trained)["measures"]
    last = {name: value for *_, name, value in rows}
    own = {n: v for n, v in measures.items() if not n.startswith(("initial/", "test/"))}
    assert own == last
    first = {name: value for _, step, name, value in reversed(rows) if step == 0}
    assert {n.removeprefix("initial/"): v for n, v in measures.items() if n.startswith("initial/")} == first
    assert all(math.isfinite(value) for value in measures.values())


def test_validation_stands_at_the_epochs_that_had_one(command, base_yaml):
    answer = command(
        "fit", "--config", base_yaml, "--trainer.max_epochs=5", "--trainer.check_val_every_n_epoch=2",
        "--data.num_train=64", "--model.depth=1", "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert answer.code == 0
    rows = run_directory.read_metrics(answer.directory / "metrics.csv")
    assert [epoch for epoch, _, name, _ in rows if name == "val/loss"] == [1, 3]
    assert [epoch for epoch, _, name, _ in rows if name == "train/loss"] == [0, 1, 2, 3, 4]


def test_result_names_all_that_is_needed_to_judge_it(trained, result):
    content = result(trained)
    assert (content["seed"], content["stack"], content["epochs"], content["steps"]) == (1000, 1, 1, 4)
    assert content["diverged_at_step"] is None
    assert content["data"] == {
        "name": "Digits",
        "sha256": Digits(batch_size=1, seed=0).sha256,
        "train": 256,
        "validation": 297,
        "test": 300,
        "disjoint_test": False,
    }
    environment = content["environment"]
    assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (environment["device"], environment["threads"]) == ("cpu", 1)
    assert set(environment["git"]) == {"commit", "dirty"}
    assert (
        environment["lock_sha256"]
        == hashlib.sha256((catalogue.ROOT.parent / "requirements.lock").read_bytes()).hexdigest()
    )
    assert environment["flags"] == {
        "default_dtype": "float32",
        "matmul_precision": "highest",
        "deterministic_algorithms": False,
        "cudnn_deterministic": False,
        "cudnn_benchmark": False,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "rounding": rounding(),
    }
    assert content["wall_seconds"] > 0


def test_the_stored_config_repeats_the_run_bit_for_bit_elsewhere(command, trained, result):
    answer = command("fit", "--config", trained / "config.yaml")
    again, original = result(answer.directory), result(trained)
    assert answer.directory != trained
    assert again["measures"] == original["measures"]
    assert again["config_hash"] == original["config_hash"]
    assert (answer.directory / "metrics.csv").read_bytes() == (trained / "metrics.csv").read_bytes()
    assert (answer.directory / "config.yaml").read_bytes() == (trained / "config.yaml").read_bytes()


@pytest.mark.parametrize("overlay", [path for path in OF_VANISHING if path.stem == "initialization"], ids=label)
def test_a_run_with_overlay_options_and_no_logger_repeats_too(command, fit, result, base_yaml, overlay):
    options = ("--model.activation=relu", "--model.depth=3", "--trainer.logger=false")
    first = fit("--config", base_yaml, "--config", overlay, *options)
    second = command("fit", "--config", first / "config.yaml").directory
    assert result(second)["measures"] == result(first)["measures"]
    assert result(second)["config_hash"] == result(first)["config_hash"]


def test_another_seed_is_another_run(command, trained, result):
    other = result(command("fit", "--config", trained / "config.yaml", "--seed_everything=1001").directory)
    assert other["config_hash"] != result(trained)["config_hash"]
    for name in ("initial/gradient/delta_a/layer_01", "train/loss", "test/loss"):
        assert other["measures"][name] != result(trained)["measures"][name]


def test_a_config_may_fix_the_seed_of_the_model_or_of_the_data(fit, here, base_yaml):
    options = (f"--config={base_yaml}", "--model.seed=7", "--model.depth=1", "--trainer.logger=false")
    one, other = (fit(*options, "--data.seed=8", f"--seed_everything={seed}") for seed in (1, 2))
    networks = []
    for seed, directory in ((1, one), (2, other)):
        run = Run(Condition(()), seed, directory, {}, {"status": "ok", "measures": {}})
        assert torch.equal(rebuild.data_of(run).train[0], set_up(Digits(batch_size=64, seed=8, num_train=256)).train[0])
        networks.append(rebuild.network_of(run).state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert run_stack([*options, *SHORT], (1, 2), (here / "a", here / "b")) == "model.seed is that of every run"


def set_up(data: Digits) -> Digits:
    data.setup()
    return data


def test_the_stored_config_names_no_place_of_this_machine(trained):
    text = (trained / "config.yaml").read_text()
    assert str(trained) not in text
    assert str(Path.home()) not in text


def test_the_checkpoint_holds_weights_and_plain_numbers_only(trained):
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    plain = (int, float, str, bool, list, type(None))
    assert all(isinstance(value, plain) for value in checkpoint["hyper_parameters"].values())
    assert checkpoint["hyper_parameters"]["depth"] == 8


def number(answer, name: str) -> float:
    return float(re.search(rf"{name}\W+([0-9.e+-]+)", answer.out)[1])


def test_test_gives_the_accuracy_of_the_result(command, trained, result, here):
    answer = command("test", "--config", trained / "config.yaml", "--ckpt_path", trained / "checkpoints" / "best.ckpt")
    assert answer.code == 0, answer.err
    measures = result(trained)["measures"]
    assert number(answer, "test/accuracy") == measures["test/accuracy"]
    assert number(answer, "test/loss") == pytest.approx(measures["test/loss"], rel=1e-12)
    assert not list(here.iterdir())


def test_the_best_weights_are_tested_and_not_the_last(command, base_yaml, result):
    options = ("--model.depth=1", "--model.activation=relu", "--model.lr=0.7", "--data.num_train=256")
    quiet = ("--trainer.max_epochs=6", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
    directory = command("fit", "--config", base_yaml, *options, *quiet).directory
    losses = [value for *_, name, value in run_directory.read_metrics(directory / "metrics.csv") if name == "val/loss"]
    assert losses[-1] > 1.1 * min(losses)  # else best and last are the same
    best = f"--ckpt_path={directory}/checkpoints/best.ckpt"
    assert number(command("validate", "--config", directory / "config.yaml", best), "val/loss") == min(losses)
    tested = number(command("test", "--config", directory / "config.yaml", best), "test/loss")
    assert result(directory)["measures"]["test/loss"] == pytest.approx(tested, rel=1e-12)


def test_validate_gives_the_loss_of_the_best_epoch(command, trained, result, here):
    answer = command("validate", "--config", trained / "config.yaml", f"--ckpt_path={trained}/checkpoints/best.ckpt")
    assert number(answer, "val/loss") == pytest.approx(result(trained)["measures"]["val/loss"], rel=1e-12)
    assert not list(here.iterdir())


def test_the_epoch_with_the_smallest_loss_is_kept(command, base_yaml):
    words = ["--config", base_yaml, "--data.num_train=256", *QUIET, "--trainer.max_epochs=6"]
    answer = command("fit", *words, "--model.activation=relu", "--model.depth=3", "--model.lr=0.8")
    losses = [
        value
        for *_, name, value in run_directory.read_metrics(answer.directory / run_directory.METRICS)
        if name == "val/loss"
    ]
    assert losses.index(min(losses)) not in (0, 5)
    best = f"--ckpt_path={answer.directory}/checkpoints/best.ckpt"
    found = number(command("validate", "--config", answer.directory / "config.yaml", best), "val/loss")
    assert found == pytest.approx(min(losses), rel=1e-6)


def test_predict_writes_a_row_a_test_sample(command, trained, result):
    answer = command("predict", "--config", trained / "config.yaml", f"--ckpt_path={trained}/checkpoints/best.ckpt")
    with answer.directory.open(newline="") as file:
        rows = list(csv.DictReader(file))
    data = Digits(batch_size=64, seed=1000, num_train=256)
    data.setup()
    outputs = np.array([[float(row[f"output_{k}"]) for k in range(10)] for row in rows])
    predicted = np.array([int(row["predicted"]) for row in rows])
    assert [int(row["sample"]) for row in rows] == list(range(300))
    assert (predicted == outputs.argmax(1)).all()
    accuracy = (predicted == data.test[1].numpy()).mean()
    assert accuracy == pytest.approx(result(trained)["measures"]["test/accuracy"], abs=1e-12)


@pytest.mark.parametrize("change", ["--model.activation=relu", "--model.depth=4", "--seed_everything=1"])
def test_a_checkpoint_of_another_network_is_refused(command, trained, change):
    """Lightning would lay the checkpoint's hyper-parameters over the config without a word."""
    best = trained / "checkpoints" / "best.ckpt"
    answer = command("test", "--config", trained / "config.yaml", "--ckpt_path", best, change)
    assert answer.code == 2
    name = change.strip("-").split("=")[0].split(".")[-1].replace("seed_everything", "seed")
    assert re.fullmatch(rf"error: '{best}' was trained with {name} \S+; the config says \S+\n", answer.err)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 truncated"], ids=["empty", "text", "truncated"])
def test_a_damaged_checkpoint_is_one_line(command, trained, here, content):
    (here / "bad.ckpt").write_bytes(content)
    answer = command("test", "--config", trained / "config.yaml", "--ckpt_path=bad.ckpt")
    assert (answer.code, answer.err) == (2, "error: 'bad.ckpt' is not a checkpoint of a run, or it is damaged\n")


def test_a_fit_can_begin_from_a_whole_checkpoint(command, fit, result, base_yaml):
    keeps = "--trainer.callbacks+={class_path: ModelCheckpoint, init_args: {dirpath: checkpoints, filename: whole}}"
    first = fit("--config", base_yaml, keeps)
    whole = first / "checkpoints" / "whole.ckpt"
    answer = command("fit", "--config", first / "config.yaml", "--ckpt_path", whole, "--trainer.max_epochs=2")
    assert answer.code == 0, answer.err
    assert (result(answer.directory)["epochs"], result(answer.directory)["steps"]) == (2, 8)
    rows = run_directory.read_metrics(answer.directory / "metrics.csv")
    assert [epoch for epoch, _, name, _ in rows if name == "train/loss"] == [1]


def test_weights_are_nothing_to_go_on_training_from(command, trained, here):
    best = trained / "checkpoints" / "best.ckpt"
    answer = command("fit", "--config", trained / "config.yaml", "--ckpt_path", best, "--trainer.max_epochs=2")
    reason = "holds weights only, nothing to go on from; ModelCheckpoint keeps what a fit needs"
    assert (answer.code, answer.err) == (2, f"error: '{best}' {reason}\n")
    assert not list(here.iterdir())


def test_print_config_prints_a_config_that_runs_the_same(command, fit, result, here, base_yaml):
    small = ("--model.depth=2", "--data.num_train=128", "--trainer.max_epochs=1", "--trainer.logger=false")
    answer = command("fit", "--config", base_yaml, *small, "--print_config")
    assert answer.code == 0
    assert yaml.safe_load(answer.out)["model"]["init_args"]["depth"] == 2
    assert not list(here.iterdir())
    (here / "printed.yaml").write_text(answer.out)
    printed = command("fit", "--config", "printed.yaml", "--trainer.enable_progress_bar=false").directory
    assert result(printed)["config_hash"] == run_directory.config_hash(resolve([f"--config={base_yaml}", *small]))


def test_later_configs_lie_over_earlier_ones_and_append_callbacks(here, base_yaml):
    (here / "a.yaml").write_text("model: {init_args: {depth: 5, width: 32}}\n")
    (here / "b.yaml").write_text(
        "model: {init_args: {depth: 6}}\ntrainer: {callbacks+: [{class_path: WeightStatistics}]}\n"
    )
    below = resolve([f"--config={base_yaml}"])
    config = resolve([f"--config={base_yaml}", "--config=a.yaml", "--config=b.yaml", "--model.width=16"])
    arguments = config["model"]["init_args"]
    assert (arguments["depth"], arguments["width"], arguments["activation"]) == (6, 16, "sigmoid")
    # Divergence and BestWeights are added last.
    *named, added, divergence, checkpoint = config["trainer"]["callbacks"]
    assert [*named, divergence, checkpoint] == below["trainer"]["callbacks"]
    assert added["class_path"].endswith(".WeightStatistics")


@pytest.mark.parametrize(
    "option",
    [
        "--trainer.logger=false",
        "--trainer.logger=CSVLogger",
        "--trainer.enable_progress_bar=false",
        "--trainer.default_root_dir=elsewhere",
        "--trainer.accelerator=cpu",
        "--trainer.log_every_n_steps=7",
    ],
)
def test_the_hash_leaves_out_how_and_where_a_run_is_executed(here, base_yaml, option):
    plain = resolve([f"--config={base_yaml}"])
    options = [option, "--trainer.logger.save_dir=x"] if option.endswith("CSVLogger") else [option]
    assert run_directory.config_hash(resolve([f"--config={base_yaml}", *options])) == run_directory.config_hash(plain)


@pytest.mark.parametrize(
    "option",
    [
        "--model.lr=0.051",
        "--model.activation=tanh",
        "--data.num_train=1199",
        "--data.batch_size=65",
        "--trainer.max_epochs=11",
        "--trainer.precision=64-true",
        "--trainer.accumulate_grad_batches=2",
        "--trainer.limit_train_batches=3",
        "--trainer.callbacks+=WeightStatistics",
        "--trainer.callbacks+=LearningRateMonitor",
        "--seed_everything=1001",
    ],
)
def test_the_hash_holds_all_that_decides_the_result(here, base_yaml, option):
    plain = resolve([f"--config={base_yaml}"])
    assert run_directory.config_hash(resolve([f"--config={base_yaml}", option])) != run_directory.config_hash(plain)


def test_the_hash_does_not_depend_on_where_the_data_lie(here):
    config = {"seed_everything": 1, "model": {}, "trainer": {}, "data": {"init_args": {"root": "a", "size": 14}}}
    other = {**config, "data": {"init_args": {"root": "b", "size": 14}}}
    smaller = {**config, "data": {"init_args": {"root": "a", "size": 28}}}
    assert run_directory.config_hash(config) == run_directory.config_hash(other) != run_directory.config_hash(smaller)


def test_runs_of_one_second_have_directories_of_their_own(fit, base_yaml, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "2026-01-01T00-00-00")
    options = ("--config", base_yaml, "--model.depth=1", "--trainer.logger=false")
    assert fit(*options) != fit(*options)


def test_a_directory_name_has_no_space_or_colon(command, here, base_yaml):
    (here / "my config: one.yaml").write_text(base_yaml.read_text())
    options = (
        "--model.depth=1",
        "--trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.logger=false",
    )
    answer = command("fit", "--config", "my config: one.yaml", *options)
    assert re.fullmatch(r"my-config--one/[\dT-]+-seed=1000", str(answer.directory.relative_to(here / "runs" / "cli")))


def test_a_finished_run_is_not_written_over(command, trained):
    answer = command("fit", "--config", trained / "config.yaml", f"--trainer.default_root_dir={trained}")
    assert answer.code == 2
    assert answer.err == f"error: '{trained}' already holds a run; delete it or choose another directory\n"


def test_rows_of_an_interrupted_run_are_not_mixed_with_the_next(fit, here, base_yaml):
    (here / "run").mkdir()
    (here / "run" / "metrics.csv").write_text("epoch,step,metric,value\n0,0,train/loss,99.0\n")
    directory = fit(
        "--config", base_yaml, "--model.depth=1", "--trainer.logger=false", "--trainer.default_root_dir=run"
    )
    assert directory == here / "run"
    assert 99.0 not in [value for *_, value in run_directory.read_metrics(directory / "metrics.csv")]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch):
    """Let something happen at the end of the second training step."""
    handler = signal.getsignal(signal.SIGINT)

    def at_second_step(error: BaseException) -> None:
        def hook(self, trainer, *_):
            if trainer.global_step == 2:
                raise error

        monkeypatch.setattr(Divergence, "on_train_batch_end", hook)

    yield at_second_step
    signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C once it has seen it


def test_a_crash_leaves_its_status_and_error(command, here, base_yaml, breaks):
    breaks(RuntimeError("out of luck"))
    answer = command("fit", "--config", base_yaml, "--model.depth=1", "--trainer.enable_progress_bar=false")
    assert answer.code == 1
    assert answer.err.startswith("error: RuntimeError: out of luck; the trace is in 'runs/cli/base/")
    (path,) = here.rglob("result.json")
    content = json.loads(path.read_text())
    assert (content["status"], content["error"]) == ("failed", "RuntimeError: out of luck")
    assert "initial/gradient/delta_a/layer_01" not in content["measures"]  # nothing of an unfinished epoch


def test_ctrl_c_is_130_and_leaves_no_result(command, here, base_yaml, breaks):
    breaks(KeyboardInterrupt())
    answer = command("fit", "--config", base_yaml, "--model.depth=1", "--trainer.enable_progress_bar=false")
    assert answer.code == 130
    assert "Traceback" not in answer.err
    assert not list(here.rglob("result.json"))


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict"])
def test_an_untrained_network_is_not_evaluated(subcommand, command, trained):
    answer = command(subcommand, "--config", trained / "config.yaml")
    assert answer.code == 2
    assert "--ckpt_path" in answer.err
    assert answer.err.count("\n") == 1


# What a config need not say.


def names(parts: Any) -> list[str]:
    return [part["class_path"].rpartition(".")[2] for part in parts]


def test_logger_checkpoint_and_divergence_are_added_where_a_config_names_none(here, base_yaml):
    trainer = resolve([f"--config={base_yaml}"])["trainer"]
    assert trainer["logger"]["class_path"].endswith(".TensorBoardLogger")
    assert names(trainer["callbacks"])[-2:] == ["Divergence", "BestWeights"]
    best = trainer["callbacks"][-1]["init_args"]
    assert best == {"monitor": "val/loss", "mode": "min", "dirpath": None, "filename": "best"}
    # A run's own file is whole, and means the same again.
    (here / "whole.yaml").write_text(yaml.safe_dump(resolve([f"--config={base_yaml}"])))
    assert resolve(["--config=whole.yaml"]) == resolve([f"--config={base_yaml}"])


@pytest.mark.parametrize(
    ("callbacks", "expected"),
    [
        ("Divergence", ["Divergence", "BestWeights"]),
        ("{class_path: BestWeights, init_args: {monitor: val/accuracy, mode: max}}", ["BestWeights", "Divergence"]),
        ("[{class_path: ModelCheckpoint, init_args: {monitor: val/accuracy}}]", ["ModelCheckpoint", "Divergence"]),
        (
            "[GradientFlow, lightning.pytorch.callbacks.ModelCheckpoint]",
            ["GradientFlow", "ModelCheckpoint", "Divergence"],
        ),
        ("null", ["Divergence", "BestWeights"]),
        ("[]", ["Divergence", "BestWeights"]),
    ],
)
def test_a_config_that_names_its_own_keeps_it(base_yaml, callbacks, expected):
    trainer = resolve([f"--config={base_yaml}", f"--trainer.callbacks={callbacks}", "--trainer.logger=false"])[
        "trainer"
    ]
    assert trainer["logger"] is False
    assert names(trainer["callbacks"]) == expected


def test_a_checkpoint_named_by_an_option_takes_the_place_of_the_added_one(base_yaml):
    option = "--trainer.callbacks+={class_path: ModelCheckpoint, init_args: {filename: best, monitor: val/loss}}"
    trainer = resolve([f"--config={base_yaml}", option])["trainer"]
    assert names(trainer["callbacks"])[-2:] == ["Divergence", "ModelCheckpoint"]
    trainer = resolve([f"--config={base_yaml}", "--trainer.callbacks+=WeightStatistics"])["trainer"]
    assert names(trainer["callbacks"])[-2:] == ["BestWeights", "WeightStatistics"]


def test_a_config_without_checkpoints_gets_none(base_yaml):
    trainer = resolve([f"--config={base_yaml}", "--trainer.enable_checkpointing=false"])["trainer"]
    assert names(trainer["callbacks"])[-1] == "Divergence"
