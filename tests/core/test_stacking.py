"""Seeds trained in one fit leave what each would leave by itself: all numbers to 1e-8 in double precision."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from one_fit import resolve, run_seed, run_stack
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.core.callbacks import GradientFlow
from experiments.core.files import run_directory
from experiments.core.training import stacking
from experiments.core.training.fit import build_fit
from lightning_modules.optimization import OPTIMIZERS, PLATEAU, SCHEDULES
from lightning_modules.stack import clip_gradients

SEEDS = (1000, 1001)
BASE = """
seed_everything: 1000
model:
  class_path: FullyConnected
  init_args: {depth: 3, width: 12, activation: tanh, optimizer: sgd, lr: 0.1}
data:
  class_path: Digits
  init_args: {batch_size: 32, num_train: 150, num_val: 60, num_test: 60}
trainer:
  max_epochs: 2
  precision: 64-true
  logger: false
  callbacks:
    - {class_path: GradientFlow, init_args: {every_n_steps: 4}}
    - {class_path: ActivationStatistics, init_args: {every_n_steps: 5}}
    - {class_path: Divergence}
"""
# Options of the model, and callbacks laid over the file.
CASES: dict[str, tuple[list[str], str]] = {
    **{f"activation {name}": ([f"--model.activation={name}"], "") for name in ("relu", "sigmoid", "gelu", "elu")},
    **{
        f"normalization {name} {place}": (
            [f"--model.normalization={name}", f"--model.normalization_position={place}"],
            "",
        )
        for name in ("batch", "layer")
        for place in ("before", "after")
    },
    **{f"optimizer {name}": ([f"--model.optimizer={name}", "--model.lr=0.01"], "") for name in OPTIMIZERS},
    "momentum": (["--model.momentum=0.9", "--model.nesterov=true", "--model.weight_decay=0.01"], ""),
    **{f"schedule {name}": ([f"--model.schedule={name}"], "") for name in SCHEDULES if name != PLATEAU},
    "warmup": (["--model.schedule=cosine", "--model.warmup=0.3"], ""),
    "dropout": (["--model.dropout=0.3"], ""),
    "dropout by batch": (["--model.dropout=0.3", "--model.dropout_mask=batch"], ""),
    "penalties": (["--model.l1=0.001", "--model.l2=0.01"], ""),
    "residual without bias": (["--model.residual=true", "--model.bias=false"], ""),
    "loss one_hot_mse": (["--model.loss=one_hot_mse", "--model.output_activation=sigmoid"], ""),
    "loss naive_cross_entropy": (["--model.loss=naive_cross_entropy"], ""),
    "accumulation": (["--trainer.accumulate_grad_batches=2"], ""),
    "clipping by the trainer": (["--trainer.gradient_clip_val=0.1"], ""),
    "a step in all": (["--trainer.max_epochs=null", "--trainer.max_steps=1"], ""),
    "augmentation": (["--data.augmentation=[shift]", "--data.label_noise=0.2", "--data.duplicates=1"], ""),
    "clipping": ([], "{class_path: GradientClipping, init_args: {max_norm: 0.1, every_n_steps: 3}}"),
    "saturation": ([], "{class_path: experiments.vanishing.callbacks.GradientBySaturation}"),
    "weights": ([], "{class_path: WeightStatistics}"),
    "landscape": (
        ["--model.normalization=batch", "--model.dropout=0.3"],
        "{class_path: experiments.normalization.callbacks.Landscape}",
    ),
    "modes": (
        ["--model.normalization=batch", "--model.dropout=0.3"],
        "{class_path: experiments.normalization.callbacks.TrainEvalGap}",
    ),
    "further tests": (
        ["--model.dropout=0.2"],
        "{class_path: FurtherTests, init_args: {final: true, training: true, shifted: 1, noise: [0.5], "
        "removed: [0.5]}}",
    ),
    "more metrics": (["--model.metrics=[accuracy, macro_f1, calibration_error]"], ""),
    "the last weights": ([], "{class_path: BestWeights, init_args: {monitor: null, filename: last}}"),
    "the most accurate weights": (
        [],
        "{class_path: BestWeights, init_args: {monitor: val/accuracy, mode: max, filename: accurate}}",
    ),
    "early stopping": (
        ["--model.lr=3", "--trainer.max_epochs=6"],
        "{class_path: StackableEarlyStopping, init_args: {monitor: val/loss, patience: 0}}",
    ),
    "time to target": ([], "{class_path: TimeToTarget, init_args: {target: 2.2, samples: 50}}"),
}


def write(folder: Path, callback: str = "", base: str = BASE) -> str:
    added = f"    - {callback}\n" if callback else ""
    (folder / "base.yaml").write_text(
        base.replace("    - {class_path: Divergence}\n", "    - {class_path: Divergence}\n" + added)
    )
    return f"--config={folder / 'base.yaml'}"


def both(here: Path, args: list[str], seeds: tuple[int, ...] = SEEDS) -> tuple[list[Path], list[Path]]:
    """Train the seeds in one fit, and one after another; give their directories."""
    together, alone = ([here / kind / f"seed={seed}" for seed in seeds] for kind in ("together", "alone"))
    assert run_stack(args, seeds, together) == ""
    for seed, directory in zip(seeds, alone, strict=True):
        run_seed(args, seed, directory)
    return together, alone


def result(directory: Path) -> dict[str, object]:
    return json.loads((directory / run_directory.RESULT).read_text())


def finite(measures: dict[str, float | None]) -> dict[str, float]:
    """The measures with a value; the file has none for those that were not finite."""
    return {name: value for name, value in measures.items() if value is not None}


def assert_same_run(together: Path, alone: Path) -> None:
    one, other = result(together), result(alone)
    for key in ("status", "config_hash", "seed", "epochs", "steps", "data"):
        assert one[key] == other[key], key
    assert (one["stack"], other["stack"]) == (len(list(together.parent.iterdir())), 1)
    assert one["measures"].keys() == other["measures"].keys()
    assert finite(one["measures"]).keys() == finite(other["measures"]).keys()
    assert finite(one["measures"]) == pytest.approx(finite(other["measures"]), rel=1e-8, abs=1e-8)
    rows, expected = (
        {row[:3]: row[3] for row in run_directory.read_metrics(directory / run_directory.METRICS)}
        for directory in (together, alone)
    )
    assert rows.keys() == expected.keys()
    assert rows == pytest.approx(expected, rel=1e-8, abs=1e-8, nan_ok=True)
    files, usual = ({str(path.relative_to(d)) for path in d.rglob("*")} for d in (together, alone))
    assert files == usual
    for name in files:
        if name.endswith(".ckpt"):
            assert_same_checkpoint(together / name, alone / name)


def assert_same_checkpoint(path: Path, other: Path) -> None:
    one, two = (torch.load(each, weights_only=True) for each in (path, other))
    assert one["hyper_parameters"] == two["hyper_parameters"]
    assert (one["epoch"], one["global_step"]) == (two["epoch"], two["global_step"])
    assert one["state_dict"].keys() == two["state_dict"].keys()
    for name, value in two["state_dict"].items():
        assert value.is_floating_point() or torch.equal(one["state_dict"][name], value)
        torch.testing.assert_close(one["state_dict"][name], value, rtol=1e-8, atol=1e-8, equal_nan=True)


# One of each kind; the others are slow.
QUICK = {"activation relu", "normalization batch before", "optimizer sgd", "optimizer adam", "schedule one_cycle"}
MANY = ("activation", "normalization", "optimizer", "schedule", "loss", "residual", "a step", "the last", "the most")


@pytest.mark.parametrize(
    ("args", "callback"),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name.startswith(MANY) and name not in QUICK else ())
        for name, case in CASES.items()
    ],
)
def test_a_stack_leaves_what_its_seeds_leave_alone(here, args, callback):
    together, alone = both(here, [write(here, callback), *args])
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)


ARCHITECTURES = {
    "linear": "{class_path: LinearModel, init_args: {lr: 0.1, optimizer: sgd}}",
    "linear stack": "{class_path: LinearStack, init_args: {hidden: [8], lr: 0.1, optimizer: sgd}}",
    "two layers": "{class_path: TwoLayer, init_args: {loss: cross_entropy, lr: 0.01}}",
    "recurrent": "{class_path: Recurrent, init_args: {width: 8, activation: tanh, lr: 0.01}}",
    "image": "{class_path: InputOptimization, init_args: {hidden: [12], pretraining_steps: 20, lr: 0.5}}",
    "image of a class": (
        "{class_path: InputOptimization, init_args: {hidden: [12], pretraining_steps: 20, loss: cross_entropy, "
        "target_class: 3, l2: 0.001, schedule: one_cycle}}"
    ),
    "convolutional": "{class_path: Convolutional, init_args: {channels: [4, 4], normalization: batch, lr: 0.01}}",
}


def of_another(model: str) -> str:
    """The file with another model, without the instruments that look for its hidden layers."""
    lines = BASE.splitlines()
    start = lines.index("model:")
    base = "\n".join([*lines[:start], f"model: {model}", *lines[start + 3 :]]) + "\n"
    base = base.replace("    - {class_path: GradientFlow, init_args: {every_n_steps: 4}}\n", "")
    return base.replace("    - {class_path: ActivationStatistics, init_args: {every_n_steps: 5}}\n", "")


@pytest.mark.parametrize("model", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_every_architecture_that_can_be_stacked(here, model):
    together, alone = both(here, [write(here, base=of_another(model))])
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)


def test_perceptrons_count_their_own_updates_and_end_when_they_make_none(here):
    base = of_another("{class_path: Perceptron}").replace("{batch_size: 32,", "{batch_size: 1,")
    base = base.replace("Digits", "BreastCancer").replace("max_epochs: 2", "max_epochs: 60")
    base = base.replace("num_train: 150", "num_train: 30")
    stop = "{monitor: train/error, stopping_threshold: 1.0e-9, patience: 1000000}"
    together, alone = both(here, [write(here, f"{{class_path: StackableEarlyStopping, init_args: {stop}}}", base)])
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)
    assert result(alone[0])["measures"]["train/error"] == 0
    assert len({result(directory)["epochs"] for directory in alone}) > 1


def test_images_that_are_watched_and_diverge(here):
    model = "{class_path: InputOptimization, init_args: {hidden: [12], pretraining_steps: 20, optimizer: sgd, lr: 1}}"
    watch = "{class_path: InputImage, init_args: {every_n_steps: 4, picture_every_n_steps: 3, record_pictures: true}}"
    args = [write(here, watch, of_another(model)), "--model.lr=1e9", "--model.activation=identity"]
    args += ["--data.num_train=200", "--trainer.max_epochs=3"]
    together, alone = both(here, args, seeds=(1000, 1001, 1002))
    assert {result(directory)["status"] for directory in together} == {"diverged"}
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)


@pytest.mark.parametrize(
    "model",
    [
        "{class_path: Recurrent, init_args: {width: 8, activation: tanh, lr: 0.01}}",
        "{class_path: Convolutional, init_args: {channels: [4, 4], normalization: batch, lr: 0.01}}",
    ],
    ids=["recurrent", "convolutional"],
)
def test_a_network_that_is_watched_is_asked_seed_by_seed(here, model):
    watch = "{class_path: ActivationStatistics, init_args: {every_n_steps: 3}}"
    watch += "\n    - {class_path: GradientFlow, init_args: {every_n_steps: 4}}"
    together, alone = both(here, [write(here, watch, of_another(model))])
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)
        assert any(name.startswith("gradient/delta_a") for name in result(pair[0])["measures"])


def test_seeds_that_stop_early_end_at_epochs_of_their_own(here):
    stop = "{class_path: StackableEarlyStopping, init_args: {monitor: val/loss, patience: 0}}"
    # Of the weights that each seed ended with, and not of its best.
    stop += "\n    - {class_path: FurtherTests, init_args: {final: true}}"
    together, alone = both(here, [write(here, stop), "--model.lr=1", "--trainer.max_epochs=6"])
    assert len({result(directory)["epochs"] for directory in together}) > 1
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)


def test_a_stack_ends_with_its_last_network(here, monkeypatch):
    stop = "{class_path: StackableEarlyStopping, init_args: {monitor: val/loss, patience: 0}}"
    epochs, fit = [], stacking.fit

    def watched(trainer, *parts):
        fit(trainer, *parts)
        epochs.append(trainer.current_epoch)

    monkeypatch.setattr("experiments.core.training.fit.fit", watched)
    directories = [here / f"seed={seed}" for seed in SEEDS]
    run_stack([write(here, stop), "--model.lr=1", "--trainer.max_epochs=40"], SEEDS, directories)
    assert epochs == [max(result(directory)["epochs"] for directory in directories)]
    assert epochs[0] < 40


def test_tensorboard_of_a_seed_holds_what_it_holds_alone(here):
    logger = "logger: {class_path: TensorBoardLogger, init_args: {save_dir: ., name: '', version: ''}}"
    together, alone = both(here, [write(here, base=BASE.replace("logger: false", logger)), "--model.lr=1"])
    for pair in zip(together, alone, strict=True):
        one, other = (EventAccumulator(str(d), size_guidance={"scalars": 0, "histograms": 0}).Reload() for d in pair)
        for kind in ("scalars", "histograms"):
            assert sorted(one.Tags()[kind]) == sorted(other.Tags()[kind])
        for tag in other.Tags()["scalars"]:
            found, expected = ({e.step: e.value for e in board.Scalars(tag)} for board in (one, other))
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-8), tag
        for tag in other.Tags()["histograms"]:
            found, expected = (
                [(e.step, list(e.histogram_value.bucket)) for e in board.Histograms(tag)] for board in (one, other)
            )
            assert found == expected, tag


# Of the seeds 1003, 1004 and 1005 the second only.
DIVERGES = ["--model.activation=relu", "--model.loss=naive_cross_entropy", "--model.lr=10", "--trainer.max_epochs=3"]
DIVERGES += ["--data.num_train=200", "--data.num_val=100", "--data.num_test=100"]


def test_a_seed_that_diverges_ends_at_its_own_step_and_touches_no_other(here):
    together, alone = both(here, [write(here), *DIVERGES], seeds=(1003, 1004, 1005))
    assert [result(directory)["status"] for directory in together] == ["ok", "diverged", "ok"]
    for pair in zip(together, alone, strict=True):
        assert_same_run(*pair)


def test_a_stack_repeats_to_the_byte(here):
    args = [write(here), "--model.dropout=0.2"]
    first, second = ([here / kind / f"seed={seed}" for seed in SEEDS] for kind in ("first", "second"))
    for directories in (first, second):
        run_stack(args, SEEDS, directories)
    for one, other in zip(first, second, strict=True):
        assert (one / run_directory.METRICS).read_bytes() == (other / run_directory.METRICS).read_bytes()
        assert result(one)["measures"] == result(other)["measures"]


# Within a limit of 1 by far, and by more and by less than the 1e-6 that torch adds; at the limit; beyond.
NORMS = [0.0, 0.5, 1 - 1.1e-6, 1 - 9e-7, 1 - 6e-8, 1.0, 1 + 1.2e-7, 3.0, 1e38, float("inf"), float("nan")]


@pytest.mark.parametrize("norm", NORMS)
def test_clipping_that_is_left_out_would_have_changed_nothing(norm):
    free, clipped = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    free.grad, clipped.grad = torch.tensor([norm]), torch.tensor([norm])
    torch.nn.utils.clip_grad_norm_(clipped, 1.0)
    unchanged = torch.equal(free.grad, clipped.grad)
    plain, stacked = free.grad.clone(), free.grad.clone().view(1, 1)
    clip_gradients([plain], 1.0, stacked=False)
    clip_gradients([stacked], 1.0, stacked=True)
    for gradient in (plain, stacked[0]):
        torch.testing.assert_close(gradient, clipped.grad, rtol=0, atol=0, equal_nan=True)
    if norm <= 1 - 1.1e-6:
        assert unchanged


def test_a_seed_is_clipped_beside_one_that_is_not():
    gradient = torch.tensor([[0.5], [3.0]])
    assert clip_gradients([gradient], 1.0, stacked=True).tolist() == [0.5, 3.0]
    assert gradient.flatten().tolist() == pytest.approx([0.5, 1.0], rel=1e-6)


def test_a_checkpoint_of_a_stack_loads_into_the_plain_module(here):
    directories = [here / f"seed={seed}" for seed in SEEDS]
    args = [write(here), "--model.normalization=batch"]
    run_stack(args, SEEDS, directories)
    for seed, directory in zip(SEEDS, directories, strict=True):
        plain = build_fit(resolve(args), seed, here / "new" / f"seed={seed}")
        stored = torch.load(directory / "checkpoints" / "best.ckpt", weights_only=True)
        assert plain.model.load_state_dict(stored["state_dict"], strict=True).missing_keys == []


def test_a_stack_that_fails_says_so_in_every_run(here, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(GradientFlow, "on_after_backward", fail)
    directories = [here / f"seed={seed}" for seed in SEEDS]
    with pytest.raises(RuntimeError, match="no more"):
        run_stack([write(here)], SEEDS, directories)
    for directory in directories:
        found = result(directory)
        assert (found["status"], found["error"], found["stack"]) == ("failed", "RuntimeError: no more", len(SEEDS))


def test_the_dashboards_of_a_seed_that_ends_early_show_its_last_epoch(here):
    base = BASE.replace(
        "logger: false", "logger: {class_path: CSVLogger, init_args: {save_dir: ., name: '', version: csv}}"
    )
    together, alone = both(here, [write(here, base=base), *DIVERGES], seeds=(1003, 1004, 1005))
    for pair in zip(together, alone, strict=True):
        shown, expected = (_shown(directory / "csv" / "metrics.csv") for directory in pair)
        assert any(name.startswith("test/") for name, _ in shown) == (result(pair[0])["status"] == "ok")
        assert shown == expected


def _shown(path: Path) -> set[tuple[str, str]]:
    """The metrics that a logger was given, each with the epoch it was given in."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"]]
    return {
        (name, row["epoch"]) for row in rows for name, value in row.items() if value and name not in ("epoch", "step")
    }


LINEAR = "{class_path: LinearModel}"


@pytest.mark.parametrize(
    ("model", "callback", "options", "reason"),
    [
        ("{class_path: Modular, init_args: {hidden: [4]}}", "", [], "Modular has a "),
        ("{class_path: LinearModel, init_args: {schedule: plateau}}", "", [], "the schedule plateau follows the loss"),
        (LINEAR, "{class_path: ModelCheckpoint, init_args: {dirpath: by}}", [], "ModelCheckpoint watches one run"),
        (LINEAR, "{class_path: experiments.tools.mistakes.KeptGradients}", [], "KeptGradients watches one run"),
        (LINEAR, "", ["--trainer.min_epochs=2"], "min_epochs"),
        (LINEAR, "", ["--trainer.overfit_batches=2"], "overfit_batches"),
    ],
)
def test_what_cannot_be_stacked_says_why_and_leaves_nothing(here, model, callback, options, reason):
    lines = BASE.splitlines()
    start = lines.index("model:")
    base = "\n".join([*lines[:start], f"model: {model}", *lines[start + 3 :]]) + "\n"
    directories = [here / f"seed={seed}" for seed in SEEDS]
    assert run_stack([write(here, callback, base), *options], SEEDS, directories).startswith(reason)
    assert not any(directory.exists() for directory in directories)
