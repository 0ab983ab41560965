# ruff: noqa: E501 (a row of the table is one line)
"""Faults of the machine and of files: the message of each, its exit code, and what is kept; one row a fault."""

from __future__ import annotations

import dataclasses
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import (
    Context,
    Scene,
    a_file,
    damaged,
    disk_full,
    edited,
    finished,
    no_memory,
    nothing,
    on_a_small_disk,
    one_bit,
    one_column,
    one_label,
    outside,
    read_only,
    samples,
    torn,
)
from faults_mirror import serve

from experiments.core.commands import run as runner
from experiments.core.execution import execute, workers
from experiments.core.execution.tasks import Task, pending
from experiments.core.grid import catalogue

REAL_SHOW = runner.show
BASE = catalogue.ROOT / "vanishing" / "base.yaml"
SILENT = ("--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false")
SMALL = (*SILENT, "--trainer.max_epochs=1", "--data.num_train=256")


# Three conditions, for speed; the tiny experiment has more.
EXPERIMENT = """
'''A sentence.'''
from experiments.core.definitions import Claim, Experiment, Tuning, axes

experiment = Experiment(
    title="Small", title_fr="Petite", data=("digits",), figures=(), seeds=3, measures=("twice_accuracy",),
    grid=[axes(activation=["sigmoid", "relu"]), axes(config="start")],
    tuning=Tuning("lr", by="activation", candidates={"relu": (0.1, 0.2)}, seeds=(900,)),
    claims=[
        Claim("L1-difference", statement="s", statement_fr="s", slide="s", kind="effect", measure="test/accuracy",
              where={"activation": "relu"}, minus={"activation": "sigmoid"}, above=0.05, n=3, if_diverged=0.1),
        Claim("L4-check", statement="s", statement_fr="s", slide="s", kind="exact", check="zero", tolerance=0.0, n=2),
    ],
)
"""
TUNED = ('axes(config="start")', 'axes(activation="relu", lr="tuned")')


# The commands. Each prepares the scene, if something has to be there before, and is called in it.


@dataclasses.dataclass(frozen=True)
class Command:
    """What a person calls, and what is there before."""

    call: Callable[[Scene], Any]
    prepare: Callable[[Scene], None] | None = None


KEEPS = "{class_path: ModelCheckpoint, init_args: {dirpath: checkpoints, filename: whole}}"


def weights(scene: Scene) -> None:
    shutil.copyfile(scene.trained / "checkpoints" / "best.ckpt", scene.here / "best.ckpt")


def checkpoint(scene: Scene) -> None:
    """What a fit can go on from: more than weights."""
    answer = scene.call("fit", "--config", scene.trained / "config.yaml", *SILENT, f"--trainer.callbacks+={KEEPS}")
    (answer.directory / "checkpoints" / "whole.ckpt").rename(scene.here / "best.ckpt")
    shutil.rmtree(scene.here / "runs")


def with_checkpoint(subcommand: str, *options: str) -> Command:
    words = (*SILENT, "--trainer.max_epochs=2", "--ckpt_path=best.ckpt", *options)
    return Command(
        lambda scene: scene.call(subcommand, "--config", scene.trained / "config.yaml", *words),
        checkpoint if subcommand == "fit" else weights,
    )


def run_tiny(scene: Scene) -> Any:
    return scene.tiny.run("--scale=smoke", "--seeds=1")


def trained_only(scene: Scene) -> None:
    """Every run is finished, and nothing is made of them."""
    assert run_tiny(scene).code == 0
    for name in ("results.csv", "verdicts.json"):
        (PLACE / name).unlink()


def shown_before(scene: Scene) -> None:
    """A report of other results is there."""
    runner.show = REAL_SHOW
    assert run_tiny(scene).code == 0
    result = next(PLACE.rglob("result.json"))
    result.write_text(result.read_text().replace('"wall_seconds"', '"seconds"'))
    (PLACE / "results.csv").write_text("of another time\n")


def show_tiny(scene: Scene) -> Any:
    runner.show = REAL_SHOW
    return run_tiny(scene)


PLACE = Path("runs/tiny-smoke-seeds=1")
FIT = Command(lambda scene: scene.call("fit", "--config", BASE, *SMALL))
GO_ON, TEST, PREDICT = with_checkpoint("fit"), with_checkpoint("test"), with_checkpoint("predict")
GO_ON_DEPTH_4, TEST_WIDTH_32 = with_checkpoint("fit", "--model.depth=4"), with_checkpoint("test", "--model.width=32")
RUN, JUDGE = Command(run_tiny), Command(run_tiny, trained_only)
SHOW, SHOW_AGAIN = Command(show_tiny, trained_only), Command(show_tiny, shown_before)
TUNE = Command(lambda scene: scene.tiny.run("--seeds=2"), lambda scene: scene.tiny.edit("experiment.py", *TUNED))
IMAGES = Command(lambda scene: scene.call("data", "SVHN"))
HOUSES = Command(lambda scene: scene.call("data", "CaliforniaHousing"))
HUGE = Command(lambda scene: scene.call("fit", "--config", BASE, f"--model.width={10**15}", *SMALL))


@dataclasses.dataclass(frozen=True)
class Fault:
    """A row of the table; after the fault each pattern of `kept` is that of some file, and none of `not_there`."""

    what: str
    inject: Context
    command: Command
    code: int
    words: str
    kept: str
    not_there: str


def nothing_of(_: bytes) -> bytes:
    return b""


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def garbage(content: bytes) -> bytes:
    return random.Random(0).randbytes(len(content))


def one_byte(content: bytes) -> bytes:
    return content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]


FULL = "No space left on device"
DAMAGED = "error: 'best.ckpt' is not a checkpoint of a run, or it is damaged"
# fmt: off
TABLE_OF_FAULTS = [
    # What is wrong, how it is made so, what is called; exit code, message, what is kept, what is not there.
    # The disk is full at each kind of write.
    Fault("full: config.yaml", disk_full("*config*yaml"), FIT, 1, FULL, "", "*.ckpt result.json"),
    Fault("full: metrics.csv", disk_full("*metrics*csv"), FIT, 1, FULL, "config.yaml result.json", "*.ckpt"),
    Fault("full: checkpoint", disk_full("*best*ckpt*"), FIT, 1, FULL, "config.yaml", "*.ckpt"),
    Fault("full: result.json", disk_full("*result*json"), FIT, 1, FULL, "config.yaml metrics.csv best.ckpt", "result.json"),
    Fault("full: predictions", disk_full("*predictions*"), PREDICT, 1, FULL, "best.ckpt", "predictions.csv"),
    Fault("full: all of a run", disk_full("*=relu/*"), RUN, 1, FULL, "base/*/result.json results.csv", "=relu/*/result.json"),
    Fault("full: result of a run", disk_full("*start/*result*json"), RUN, 1, FULL, "base/*/result.json results.csv", "start/*/result.json"),
    Fault("full: checkpoint of a run", disk_full("*base/*best*ckpt*"), RUN, 1, FULL, "start/*/result.json results.csv", "base/*/*.ckpt"),
    Fault("full: tuning.csv", disk_full("*tuning.*csv"), TUNE, 1, FULL, "tuning/*/*/result.json", "tuning.csv"),
    Fault("full: results.csv", disk_full("*results*csv"), JUDGE, 1, FULL, "result.json", "results.csv"),
    Fault("full: verdicts.json", disk_full("*verdicts*json"), JUDGE, 1, FULL, "results.csv", "verdicts.json"),
    Fault("full: a figure", disk_full("*figures/*svg"), SHOW, 1, FULL, "results.csv verdicts.json", "*.svg report.html"),
    Fault("full: a figure, a report was there", disk_full("*figures/*png"), SHOW_AGAIN, 1, FULL, "verdicts.json forest.png", "report.html"),
    Fault("full: report.html", disk_full("*report*html"), SHOW, 1, FULL, "forest.svg forest.png", "report.html"),
    Fault("full: index.html", disk_full("*index*html"), SHOW, 1, FULL, "report.html index.html", ""),
    Fault("full: downloaded images", disk_full("*_32x32.mat"), IMAGES, 1, FULL, "", "data/**/*.mat"),
    Fault("full: a downloaded table", disk_full("*cal_housing.tgz"), HOUSES, 1, FULL, "", "data/**/*.tgz"),
    # There is no place to write.
    Fault("runs/ is a file", a_file("runs"), RUN, 2, "'{here}/runs' is not a directory", "", ""),
    Fault("runs/ is a file, fit", a_file("runs"), FIT, 2, "'{here}/runs' is not a directory", "", ""),
    Fault("data/ is a file", a_file("data"), IMAGES, 2, "downloading it failed", "", ""),
    # A download is cut short, or is something else.
    Fault("images cut short", damaged("mirror/train_32x32.mat", half), IMAGES, 2, "downloading it failed", "", "data/**/*.mat"),
    Fault("images altered", damaged("mirror/test_32x32.mat", one_byte), IMAGES, 2, "downloading it failed", "", "data/**/*.mat"),
    Fault("table cut short", damaged("mirror/cal_housing.tgz", half), HOUSES, 2, "expected SHA-256", "", "data/**/*.tgz"),
    Fault("table altered", damaged("mirror/cal_housing.tgz", one_byte), HOUSES, 2, "expected SHA-256", "", "data/**/*.tgz"),
    # A checkpoint to go on from.
    Fault("fit: empty", damaged("best.ckpt", nothing_of), GO_ON, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("fit: truncated", damaged("best.ckpt", half), GO_ON, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("fit: garbage", damaged("best.ckpt", garbage), GO_ON, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("fit: one bit flipped", damaged("best.ckpt", one_bit), GO_ON, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("fit: another architecture", nothing, GO_ON_DEPTH_4, 2, "was trained with depth 8; the config says 4", "best.ckpt", "runs"),
    # A checkpoint to test.
    Fault("test: empty", damaged("best.ckpt", nothing_of), TEST, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("test: truncated", damaged("best.ckpt", half), TEST, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("test: garbage", damaged("best.ckpt", garbage), TEST, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("test: one bit flipped", damaged("best.ckpt", one_bit), TEST, 2, DAMAGED, "best.ckpt", "runs"),
    Fault("test: another architecture", nothing, TEST_WIDTH_32, 2, "was trained with width 64; the config says 32", "best.ckpt", "runs"),
    # The data are not what they should be.
    Fault("NaN in the data, fit", samples(one_column), FIT, 2, "has a value that is not finite", "", "runs"),
    Fault("NaN in the data, run", samples(one_column), RUN, 2, "has a value that is not finite", "", "result.json"),
    Fault("a label is too large, fit", samples(one_label(10)), FIT, 2, "Digits: sample 1796 has the label 10", "", "runs"),
    Fault("a label is too large, run", samples(one_label(10)), RUN, 2, "Digits: sample 1796 has the label 10", "", "result.json"),
    Fault("a label is negative", samples(one_label(-1)), FIT, 2, "Digits: sample 1796 has the label -1", "", "runs"),
    # The memory is used up.
    Fault("no memory for a network", nothing, HUGE, 2, "can't allocate memory", "", "runs"),
    Fault("no memory in a step", no_memory, FIT, 1, "out of memory", "config.yaml result.json", "*.ckpt"),
    Fault("no memory for one condition", edited("start.yaml", "width: 16", f"width: {10**15}"), RUN, 2, "condition 'start': ", "", "result.json results.csv"),
]
# fmt: on


@pytest.fixture
def scene(tiny, command, here: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(runner, "show", runner.show)  # so that it is put back
    tiny.write("figures.py", "")
    tiny.write("experiment.py", EXPERIMENT)
    return Scene(here, command, trained, tiny)


@pytest.fixture
def mirror(here: Path):
    """The web servers of SVHN and of California housing."""
    with serve(here / "mirror"):
        yield


def there(here: Path, patterns: str) -> dict[str, bool]:
    return {pattern: any(here.rglob(pattern)) for pattern in patterns.split()}


def one_line(answer: Any) -> bool:
    """Whether one line says what went wrong, beside the progress of runs and downloads; a run that fails has its own."""
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    return "Traceback" not in answer.out + answer.err and len(errors) == (": failed" not in answer.out)


@pytest.mark.parametrize("row", TABLE_OF_FAULTS, ids=lambda row: row.what)
def test_a_fault_is_told_in_one_line_and_costs_only_itself(scene: Scene, row: Fault, request):
    if row.command in (IMAGES, HOUSES):
        request.getfixturevalue("mirror")
    if row.command.prepare:
        row.command.prepare(scene)
    before = finished(scene.here)
    with row.inject(scene):
        answer = row.command.call(scene)
        assert answer.code == row.code, answer.out + answer.err
        assert row.words.format(here=scene.here) in answer.out + answer.err
        assert one_line(answer), answer.out + answer.err
        assert torn(scene.here / "runs") + torn(scene.here / "data") == []
        assert set(there(scene.here, row.kept).values()) <= {True}, there(scene.here, row.kept)
        assert set(there(scene.here, row.not_there).values()) <= {False}, there(scene.here, row.not_there)
        kept = finished(scene.here)
        assert before.items() <= kept.items()
    if row.command in (GO_ON_DEPTH_4, TEST_WIDTH_32, HUGE):  # the fault is what was asked for
        return
    # Once it is mended the same command does what is left, and only that.
    answer = row.command.call(scene)
    assert answer.code == 0, answer.out + answer.err
    assert torn(scene.here / "runs") == []
    assert kept.items() <= finished(scene.here).items()


def test_a_directory_that_is_read_only_is_refused_before_anything_is_done(scene: Scene):
    with read_only(scene):
        done = outside(sys.executable, "-m", "experiments", "run", "vanishing", "--scale=smoke")
    assert done.returncode == 2
    assert done.stderr.startswith("error: results cannot be written to 'runs/vanishing-smoke': no permission to write")
    assert done.stderr.count("\n") == 1
    assert not list((scene.here / "runs").iterdir())


def test_a_small_disk_is_full_before_the_first_checkpoint_is_whole(scene: Scene):
    (scene.here / "runs").mkdir()
    command = (sys.executable, "-m", "experiments", "fit", "--config", BASE, *SMALL)
    done = on_a_small_disk(scene.here / "runs", 100, *command)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {FULL}")
    assert done.stderr.count("\n") == 1
    kept = scene.here / "runs kept"
    assert torn(kept) == []
    assert any(kept.rglob("config.yaml"))
    assert not any(kept.rglob("best.ckpt"))


def test_a_worker_that_is_killed_again_and_again_costs_its_own_task(here: Path, monkeypatch: pytest.MonkeyPatch):
    # As the system kills what takes too much memory; `test_run_processes.py` has it once, and through the command line.
    monkeypatch.setattr(workers, "SHARED_IMPORTS", ())
    tasks = [Task(str(seed), here / str(seed), seed, "hash", check="faults_worker:check") for seed in (1, 2)]
    (here / "fault").touch()
    with workers.Pool(jobs=1) as pool:
        ended = {task.seed: outcome for task, outcome in execute.run_groups(pool, pending(tasks))}
        assert [ended[seed].status for seed in (1, 2)] == ["failed", "ok"]
        assert ended[1].error.startswith("worker ended")
        before = finished(here)
        assert [path.parent.name for path in before] == ["2"]
        assert torn(here) == []
        (here / "fault").unlink()
        assert [outcome.status for _, outcome in execute.run_groups(pool, pending(tasks))] == ["ok"]
    assert before.items() < finished(here).items()
