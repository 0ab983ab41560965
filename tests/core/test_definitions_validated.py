"""What is wrong with the folder of an experiment is one line that names its file, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.core.files import run_directory

E, B, M, C = "experiment.py", "base.yaml", "measures.py", "checks.py"
GRID = 'axes(activation=["sigmoid", "relu"]),\n        axes(activation='
CLAIM = 'where={"activation": "relu"},\n              minus'
# The file, a text in it, what stands in its place, and what is said.
BROKEN: dict[str, tuple[str, str, str, str]] = {
    "syntax": (E, "experiment = Exp", "experiment = (Exp", "experiment.py: SyntaxError: '(' was never closed"),
    "a name": (E, "Experiment(\n", "Experimen(\n", "experiment.py, line 7: NameError: name 'Experimen' is not defined"),
    "an import": (E, "experiment = Exp", "import nope\nexperiment = Exp", "line 7: ModuleNotFoundError: No"),
    "no experiment": (E, "experiment = Exp", "other = Exp", "experiment.py defines no `experiment`"),
    "no title": (E, 'title="Tiny", ', "", "missing 1 required positional argument: 'title'"),
    "an unknown field": (E, 'title="Tiny", ', 'title="Tiny", titel="", ', "unexpected keyword argument 'titel'"),
    "a title that is a number": (E, 'title="Tiny", ', "title=3, ", "title: Input should be a valid string; it is 3"),
    "a grid of numbers": (E, "grid=[", "grid=[3,", "grid.0: Input should be an instance of Axes; it is 3"),
    "an axis of mappings": (E, GRID, f"axes(depth=[{{}}]),\n        {GRID}", "grid.0.values.depth.0"),
    "a value out of range": (E, GRID, f"axes(depth=[0]),\n        {GRID}", "condition 'depth=0': depth must be"),
    "a value of another type": (E, GRID, f"axes(depth=['x']),\n        {GRID}", "depth: expected int; it is x"),
    "an unknown value": (E, GRID, f"axes(activation=['x']),\n        {GRID}", "'activation=x': unknown activation"),
    "a claim that is none": (E, "claims=[", "claims=[None,", "experiment.py, line 7: AttributeError"),
    "a kind": (E, 'kind="measured"', 'kind="mesured"', "claims.2.kind: Input should be 'effect', "),
    "half a seed": (E, "n=4", "n=4.5", "claims.2.n: Input should be a valid integer; it is 4.5"),
    "no seed": (E, "n=4", "n=-4", "claim L3-more: n must be at least 1, not -4"),
    "no number": (E, "above=0.05", "above=float('nan')", "claims.0.above: Input should be a finite number"),
    "no seeds": (E, "seeds=3", "seeds=0", "`seeds` must be at least 1, not 0"),
    "no data": (E, 'data=("digits",)', "data=()", "`data` names no data set"),
    "data without a file": (E, 'data=("digits",)', 'data=("digits", "strt")', "unknown data set 'strt'; did you mean"),
    "a scale": (E, "seeds=3", 'seeds=3, scale_grid={"smokee": []}', "unknown scale 'smokee'; did you mean 'smoke'?"),
    "a condition": (E, CLAIM, CLAIM.replace("relu", "tanh"), "no condition of 'tiny' is 'activation=tanh'; nearest: "),
    "a measure of a claim": (E, '"test/accuracy"', '"test/acuracy"', "L1-difference: unknown measure 'test/acuracy'"),
    "a time": (E, "above=0.05", 'above=0.05, arrived="came"', "claim L1-difference: unknown measure 'came'"),
    "a measure of the table": (E, '("twice_accuracy",)', '("twice_acuracy",)', "did you mean 'twice_accuracy'?"),
    "one text for measures": (E, '("twice_accuracy",)', '"twice_accuracy"', "measures: 'str' instances are not"),
    "a contrast": (E, '"sum_of_values"', '"sum_of_value"', "measures.py: unknown contrast 'sum_of_value'; did you"),
    "a check": (E, 'check="zero"', 'check="zeros"', "checks.py: unknown check 'zeros'; did you mean 'zero'?"),
    "a figure": (E, "figures=()", 'figures=("forrest",)', "unknown figure 'forrest'; did you mean 'forest'?"),
    "a figure of a claim": (E, "above=0.05", 'above=0.05, figure="forrest"', "unknown figure 'forrest'; did you mean"),
    "what tuning looks at": (E, "seeds=(900", 'minimize="val/los", seeds=(900', "tuning: unknown measure 'val/los'"),
    "what tuning tries": (E, "1e-6, 0.1, 1e30", "-1.0, 0.1, 1e30", "lr must be a finite number > 0, not -1.0"),
    "whom tuning knows": (E, '{"relu": (1e-6', '{"tanh": (1e-6', "asks for tuning, which has no candidates for it"),
    "syntax of the measures": (M, "(run):", "(run:", "measures.py: SyntaxError: '(' was never closed"),
    "an import of the measures": (M, "def twice", "import nope\n\n\ndef twice", "measures.py, line 1: ModuleNotF"),
    "syntax of the checks": (C, "(seed):", "(seed:", "checks.py: SyntaxError: '(' was never closed"),
    "an argument": (B, "depth: 2", "dpeth: 2", "unknown key 'model.dpeth' of FullyConnected; did you mean 'depth'?"),
    "a value of the base": (B, "lr: 0.1", "lr: -1", "lr must be a finite number > 0, not -1"),
    "an overlay": ("start.yaml", "width: 16", "widht: 16", "condition 'start': unknown key 'model.widht'"),
    "a value of an overlay": ("start.yaml", "width: 16", "width: 0", "condition 'start': width must be a whole"),
    "a callback": (B, "{class_path: GradientFlow}", "{class_path: GradientFlo}", "unknown callback 'GradientFlo'"),
}  # fmt: skip


@pytest.fixture
def refused(tiny: Any, here: Path) -> Callable[[], str]:
    """Run the tiny experiment, which must be refused before anything is trained."""

    def run() -> str:
        answer = tiny.run("--seeds=2")
        assert answer.code == 2, answer.out + answer.err
        assert answer.err.count("\n") == 1
        assert answer.err.startswith("error: experiments/tiny")
        assert not (here / "runs").is_dir()
        return str(answer.err)

    return run


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_told_before_anything_is_trained(tiny, refused, case):
    name, old, new, said = BROKEN[case]
    tiny.edit(name, old, new)
    assert said in refused()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("base.yaml", "base.yaml' does not exist"),
        ("start.yaml", "start.yaml' does not exist"),
        ("measures.py", "measures.py: unknown contrast 'sum_of_values'"),
        ("checks.py", "checks.py: unknown check 'zero'"),
    ],
)
def test_a_file_that_something_needs_is_missed_before_anything_is_trained(tiny, refused, name, said):
    (tiny.folder / name).unlink()
    tiny.write("smoke.yaml", "{}")  # forgets what was imported
    assert said in refused()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0\0", b""])
def test_a_definition_that_is_no_text_is_one_line(tiny, refused, content):
    tiny.write("experiment.py", "")
    (tiny.folder / "experiment.py").write_bytes(content)
    assert "experiments/tiny/experiment.py" in refused()


def test_a_figure_file_that_cannot_be_imported_is_one_line(tiny, refused):
    tiny.write("figures.py", "def curve(:\n")
    assert "experiments/tiny/figures.py: SyntaxError" in refused()


def test_without_measures_checks_and_figures_there_are_none(tiny):
    for name in ("measures.py", "checks.py"):
        (tiny.folder / name).unlink()
    text = (tiny.folder / "experiment.py").read_text()
    begin, end = text.index('        claim("L2-sum"'), text.index("    ],\n)")
    tiny.write("experiment.py", (text[:begin] + text[end:]).replace('measures=("twice_accuracy",)', "measures=()"))
    answer = tiny.run("--scale=smoke")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("others", ["", "    - {class_path: GradientFlow}\n"])
def test_without_a_checkpoint_in_base_yaml_runs_are_stacked_all_the_same(tiny, others):
    text = (tiny.folder / "base.yaml").read_text()
    tiny.write("base.yaml", text[: text.index("  callbacks:")] + (others and f"  callbacks:\n{others}"))
    tiny.edit("experiment.py", "initial/gradient/delta_a/layer_01", "train/loss")
    answer = tiny.run("--scale=smoke")
    assert (answer.code, answer.err) == (0, "")
    for seed in (1000, 1001):
        result = run_directory.read_result(Path("runs/tiny-smoke/base") / f"seed={seed}")
        assert (result["status"], result["stack"]) == ("ok", 2)
        assert "test/accuracy" in result["measures"]


LATE = {
    "a measure that raises": (M, "return 2 *", "return {}['x'] *", "measures.py, line 2, twice_accuracy: KeyError"),
    "a measure without a value": (M, 'return 2 * run["test/accuracy"]', "pass", "measures.py, twice_accuracy: TypeErr"),
    "a measure that asks for more": (M, "(run)", "(run, more)", "twice_accuracy: TypeError: twice_accuracy() missing"),
    "a layer that is not there": (E, "delta_a/layer_01", "delta_a/layer_09", "experiment.py: unknown measure 'init"),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE)
def test_what_only_a_run_can_tell_is_told_by_the_first_that_should_know(tiny, case):
    name, old, new, said = LATE[case]
    tiny.edit(name, old, new)
    answer = tiny.run("--scale=smoke")
    assert answer.code == 2
    assert answer.err.startswith("error: experiments/tiny/")
    assert answer.err.count("\n") == 1
    assert said in answer.err
    assert answer.out.count(": ok (") < 12  # of as many


def test_a_contrast_that_raises_is_one_line(tiny):
    tiny.edit("measures.py", "return sum", "return 1 / 0 + sum")
    answer = tiny.run("--scale=smoke")
    assert answer.code == 2
    said = "experiments/tiny/measures.py, line 5, sum_of_values: ZeroDivisionError: division by zero"
    assert answer.err == f"error: {said}\n"


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ('{"error": "x"}', "checks.py, zero: TypeError: it returns {'error': 'x'}, and not numbers by name"),
        ("None", "checks.py, zero: AttributeError"),
    ],
)
def test_a_check_without_numbers_fails_and_says_so(tiny, new, said):
    tiny.edit("checks.py", '{"error": 0.0, "draws": 1000.0}', new)
    answer = tiny.run("--scale=smoke")
    assert (answer.code, answer.err) == (1, "")
    assert answer.out.count(said) == 2
