"""Whatever goes wrong: one line, an exit code, and a trace for who wants to read it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.core.commands import data as data_command
from experiments.core.commands import parser
from experiments.core.files import run_directory
from experiments.core.files.errors import LONGEST, UserError, printable, read_text
from experiments.core.grid import catalogue
from experiments.core.training import cli
from lightning_modules import FullyConnected

ROOT = catalogue.ROOT.parent


def crash(*_: object, **__: object) -> None:
    raise LookupError("the\nunexpected \x1b[31m")


def trace_of(line: str) -> str:
    """The content of the file that the line of an unexpected error names."""
    return Path(line.partition("the trace is in '")[2].partition("'")[0]).read_text()


@pytest.mark.parametrize("words", [("data",), ("data", "--traceback"), ("--traceback", "data")])
def test_an_error_that_nobody_expected_is_one_line_and_its_trace_is_in_a_file(command, monkeypatch, words):
    monkeypatch.setattr(data_command, "show", crash)
    answer = command(*words)
    assert answer.code == 1
    *above, line = answer.err.splitlines()
    assert line.startswith(r"error: LookupError: the unexpected \x1b[31m; the trace is in '")
    assert "in crash" in trace_of(line)
    assert ("in crash" in "\n".join(above)) == ("--traceback" in words)
    assert above == [] or "--traceback" in words


@pytest.mark.parametrize("hook", ["on_train_end", "configure_optimizers"])
def test_the_trace_of_a_fit_is_in_the_directory_of_the_run(command, here, base_yaml, monkeypatch, hook):
    monkeypatch.setattr(FullyConnected, hook, crash)
    answer = command("fit", "--config", base_yaml, "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false",
                     "--trainer.enable_model_summary=false", "--trainer.default_root_dir=mine")  # fmt: skip
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "the trace is in 'mine/error.txt'" in answer.err
    assert "in crash" in (here / "mine" / "error.txt").read_text()


def test_the_trace_of_a_fit_that_left_nothing_is_in_another_file(command, here, base_yaml, monkeypatch):
    monkeypatch.setattr(cli.LectureCLI, "instantiate_classes", crash)
    answer = command("fit", "--config", base_yaml)
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "in crash" in trace_of(answer.err)
    assert not list(here.iterdir())


def test_with_traceback_a_mistake_shows_where_it_was_found(command):
    answer = command("run", "vanishin", "--traceback")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.endswith("error: unknown experiment 'vanishin'; did you mean 'vanishing'?\n")


def test_of_all_experiments_one_that_crashes_ends_no_other(tiny, monkeypatch):
    monkeypatch.setattr("experiments.core.commands.run.show", crash)
    answer = tiny.call("run", "all", "--scale=smoke", "--logger=csv")
    assert answer.code == 2
    assert answer.err.startswith("error: tiny: LookupError: the unexpected")
    assert "runs/index.html" in answer.out


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: you tried\n\x1b")])
def test_memory_that_is_not_there_is_one_line(command, monkeypatch, error):
    def ask(_: object) -> int:
        raise error

    monkeypatch.setattr(data_command, "show", ask)
    answer = command("data")
    assert answer.code == 1
    assert answer.err.startswith("error: out of memory: ")
    assert answer.err.count("\n") == 1
    assert "\x1b" not in answer.err


def through_the_door(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = f"{sys.executable} -m experiments {line}"
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=False
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    done = through_the_door("claims | head -n 1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (141, b"")
    assert done.stdout.count(b"\n") == 1


def test_a_full_disk_behind_the_output_is_one_line():
    done = through_the_door("claims > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: No space left on device")


def test_a_terminal_without_our_letters_gets_others():
    done = through_the_door("claims", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_what_a_terminal_would_obey_is_spelt_out_on_standard_output_too(command, tiny, monkeypatch):
    text = (tiny.folder / "experiment.py").read_text()
    tiny.write("experiment.py", text.replace('title="Tiny"', r'title="Tiny\x1b[31m\n"'))
    monkeypatch.setattr(catalogue, "summary", lambda _: "a sentence\x9b31m")
    assert command("list").out.startswith(f"{'tiny':16} Tiny\\x1b[31m\\n: a sentence\\x9b31m\n")
    answer = tiny.run("--scale=smoke", "--runs=odd\x1b[31m\x07\nname")
    assert answer.code == 0
    assert not {"\x1b", "\x07"} & {*answer.out, *answer.err}
    assert r"odd\x1b[31m\x07\nname" in answer.out


def test_a_message_has_an_end():
    assert len(str(UserError("\x1b" * 100_000))) < 5 * LONGEST
    assert str(UserError("a" * LONGEST)) == "a" * LONGEST
    assert printable("é σ × \u202e\u2028\ud800") == r"é σ × \u202e\u2028\ud800"


# Anything may lie where a file is looked for.


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": pipe,
    "a socket": listening,
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "a directory": lambda path: path.mkdir(),
    "a circle of links": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_read(here: Path, kind):
    for name in ("result.json", "metrics.csv", "other"):
        KINDS[kind](here / name)
    assert run_directory.read_result(here) is None
    with pytest.raises(UserError, match="does not hold the metrics of a run"):
        run_directory.read_metrics(here / "metrics.csv")
    with pytest.raises(OSError, match="other"):
        read_text(here / "other")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["--config", "--ckpt_path"])
def test_what_is_no_file_is_no_config_and_no_checkpoint(command, here: Path, base_yaml, kind, option):
    KINDS[kind](here / "it.yaml")
    KINDS[kind](here / "it.ckpt")
    files = ("--config", "it.yaml") if option == "--config" else ("--config", base_yaml, "--ckpt_path=it.ckpt")
    answer = command("fit", *files)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert any(words in answer.err for words in ("is no file", "is a directory", "does not exist", "cannot be read"))


@pytest.mark.parametrize("name", ["x" * 5000, "x\0y", "x\udce9", "x\x1b[31m\n"])
@pytest.mark.parametrize("option", ["--config", "--ckpt_path"])
def test_names_that_no_file_has(command, here, base_yaml, name, option):
    answer = command("fit", *([] if option == "--config" else ["--config", base_yaml]), option, name)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert len(answer.err) < 2 * LONGEST


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device without an end", "a directory"])
def test_what_is_no_reference_and_no_table_of_tuning_is_one_line(tiny, here: Path, kind):
    KINDS[kind](tiny.folder / "reference.json")
    answer = tiny.call("verify", "tiny", "--logger=csv")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    (here / "runs" / "tiny").mkdir(parents=True)
    KINDS[kind](here / "runs" / "tiny" / "tuning.csv")
    answer = tiny.call("report", "tiny", "--logger=csv")
    assert answer.code == 2
    assert "tuning.csv' " in answer.err


def test_the_words_of_the_door_know_the_option(command):
    assert "--traceback" in " ".join(command("--help").out.split())
    assert parser.main(["--traceback", "list"]) == 0
