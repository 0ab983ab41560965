"""The pool as it is: real workers, Ctrl-C and a killed worker in the middle, and the same bytes in the end."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.core.commands import parser

REPOSITORY = Path(parser.__file__).resolve().parents[3]
# So many runs that Ctrl-C finds most of them still to be done.
LINE = ("run", "tiny", "--logger=csv", "--scale=smoke", "--seeds=40")
RESULTS = Path("runs/tiny-smoke-seeds=40")
STACKS = (10,) * 4  # of the seeds of a condition
TOTAL = 5 * sum(STACKS) + 2  # runs and checks
DOOR = """
import sys

if __name__ == "__main__":
    from experiments.core.commands import parser, run as runner

    # Neither figures nor report: they have tests of their own.
    runner.show = lambda plan, chosen, pool, redraw: runner.judge(plan, chosen, pool)
    sys.exit(parser.main(sys.argv[1:]))
"""


@pytest.fixture
def start(tiny, here: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start `run tiny` with two workers, in a process group of its own as a terminal does."""
    tree = here / "tree"
    shutil.copytree(REPOSITORY / "experiments" / "core", tree / "experiments" / "core",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    shutil.copytree(tiny.folder, tree / "experiments" / "tiny")
    (tree / "experiments" / "__init__.py").touch()
    (tree / "door.py").write_text(DOOR)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def process() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(tree / "door.py"), *LINE, "--jobs=2"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Where the tests are started in the background, they and their children would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return process


def results() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in RESULTS.rglob("result.json")}


def whole(path: Path) -> bool:
    """Whether all that was trained with this run is there: a stack is begun again as a whole."""
    seed = int(path.parent.name.removeprefix("seed="))
    others = [path.parents[1] / f"seed={other}" / path.name for other in range(1000, 1040) if other // 10 == seed // 10]
    return "check" in str(path) or all(other.exists() for other in others)


def wait_for_results(process: subprocess.Popen[str], more_than: int) -> None:
    while len(results()) <= more_than:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def wait_until_alone(group: int) -> None:
    """No process of the group is left; the last ones may take a moment to go."""
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("processes are left behind")


def is_running_a_task(worker: int) -> bool:
    """Whether it holds a run's log open: killed while it waits for a task, a worker takes the pool's lock with it."""
    links = [link.readlink() for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
    return any(link.name == "run.log" for link in links)


def children_of(process: int) -> list[int]:
    # Of all its threads: one starts the workers.
    return [int(pid) for path in Path(f"/proc/{process}/task").glob("*/children") for pid in path.read_text().split()]


def kill_a_busy_worker(parent: int) -> None:
    # Workers are copies of a process that the parent has started for this.
    workers = [worker for child in children_of(parent) for worker in children_of(child)]
    for worker in itertools.cycle(workers):
        os.kill(worker, signal.SIGSTOP)
        if is_running_a_task(worker):
            os.kill(worker, signal.SIGKILL)
            return
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.01)


def wait_for_the_server(process: subprocess.Popen[str]) -> None:
    """Wait until the process of which workers are copies is there, and imports."""
    while not any(b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(process.pid)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers in /proc")
@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_ctrl_c_while_workers_start_says_no_more_than_at_any_other_time(start, tiny, seconds):
    process = start()
    wait_for_the_server(process)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert err == "interrupted; what is finished is kept, and the same command goes on from there\n"
    wait_until_alone(process.pid)


# Presses Ctrl-C when torch begins to be imported, and says at the end whether that was cut off.
CTRL_C_INSIDE_TORCH = """\
import atexit, importlib.abc, signal, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            sys.meta_path.remove(self)
            atexit.register(lambda: print("whole:", hasattr(sys.modules.get("torch"), "compile")))
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "words",
    [
        ["run", "vanishing", "--runs=runs"],  # torch comes with its checks
        ["run", "overfitting", "--runs=runs"],  # which has none
        ["fit", f"--config={REPOSITORY}/experiments/regression/base.yaml"],
        ["data"],
    ],
    ids=lambda words: " ".join(words[:2]).partition("=")[0],
)
def test_ctrl_c_never_cuts_the_import_of_torch_off(here: Path, words: list[str]):
    (here / "sitecustomize.py").write_text(CTRL_C_INSIDE_TORCH)
    environment = {**os.environ, "PYTHONPATH": f"{here}:{REPOSITORY}"}
    command = [sys.executable, "-m", "experiments", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stdout + done.stderr
    # The process of which workers are copies says so, too.
    assert set(done.stdout.splitlines()) == {"whole: True"}
    assert done.stderr.startswith("interrupted")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers in /proc")
def test_a_killed_worker_and_ctrl_c_cost_nothing_but_time(start, tiny):
    process = start()
    wait_for_results(process, more_than=0)
    kill_a_busy_worker(process.pid)
    before = len(results())
    wait_for_results(process, more_than=before + max(STACKS))
    # Ctrl-C reaches every process of a terminal's group.
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert err == "interrupted; what is finished is kept, and the same command goes on from there\n"
    assert ": failed" not in out
    wait_until_alone(process.pid)
    kept = {path: time for path, time in results().items() if whole(path)}
    assert min(STACKS) <= len(kept) < TOTAL

    # The same command goes on from there, and a run without any worker writes the same bytes.
    assert tiny.call(*LINE).code == 0
    assert len(results()) == TOTAL
    assert {path: results()[path] for path in kept} == kept
    assert tiny.call(*LINE, "--runs=elsewhere").code == 0
    for name in ("results.csv", "verdicts.json"):
        assert (RESULTS / name).read_bytes() == (Path("elsewhere") / RESULTS.name / name).read_bytes()
