"""A fit that is cut off and begun again by the same call ends with the same bytes."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from one_fit import run_seed, run_stack

from experiments.core.callbacks import Divergence
from experiments.core.files import checkpoints, run_directory
from experiments.core.files.checkpoints import LAST, PREVIOUS
from experiments.core.training import resume
from experiments.core.training.resume import ResumePoint, find_resume
from experiments.core.training.state import is_plain, restore, snapshot

SEEDS = (1000, 1001, 1002)
INSTRUMENTS = [
    {"class_path": "GradientFlow", "init_args": {"every_n_steps": 3}},
    {"class_path": "ActivationStatistics", "init_args": {"every_n_steps": 2}},
    {"class_path": "GradientClipping", "init_args": {"max_norm": 0.5, "every_n_steps": 4}},
    {"class_path": "experiments.normalization.callbacks.TrainEvalGap", "init_args": {"every_n_steps": 4}},
    {"class_path": "WeightStatistics"},
    {"class_path": "FurtherTests", "init_args": {"final": True, "training": True}},
]
FULLY_CONNECTED = {"class_path": "FullyConnected", "init_args": {"depth": 2, "width": 10, "lr": 0.02}}


def model(**changes: Any) -> dict[str, Any]:
    return {**FULLY_CONNECTED, "init_args": {**FULLY_CONNECTED["init_args"], **changes}}


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout and batch normalisation": {"model": model(dropout=0.3, normalization="batch")},
    "one mask a batch, layer normalisation": {"model": model(dropout=0.3, dropout_mask="batch", normalization="layer")},
    "one cycle with adamw": {"model": model(optimizer="adamw", schedule="one_cycle")},
    "momentum, warm-up and a falling rate": {
        "model": model(optimizer="sgd", momentum=0.9, nesterov=True, schedule="cosine", warmup=0.2)
    },
    "rmsprop with a penalty": {"model": model(optimizer="rmsprop", l2=0.001)},
    "augmentation, label noise and duplicates": {
        "data": {"augmentation": ["shift", "erase"], "label_noise": 0.2, "duplicates": 1}
    },
    "accumulated gradients": {"trainer": {"accumulate_grad_batches": 2}},
    "validation in the middle of an epoch": {"trainer": {"val_check_interval": 3, "check_val_every_n_epoch": None}},
    "early stopping": {
        "trainer": {"max_epochs": 4},
        "model": model(lr=1.0),
        "callbacks": [{"class_path": "StackableEarlyStopping", "init_args": {"monitor": "val/loss", "patience": 1}}],
    },
    "some seeds diverge": {"model": model(activation="relu", loss="naive_cross_entropy", lr=10.0, optimizer="sgd")},
    "a recurrent network": {
        "model": {"class_path": "Recurrent", "init_args": {"width": 8, "lr": 0.01}},
        "callbacks": [],
    },
    "an image": {
        "model": {"class_path": "InputOptimization", "init_args": {"hidden": [10], "pretraining_steps": 5, "lr": 0.5}},
        "callbacks": [{"class_path": "InputImage", "init_args": {"every_n_steps": 2, "record_pictures": True}}],
    },
}
ALONE: dict[str, dict[str, Any]] = {
    "a perceptron": {
        "model": {"class_path": "Perceptron"},
        "data_class": "BreastCancer",
        "callbacks": [],
        "best": {"class_path": "BestWeights", "init_args": {"monitor": "val/error"}},
    },
    "a network by hand": {
        "model": {"class_path": "Modular", "init_args": {"hidden": [8], "optimizer": "sgd"}},
        "callbacks": [],
    },
    "what is supported of Lightning's own": {
        "callbacks": [
            {"class_path": "EarlyStopping", "init_args": {"monitor": "val/accuracy", "patience": 2}},
            {"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "epoch"}},
        ],
        "best": {"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/accuracy", "filename": "best"}},
        "trainer": {
            "logger": [
                {"class_path": "CSVLogger", "init_args": {"save_dir": ".", "name": "csv"}},
                {"class_path": "TensorBoardLogger", "init_args": {"save_dir": ".", "name": "tensorboard"}},
            ],
        },
    },
    "batches made by workers": {"data": {"in_memory": False, "workers": 1}, "model": model(dropout=0.3)},
}


def config(folder: Path, case: dict[str, Any]) -> list[str]:
    """Write the config of a case and give its command line."""
    content = {
        "seed_everything": 1000,
        "model": case.get("model", FULLY_CONNECTED),
        "data": {
            "class_path": case.get("data_class", "Digits"),
            "init_args": {"batch_size": 25, "num_train": 200, "num_val": 60, "num_test": 60, **case.get("data", {})},
        },
        "trainer": {
            "max_epochs": 3,
            "logger": False,
            "callbacks": [
                *case.get("callbacks", INSTRUMENTS),
                {"class_path": "Divergence"},
                case.get("best", {"class_path": "BestWeights"}),
            ],
            **case.get("trainer", {}),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(yaml.safe_dump(content))
    return [f"--config={folder / 'base.yaml'}"]


class Cut(BaseException):
    """The power fails; the networks of a stack that have ended by then."""


@pytest.fixture
def cut_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Save at every occasion, or at every so many, and cut the fit off after some of them, again and again."""
    monkeypatch.setattr(resume, "EVERY_SECONDS", 0.0)
    save = ResumePoint._save_if_due

    def begin(occasions: Iterator[int], every: int = 1) -> None:
        left, seen = [next(occasions, 10**9)], dict[ResumePoint, int]()

        def save_and_cut(self: ResumePoint, trainer: Any) -> None:
            seen[self] = seen.get(self, 0) + 1
            if seen[self] % every == 0:
                save(self, trainer)
            left[0] -= 1
            if not left[0]:
                left[0] = next(occasions, 10**9)
                raise Cut(dict(getattr(trainer.lightning_module, "finished_at", {})))

        monkeypatch.setattr(ResumePoint, "_save_if_due", save_and_cut)

    return begin


def until_done(work: Callable[[], object]) -> int:
    """Do it again whenever it is cut off; give how often."""
    for cuts in itertools.count():
        try:
            work()
        except Cut:
            continue
        return cuts
    raise AssertionError


def bytes_of(directory: Path) -> dict[str, Any]:
    """All that is to be the same: rows, measures and weights."""
    result = run_directory.read_result(directory)
    assert result is not None
    names = ("status", "measures", "epochs", "steps", "stack", "config_hash", "diverged_at_step", "applied")
    weights = {}
    for path in sorted(directory.glob("checkpoints/*.ckpt")):
        stored = torch.load(path, weights_only=True)
        weights[path.name] = {name: value.numpy().tobytes() for name, value in stored["state_dict"].items()}
    rows = (directory / run_directory.METRICS).read_bytes()
    return {"rows": rows, "weights": weights, **{name: result.get(name) for name in names}}


# The others are slow.
STACKS = {"dropout and batch normalisation", "one cycle with adamw", "augmentation, label noise and duplicates"}
STACKS |= {"validation in the middle of an epoch", "early stopping", "some seeds diverge"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=() if name in STACKS else pytest.mark.slow) for name, case in CASES.items()],
)
def test_a_stack_that_is_cut_off_again_and_again(here, cut_after, case, capsys):
    args = config(here, case)
    whole, cut = ([here / kind / f"seed={seed}" for seed in SEEDS] for kind in ("whole", "cut"))
    assert run_stack(args, SEEDS, whole) == ""
    # Epochs end, and their rows are written, between what was saved last and the cut.
    cut_after(iter([2, 9, 7]), every=5)
    assert until_done(lambda: run_stack(args, SEEDS, cut)) >= 2
    assert [bytes_of(directory) for directory in cut] == [bytes_of(directory) for directory in whole]
    assert not (cut[0] / run_directory.RESUME).exists()
    assert "from the beginning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("case", "seeds"),
    [("early stopping", SEEDS), ("some seeds diverge", (1003, 1004, 1005))],
    ids=["early stopping", "divergence"],
)
def test_a_network_that_had_ended_before_the_cut_stays_as_it_was(here, cut_after, case, seeds):
    args = config(here, CASES[case])
    whole, cut = ([here / kind / f"seed={seed}" for seed in seeds] for kind in ("whole", "cut"))
    assert run_stack(args, seeds, whole) == ""
    steps = [run_directory.read_result(directory)["steps"] for directory in whole]
    ended = []
    # An occasion a step and one an epoch: from some cut on, those that end first have ended.
    cut_after(itertools.repeat(9))
    while True:
        try:
            run_stack(args, seeds, cut)
        except Cut as fallen:
            ended.append(fallen.args[0])
            continue
        break
    assert ended[-1]
    assert all(step == steps[index] for index, (_, step) in ended[-1].items())
    assert [bytes_of(directory) for directory in cut] == [bytes_of(directory) for directory in whole]


# A run alone differs from a stack in how Lightning keeps its optimiser.
QUICK = ("plain", "dropout and batch normalisation", "one cycle with adamw", *ALONE)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, case in {**CASES, **ALONE}.items()
    ],
)
def test_a_run_that_is_cut_off_again_and_again(here, cut_after, case, capsys):
    args = config(here, case)
    run_seed(args, 1000, here / "whole")
    # Epochs end, and their rows are written, between what was saved last and the cut.
    cut_after(iter([2, 9, 7]), every=5)
    assert until_done(lambda: run_seed(args, 1000, here / "cut")) >= 2
    assert bytes_of(here / "cut") == bytes_of(here / "whole")
    assert not (here / "cut" / run_directory.RESUME).exists()
    assert "from the beginning" not in capsys.readouterr().err


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    half = len(content) // 2
    changed = {
        "torn": content[:half],
        "empty": b"",
        "one bit": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        "garbage": b"garbage",
    }
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["torn", "empty", "one bit", "garbage"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(here, cut_after, capsys, how):
    args = config(here, CASES["dropout and batch normalisation"])
    run_seed(args, 1000, here / "whole")
    cut_after(iter([6]))
    with pytest.raises(Cut):
        run_seed(args, 1000, here / "cut")
    last = here / "cut" / run_directory.RESUME / LAST
    assert last.with_name(PREVIOUS).is_file()
    damage(last, how)
    run_seed(args, 1000, here / "cut")
    assert str(last) in capsys.readouterr().err
    assert bytes_of(here / "cut") == bytes_of(here / "whole")


def test_both_damaged_is_a_run_from_the_beginning(here, cut_after):
    args = config(here, {})
    run_seed(args, 1000, here / "whole")
    cut_after(iter([6]))
    with pytest.raises(Cut):
        run_seed(args, 1000, here / "cut")
    for name in (LAST, PREVIOUS):
        damage(here / "cut" / run_directory.RESUME / name, "torn")
    run_seed(args, 1000, here / "cut")
    assert bytes_of(here / "cut") == bytes_of(here / "whole")


def test_another_config_does_not_go_on_from_it(here, cut_after):
    cut_after(iter([6]))
    with pytest.raises(Cut):
        run_seed(config(here, {}), 1000, here / "cut")
    path = here / "cut" / run_directory.RESUME / LAST
    (key,) = {checkpoints.read(path)["callbacks"][ResumePoint.NAME]["key"]}
    assert find_resume(here / "cut", key) == path
    assert find_resume(here / "cut", "another") is None


def test_short_fits_write_none(here, monkeypatch):
    saved = []
    monkeypatch.setattr("lightning.Trainer.save_checkpoint", lambda _, path, *__: saved.append(str(path)))
    run_seed(config(here, {}), 1000, here / "run")
    assert saved == []


def test_no_checkpoint_but_its_own_holds_the_state(here):
    run_seed(config(here, {}), 1000, here / "run")
    stored = torch.load(here / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert ResumePoint.NAME not in stored.get("callbacks", {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_fit_that_is_told_to_end_goes_on_by_the_same_command(command, here, monkeypatch, number):
    """In this process; with signals from outside, and SIGKILL, it is in `stress/test_processes.py`."""
    monkeypatch.setattr(resume, "EVERY_SECONDS", 0.0 if number == signal.SIGINT else resume.EVERY_SECONDS)
    after_batch, told = Divergence.on_train_batch_end, list[int]()

    def tell(self: Divergence, trainer: Any, *args: Any) -> None:
        after_batch(self, trainer, *args)
        if trainer.global_step == 9 and not told:
            told.append(number)
            signal.raise_signal(number)

    def fit(name: str) -> Any:
        options = [f"--trainer.default_root_dir={here / name}", "--trainer.enable_progress_bar=false"]
        return command("fit", *config(here, {"model": model(dropout=0.3)}), *options)

    assert fit("whole").code == 0
    monkeypatch.setattr(Divergence, "on_train_batch_end", tell)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        answer = fit("cut")
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C once it has seen it
    assert answer.code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number], answer.err
    assert (here / "cut" / run_directory.RESUME / LAST).is_file()
    if number == signal.SIGTERM:
        assert (run_directory.read_result(here / "cut") or {})["status"] == "interrupted"
        assert "goes on from there" in answer.err
    steps = list[int]()
    monkeypatch.setattr(Divergence, "on_train_batch_end", lambda _, trainer, *__: steps.append(trainer.global_step))
    assert fit("cut").code == 0
    assert steps[0] > 1
    assert bytes_of(here / "cut") == bytes_of(here / "whole")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([1, 2.0, "three", None, True], True),
        ({"a": {"b": (torch.zeros(2), {3})}}, True),
        (Path("a"), False),
        ([Path("a")], False),
        ({"a": object()}, False),
    ],
)
def test_what_is_made_of_numbers_texts_and_tensors(value, plain):
    assert is_plain(value) is plain


def test_containers_that_others_share_stay_theirs():
    class Thing:
        def __init__(self) -> None:
            self.shared, self.list, self.number, self.path = {"a": 1}, [1], 2, Path("x")

    thing, other = Thing(), Thing()
    shared, rows = thing.shared, thing.list
    other.shared, other.list, other.number = {"b": 3}, [4, 5], 6
    restore(thing, snapshot(other))
    assert (thing.shared, thing.list, thing.number) == ({"b": 3}, [4, 5], 6)
    assert thing.shared is shared
    assert thing.list is rows
    assert "path" not in snapshot(thing)
