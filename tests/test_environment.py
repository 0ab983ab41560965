"""`make setup` builds an environment once, and again where its pins have changed; here by a uv that takes notes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = """\
#!/bin/sh
echo "$*" >>"$NOTES"
[ "$1" != "$FAILING" ] || exit 1
[ "$1" != venv ] || { for last; do :; done; mkdir -p "$last/bin"; ln -s /bin/sh "$last/bin/python"; }
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Call make in a copy of the few files it needs; gives its exit code, what it said, and the calls of uv."""
    for name in ("Makefile", ".ci/environment", "requirements.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV)
    (tmp_path / "bin" / "uv").chmod(0o755)
    notes = tmp_path / "notes"
    monkeypatch.setenv("NOTES", str(notes))
    monkeypatch.setenv("FAILING", "nothing")
    # Below `make test`, another make would say where it works.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def call(*args: str) -> tuple[int, str, list[str]]:
        notes.write_text("")
        done = subprocess.run(["make", *args], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr, notes.read_text().splitlines()

    return call


def test_it_is_built_once_and_again_for_other_pins(make, tmp_path):
    code, said, calls = make("setup")
    assert code == 0, said
    assert [call.split()[0] for call in calls] == ["--version", "venv", "pip", "pip"]
    assert calls[2].endswith("--no-deps -r requirements.lock")
    assert make("setup") == (0, "The environment is ready: .venv/bin/python\n", [])
    (tmp_path / "requirements.lock").touch()
    assert make("setup")[2] == []
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write("another==1\n")
    _, said, calls = make("setup")
    assert said.startswith("Replacing .venv, which was not made for these pins or never finished.")
    assert len(calls) == 4


def test_cpu_builds_come_without_cuda_and_are_remembered(make, tmp_path):
    assert make("setup", "TORCH=cpu")[0] == 0
    assert make("setup")[2] == []
    pins = (tmp_path / ".venv" / "requirements-cpu.lock").read_text()
    assert "torch==" in pins
    assert not re.search("^(nvidia|cuda|triton)", pins, flags=re.MULTILINE)
    assert "--torch-backend cpu" not in " ".join(make("setup", "TORCH=default")[2])


def test_what_was_cut_off_starts_over(make, monkeypatch):
    monkeypatch.setenv("FAILING", "pip")
    assert make("setup")[0] == 2
    monkeypatch.setenv("FAILING", "nothing")
    assert len(make("setup")[2]) == 4


def test_a_mistake_is_said(make, monkeypatch):
    code, said, _ = make("setup", "TORCH=gpu")
    assert (code, said.splitlines()[0]) == (2, "TORCH=gpu is not known: give TORCH=cpu or TORCH=default")
    monkeypatch.setenv("FAILING", "venv")
    assert "uv finds no Python" in make("setup")[1]


def test_an_interpreter_of_ones_own_needs_no_environment(make, tmp_path):
    assert make("setup", "PYTHON=mine") == (0, "The environment is ready: mine\n", [])
    assert not (tmp_path / ".venv").exists()


def test_the_help_lists_every_target_and_variable(make):
    _, said, _ = make()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE)) - {"environment"}
    assert {"exp-all", "setup", "chaos"} <= targets
    assert [name for name in [*targets, "exp-<name>"] if f"\n  {name} " not in said] == []
    variables = set(re.findall(r"\$\((?:if |or )?\$?\(?([A-Z]+)\)", makefile)) - {"OPTIONS", "EXPERIMENT"}
    assert {"SCALE", "EXP", "NAME"} <= variables
    assert [name for name in variables if f"\n  {name}=" not in said and name != "PYTEST"] == []
    assert makefile.count("\n") <= 110
