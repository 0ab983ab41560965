"""Whole processes: one that is told to end, one that inherits an environment, and the arithmetic of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.core.files import run_directory
from experiments.core.files.checkpoints import PREVIOUS
from experiments.core.grid import catalogue
from tests.core.test_asked_and_done import REPORTS
from tests.core.test_inherited_environment import INHERITED
from tests.core.test_resume import bytes_of, config, model
from tests.test_readme import CALLBACKS, COMMAND_LINE, EXAMPLE

REPOSITORY = catalogue.ROOT.parent
DOOR = """
import sys
from experiments.core.commands import parser
from experiments.core.training import resume
resume.EVERY_SECONDS = 0.05
if __name__ == "__main__":
    sys.exit(parser.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=["TERM", "KILL", "INT"])
def test_a_fit_that_is_told_to_end_goes_on_by_the_same_command(here, number):
    (config_file,) = config(here, {"trainer": {"max_epochs": 60}, "model": model(dropout=0.3)})
    (here / "door.py").write_text(DOOR)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def start(name: str) -> subprocess.Popen[str]:
        options = [f"--trainer.default_root_dir={here / name}", "--trainer.enable_progress_bar=false"]
        return subprocess.Popen(
            [sys.executable, "door.py", "fit", config_file, *options], cwd=here, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip

    process = start("cut")
    while not (here / "cut" / run_directory.RESUME / PREVIOUS).is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate()
    expected = {signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]
    assert process.returncode == expected, err
    if number == signal.SIGTERM:
        assert (run_directory.read_result(here / "cut") or {})["status"] == "interrupted"
        assert "goes on from there" in err
    for name in ("cut", "whole"):
        process = start(name)
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert bytes_of(here / "cut") == bytes_of(here / "whole")


@pytest.mark.parametrize("logger", ["TensorBoardLogger", "WandbLogger"])
def test_a_run_decides_for_itself(here, base_yaml, logger):
    def fit(name, **inherited):
        # A run whose curves go to Weights & Biases may say so on the terminal, and no more.
        arguments = (
            "{save_dir: ., offline: true}" if logger == "WandbLogger" else "{save_dir: ., name: '', version: ''}"
        )
        words = [
            *("fit", "--config", str(base_yaml), "--config", str(base_yaml.with_name("smoke.yaml"))),
            *(f"--trainer.default_root_dir={name}", "--data.num_train=256", f"--trainer.logger={logger}"),
            f"--trainer.logger.init_args={arguments}",
        ]
        ended = subprocess.run(
            [sys.executable, "-m", "experiments", *words],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **inherited},
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1] == name
        return (here / name / run_directory.METRICS).read_bytes(), ended.stderr

    numbers, _ = fit("plain")
    found, said = fit("inherited", **INHERITED)
    assert found == numbers
    assert "Traceback" not in said
    if logger == "WandbLogger":
        runs = [path.name.rpartition("-")[2] for path in here.glob("*/wandb/offline-run-*")]
        assert len(set(runs)) == 2
        assert "abcdefgh" not in runs


def test_the_fingerprint_of_the_arithmetic_is_that_of_the_processor_and_of_its_libraries():
    def elsewhere(**variables: str) -> str:
        code = "import torch; torch.set_num_threads(1)\n"
        code += "from experiments.core.files.environment import rounding; print(rounding())"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True, cwd=REPOSITORY).strip()

    usual = elsewhere()
    assert elsewhere() == usual
    # Stands in for another make: the same functions, by other instructions.
    assert elsewhere(ATEN_CPU_CAPABILITY="default") != usual


@pytest.mark.parametrize("words", REPORTS, ids=REPORTS.get)
def test_a_report_that_is_asked_for_is_shown(here, base_yaml, words):
    line = [sys.executable, "-m", "experiments", "fit", "--config", str(base_yaml), "--trainer.max_epochs=1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([*line, *words], check=True, capture_output=True, text=True, env=environment)
    assert {text for text in REPORTS.values() if text in done.stderr} == {REPORTS[words]}


EXAMPLES = {
    EXAMPLE: [],
    CALLBACKS: [],
    COMMAND_LINE: ["fit", f"--config={REPOSITORY}/experiments/vanishing/base.yaml", "--trainer.max_epochs=1"],
}


@pytest.mark.parametrize("text", EXAMPLES, ids=["example", "callbacks", "command line"])
def test_what_the_readme_shows_needs_nothing_else(here, text):
    """The imports that it names are enough."""
    (here / "example.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "example.py", *EXAMPLES[text]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
