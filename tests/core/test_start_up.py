"""`--help`, `list` and `claims` answer at once: nothing heavy is imported for them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from experiments.core.grid import catalogue

HEAVY = (
    *("torch", "lightning", "torchmetrics", "torchvision", "jsonargparse"),
    *("numpy", "scipy", "pandas", "sklearn", "matplotlib"),
    *("wandb", "tensorboard", "jinja2", "rich", "pebble"),
)
PROBE = """
import json, runpy, sys
sys.argv = ["experiments", *sys.argv[1:]]
try:
    runpy.run_module("experiments", run_name="__main__", alter_sys=True)
except SystemExit as end:
    print(json.dumps([end.code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "run --help",
        "report --help",
        "list",
        "claims",
        "claims vanishing",
        "data --help",
        "run vanishin",
        "fitt",
    ],
)
def test_nothing_heavy_is_imported(line):
    command = [sys.executable, "-c", PROBE, *line.split()]
    done = subprocess.run(command, cwd=catalogue.ROOT.parent, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert "experiments" in modules
    assert set(modules).isdisjoint(HEAVY)
    assert code == (2 if line in ("run vanishin", "fitt") else 0)
    assert done.stdout or code == 2


def test_list_and_claims_say_what_there_is(command):
    listed = command("list").out
    for name in catalogue.names():
        experiment = catalogue.load(name)
        assert f"{name} " in listed
        assert catalogue.summary(name) in listed
        assert f"{len(experiment.claims)} claims" in listed
        shown = command("claims", name).out
        assert shown.count("\n") == len(experiment.claims)
        assert all(f"{claim.id} " in shown and claim.statement in shown for claim in experiment.claims)
    assert command("claims").out == "".join(command("claims", name).out for name in catalogue.names())


def test_the_door_works_as_a_module():
    command = [sys.executable, "-m", "experiments", "list"]
    done = subprocess.run(command, cwd=catalogue.ROOT.parent, capture_output=True, text=True, check=True)
    assert "vanishing" in done.stdout
    command[-1] = "lst"
    failed = subprocess.run(command, cwd=catalogue.ROOT.parent, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (2, "error: unknown command 'lst'; did you mean 'list'?\n")
