"""Break a running experiment at random, again and again, and see that nothing is lost: `make chaos`.

A small experiment with dropout, BatchNorm, a schedule and two optimisers runs on two workers and saves ten times a
second. Faults from a list hit it at random times; the same command is given again until it ends. Then `results.csv`
and `verdicts.json` must have the bytes of a run that nothing hit, with no other process and no temporary file left;
and what was trained to the end must not have been trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.core.files import run_directory

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "storm"
BASE = """\
seed_everything: 1000
model:
  class_path: FullyConnected
  init_args: {depth: 3, width: 24, dropout: 0.2, normalization: batch, optimizer: adam, lr: 0.003, schedule: cosine}
data:
  class_path: Digits
  init_args: {batch_size: 32, augmentation: [shift]}
trainer:
  max_epochs: 6
  logger: false
  callbacks:
    - {class_path: GradientFlow, init_args: {every_n_steps: 20}}
"""
DEFINITION = '''\
"""Something to be broken."""

from experiments.core.definitions import Claim, Experiment, axes

experiment = Experiment(
    title="Storm", title_fr="Tempête",
    grid=[axes(optimizer=["adam", "sgd"], depth=[1, 3])],
    claims=[Claim("L47-storm", "s", "s", slide="s", kind="effect", measure="test/accuracy",
                  where={"optimizer": "adam"}, minus={"optimizer": "sgd"}, above=0.01)],
    figures=(),
)
'''
DOOR = """\
import sys
try:
    from experiments.core.commands import parser, run as runner
    from experiments.core.training import resume
except KeyboardInterrupt:  # `python -m experiments` imports all this behind its own handler
    sys.exit(130)
# Every worker reads this, too: it begins with the file that its parent was started from.
resume.EVERY_SECONDS = 0.1
if __name__ == "__main__":
    runner.show = lambda plan, chosen, pool, redraw: runner.judge(plan, chosen, pool)
    sys.exit(parser.main(sys.argv[1:]))
"""


class Storm:
    """The experiment in a directory of its own.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.tree = folder, folder / "tree"
        keep = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "experiments" / "core", self.tree / "experiments" / "core", ignore=keep)
        (self.tree / "experiments" / "__init__.py").touch()
        own = self.tree / "experiments" / NAME
        own.mkdir()
        files = {"base.yaml": BASE, "experiment.py": DEFINITION, "measures.py": "", "__init__.py": ""}
        for name, text in files.items():
            (own / name).write_text(text, encoding="utf-8")
        (self.tree / "door.py").write_text(DOOR, encoding="utf-8")

    @property
    def runs(self) -> Path:
        """Where the results are."""
        return self.folder / "runs"

    def start(self, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Give the command, in a process group of its own."""

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if before is not None:
                before()

        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        words = ["run", NAME, "--logger=csv", "--jobs=2", f"--runs={self.runs}"]
        return subprocess.Popen(
            [sys.executable, str(self.tree / "door.py"), *words],
            env=environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=prepare,
        )

    def outcome(self) -> dict[str, bytes]:
        """What must not depend on any fault."""
        return {name: (self.runs / NAME / name).read_bytes() for name in ("results.csv", "verdicts.json")}

    def complete(self) -> dict[Path, tuple[int, int]]:
        """The results of every stack of which none is missing, and which file each is."""
        found = dict[Path, tuple[int, int]]()
        for condition in {folder.parent for folder in self.runs.glob(f"{NAME}/*/seed=*")}:
            results = [folder / run_directory.RESULT for folder in condition.glob("seed=*")]
            if all((run_directory.read_result(path.parent) or {}).get("status") == "ok" for path in results):
                found |= {path: file_at(path) for path in results}
        return found

    def left_over(self) -> list[str]:
        """What should not be there once it has ended."""
        return [str(path) for pattern in (".*.tmp*", "resume") for path in self.runs.rglob(pattern)]


def file_at(path: Path) -> tuple[int, int]:
    """Tell one file from another that has taken its place, or that there is none."""
    if not path.is_file():
        return 0, 0
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


def workers_of(process: int) -> list[int]:
    """The workers of a parent: children of the process that it has started for making them."""

    def children(pid: int) -> list[int]:
        found = list[int]()
        # A process is listed under the thread that has started it, which need not be the main one.
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # that thread has ended
                found += map(int, path.read_text().split())
        return found

    return [worker for child in children(process) for worker in children(child)]


def wait_until_alone(group: int) -> bool:
    """Whether all processes of a group end within some seconds."""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def kill_a_worker(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """SIGKILL to one that works, or that waits."""
    workers = workers_of(process.pid)
    if workers:
        os.kill(dice.choice(workers), signal.SIGKILL)


def kill_the_parent(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """SIGKILL."""
    process.kill()


def terminate(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """SIGTERM to the parent, as a scheduler does."""
    process.terminate()


def interrupt(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """Ctrl-C reaches every process of a terminal's group."""
    os.killpg(process.pid, signal.SIGINT)


def kill_both(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """SIGKILL to a worker, and to the parent while it sees to that."""
    kill_a_worker(storm, process, dice)
    time.sleep(dice.uniform(0.0, 0.5))
    process.kill()


def power_loss(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """Everything is killed, and the file that was written last is cut short."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kinds = ("*.ckpt", "metrics.csv", "result.json")
    files = [path for kind in kinds for path in storm.runs.rglob(kind)]
    if files:
        latest = max(files, key=lambda path: path.stat().st_mtime_ns)
        stat = latest.stat()
        os.truncate(latest, dice.randrange(stat.st_size + 1))
        # It is torn, and no other one.
        os.utime(latest, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def bit_flip(storm: Storm, process: subprocess.Popen[str], dice: random.Random) -> None:
    """Everything is killed, and a bit of a checkpoint to go on from is turned over."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = sorted(storm.runs.rglob("resume/last.ckpt"))
    if found:
        path = dice.choice(found)
        content = bytearray(path.read_bytes())
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content)


def full_disk() -> None:
    """No file of this process or its children may grow beyond 20 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


FAULTS: dict[str, Callable[[Storm, subprocess.Popen[str], random.Random], None] | None] = {
    "a worker killed": kill_a_worker,
    "the parent killed": kill_the_parent,
    "a worker killed, then the parent": kill_both,
    "SIGTERM": terminate,
    "Ctrl-C": interrupt,
    "power loss, last file cut short": power_loss,
    "a bit of a checkpoint flipped": bit_flip,
    "disk full": None,
}


def hit(storm: Storm, name: str, dice: random.Random, seconds: float) -> str:
    """Start the experiment, let one fault happen within so many seconds, and wait for its end; give what went wrong."""
    fault, complete = FAULTS[name], storm.complete()
    process = storm.start(full_disk if fault is None else None)
    if fault is not None:
        end = time.monotonic() + dice.uniform(2.0, seconds)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        if process.poll() is None:
            fault(storm, process, dice)
    _, err = process.communicate()
    if "Traceback" in err:
        return f"a stack trace: {err.strip().splitlines()[-1]}"
    if not wait_until_alone(process.pid):
        return "processes are left behind"
    return trained_again(storm, complete)


def trained_again(storm: Storm, complete: dict[Path, tuple[int, int]]) -> str:
    """Say so if a result of a complete stack is another file by now."""
    changed = [path for path, file in complete.items() if file_at(path) != file]
    return f"trained again: {changed[0]}" if changed else ""


def finish(storm: Storm) -> str:
    """Give the command until it ends well; give what went wrong."""
    complete = storm.complete()
    for _ in range(3):
        process = storm.start()
        _, err = process.communicate()
        if process.returncode == 0:
            left = storm.left_over()
            return f"left behind: {left[0]}" if left else trained_again(storm, complete)
    return f"exit code {process.returncode}: {err.strip()[-300:]}"


def main(rounds: int, seed: int, most_seconds: float, faults: Sequence[str]) -> int:
    """Break it so many times, by these faults, and print the table.

    Returns:
        0 if nothing was lost, else 1.
    """
    dice, began = random.Random(seed), time.monotonic()
    injected, lost = Counter[str](), Counter[str]()
    differing, problems = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(Path(folder))
        problem = finish(storm)
        if problem:
            raise RuntimeError(f"it does not even run when nothing is broken: {problem}")
        # Imports, training and verdicts: whatever it does, a fault may meet it there.
        truth, seconds = storm.outcome(), time.monotonic() - began
        began = time.monotonic()

        def goes_on() -> bool:
            return sum(injected.values()) < rounds and time.monotonic() - began < most_seconds

        while goes_on():
            shutil.rmtree(storm.runs)
            names = list[str]()
            for name in dice.choices(faults, k=dice.randint(4, 9)):
                if goes_on():
                    names.append(name)
                    problems += [problem := hit(storm, name, dice, seconds)]
                    lost[name] += bool(problem)
                    injected[name] += 1
            problems += [finish(storm)]
            if storm.outcome() != truth:
                differing += 1
                lost.update(names)
    table = Table("fault", "injected", "survived", title=f"seed {seed}")
    for name in faults:
        table.add_row(name, str(injected[name]), str(injected[name] - lost[name]))
    console = Console()
    console.print(table)
    problems = [problem for problem in problems if problem]
    for problem in problems:
        console.print(problem, markup=False)
    console.print(f"{sum(injected.values())} faults, bytes differing: {differing}")
    return 1 if problems or differing else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=50, help="faults (default: 50)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the dice")
    parser.add_argument(
        "--seconds", type=float, default=560.0, help="after which there is no other fault, counted from the first"
    )
    parser.add_argument("--fault", action="append", choices=[*FAULTS], help="this one; may be repeated (default: all)")
    options = parser.parse_args()
    sys.exit(main(options.rounds, options.seed, options.seconds, options.fault or [*FAULTS]))
