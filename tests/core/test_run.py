"""`run`: what is missing is run and nothing else, what fails stops nothing, and the results are the same every time."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from experiments.core.files.run_directory import locked
from lightning_modules import FullyConnected

PLACE = Path("runs/tiny-smoke")
SMOKE_RUNS = ["base", "activation=relu", "activation=relu,lr=tuned", "start", "start,activation=relu"]


def stamps(place: Path) -> dict[str, int]:
    """When each result was written: a run that is run again gets a new one."""
    return {str(path.parent.relative_to(place)): path.stat().st_mtime_ns for path in place.rglob("result.json")}


def table(place: Path) -> list[dict[str, str]]:
    with (place / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def status(directory: Path) -> str:
    return json.loads((directory / "result.json").read_text())["status"]


@pytest.fixture(scope="session")
def cache() -> dict[str, Path]:
    """Where `ran` keeps its first outcome."""
    return {}


@pytest.fixture
def ran(tiny, here, cache, tmp_path_factory):
    """The tiny experiment after `run --scale=smoke`: 10 runs and 2 checks; made once and copied."""
    if "runs" not in cache:
        answer = tiny.run("--scale=smoke")
        assert answer.code == 0, answer.out + answer.err
        cache["runs"] = tmp_path_factory.mktemp("ran") / "runs"
        shutil.copytree("runs", cache["runs"])
    else:
        shutil.copytree(cache["runs"], "runs")
    return tiny


def test_every_run_and_check_is_there(ran):
    expected = {f"{name}/seed={seed}" for name in [*SMOKE_RUNS, "check=zero"] for seed in (1000, 1001)}
    assert set(stamps(PLACE)) == expected
    for name in expected:
        files = {path.name for path in (PLACE / name).iterdir()}
        wanted = {"result.json", "run.log"} | (set() if "check" in name else {"config.yaml", "metrics.csv", "csv"})
        assert files - {"checkpoints"} == wanted
    trained = {f"{name}/seed={seed}/checkpoints/best.ckpt" for name in SMOKE_RUNS[:3] for seed in (1000, 1001)}
    assert {str(path.relative_to(PLACE)) for path in PLACE.rglob("*.ckpt")} == trained
    assert [(row["condition"], row["seed"]) for row in table(PLACE)] == [
        (name, str(seed)) for name in [*SMOKE_RUNS, "check=zero"] for seed in (1000, 1001)
    ]


def test_each_run_is_the_fit_of_its_config(ran):
    """Run by itself, the same measures come back, up to the rounding of a stack."""
    for name in ("activation=relu/seed=1001", "start/seed=1000"):
        result = json.loads((PLACE / name / "result.json").read_text())
        again = json.loads(
            (ran.call("fit", f"--config={PLACE / name}/config.yaml").directory / "result.json").read_text()
        )
        assert again["measures"] == pytest.approx(result["measures"], rel=1e-4, abs=1e-6)
        assert (again["stack"], result["stack"]) == (1, 2)
        assert again["config_hash"] == result["config_hash"]
        assert result["seed"] == int(name[-4:])


def test_a_second_call_runs_nothing_again(ran):
    before, results = stamps(PLACE), (PLACE / "results.csv").read_bytes()
    answer = ran.run("--scale=smoke")
    assert answer.code == 0
    assert stamps(PLACE) == before
    assert "runs: 12 of 12 are there already" in answer.out
    assert "run again" not in answer.out
    assert (PLACE / "results.csv").read_bytes() == results


def test_a_deleted_run_is_run_again_with_its_stack_and_the_same_result(ran):
    before, results = stamps(PLACE), (PLACE / "results.csv").read_bytes()
    shutil.rmtree(PLACE / "start" / "seed=1001")
    answer = ran.run("--scale=smoke")
    after = stamps(PLACE)
    assert {name for name in after if after[name] != before[name]} == {"start/seed=1000", "start/seed=1001"}
    assert "runs: 10 of 12 are there already" in answer.out
    assert (PLACE / "results.csv").read_bytes() == results


def test_what_an_unfinished_run_left_is_swept_away(ran):
    results = (PLACE / "results.csv").read_bytes()
    (PLACE / "base" / "seed=1000" / "result.json").unlink()
    (PLACE / "base" / "seed=1000" / "rubbish").touch()
    assert ran.run("--scale=smoke").code == 0
    assert not (PLACE / "base" / "seed=1000" / "rubbish").exists()
    assert (PLACE / "results.csv").read_bytes() == results


def test_a_run_without_the_files_of_the_logger_is_run_again(ran):
    before = stamps(PLACE)
    shutil.rmtree(PLACE / "base" / "seed=1000" / "csv")
    assert ran.run("--scale=smoke").code == 0
    after = stamps(PLACE)
    assert {name for name in after if after[name] != before[name]} == {"base/seed=1000", "base/seed=1001"}


def test_runs_of_another_config_are_run_again_and_it_says_so(ran):
    before = stamps(PLACE)
    ran.edit("start.yaml", "width: 16", "width: 17")
    answer = ran.run("--scale=smoke")
    after = stamps(PLACE)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"{name}/seed={seed}" for name in ("start", "start,activation=relu") for seed in (1000, 1001)}
    assert "4 runs failed or were made by another version of the config: run again" in answer.out


def test_what_does_not_decide_the_result_runs_nothing_again(ran):
    before = stamps(PLACE)
    ran.edit("base.yaml", "max_epochs: 2", "max_epochs: 2\n  log_every_n_steps: 5\n  enable_model_summary: false")
    assert ran.run("--scale=smoke", "--jobs=7").code == 0
    assert stamps(PLACE) == before


def test_a_changed_check_is_checked_again(ran):
    before = stamps(PLACE)
    ran.edit("checks.py", '"error": 0.0', '"error": 1e-17')
    assert ran.run("--scale=smoke").code == 0
    after = stamps(PLACE)
    assert {name for name in after if after[name] != before[name]} == {"check=zero/seed=1000", "check=zero/seed=1001"}


def test_a_run_that_fails_stops_nothing_is_shown_and_is_tried_again(tiny, monkeypatch):
    def refuse(self, batch):
        if (self.activation, self.width) == ("sigmoid", 8):
            raise ValueError("not with\x1b[31m these\nbatches")

    usual = FullyConnected.validate_batch
    monkeypatch.setattr(FullyConnected, "validate_batch", refuse)
    answer, place = tiny.run("--scale=smoke", "--seeds=1"), Path("runs/tiny-smoke-seeds=1")
    assert answer.code == 1
    (line,) = [line for line in answer.out.splitlines() if "failed" in line]
    log = place / "base" / "seed=1000" / "run.log"
    assert "base seed=1000: failed" in line
    assert "not with\\x1b[31m these batches" in line
    assert str(log) in line
    assert "Traceback" in log.read_text()
    assert "Traceback" not in answer.out + answer.err
    assert {row["condition"] for row in table(place)} == {*SMOKE_RUNS, "check=zero"} - {"base"}
    before = stamps(place)
    assert tiny.run("--scale=smoke", "--seeds=1").code == 1
    assert stamps(place) == before  # what is finished stays
    monkeypatch.setattr(FullyConnected, "validate_batch", usual)
    assert tiny.run("--scale=smoke", "--seeds=1").code == 0
    assert {row["condition"] for row in table(place)} == {*SMOKE_RUNS, "check=zero"}


@pytest.mark.parametrize("seeds", ["1001", "1000, 1001"])
def test_a_check_that_crashes_is_shown_and_never_passes(ran, seeds):
    """Not even if the other seeds are sound."""
    ran.edit("checks.py", 'return {"error": 0.0', f'return {{"error": 1 / (seed not in ({seeds},)) - 1')
    answer = ran.run("--scale=smoke")
    assert answer.code == 1
    said = "; experiments/tiny/checks.py, line 2, zero: ZeroDivisionError: division by zero;"
    assert answer.out.count(said) == seeds.count("100")
    (verdict,) = [row for row in json.loads((PLACE / "verdicts.json").read_text()) if row["id"] == "L4-check"]
    assert verdict["verdict"] == "NONE"
    assert "checks failed or are missing" in verdict["undecidable"]


def test_a_crash_in_training_is_kept_with_its_error(tiny, monkeypatch):
    def crash(self):
        raise RuntimeError("the power\nfailed")

    monkeypatch.setattr(FullyConnected, "on_train_end", crash)
    answer, place = tiny.run("--scale=smoke", "--seeds=1"), Path("runs/tiny-smoke-seeds=1")
    assert answer.out.count("RuntimeError: the power failed") == 5
    assert status(place / "base" / "seed=1000") == "failed"
    assert status(place / "check=zero" / "seed=1000") == "ok"
    # Nothing is finished but a check, so nothing can be judged: still a failure and no mistake of the user's.
    assert (answer.code, answer.err) == (1, "")


def test_a_diverged_run_is_a_result(tiny):
    tiny.edit("base.yaml", "lr: 0.1", "lr: 1e30")
    tiny.edit("base.yaml", "activation: sigmoid", "activation: identity")
    tiny.write("experiment.py", (tiny.folder / "experiment.py").read_text().replace('"sigmoid"', '"identity"'))
    assert tiny.run("--scale=smoke", "--seeds=1").code == 0
    place = Path("runs/tiny-smoke-seeds=1")
    statuses = {row["condition"]: row["status"] for row in table(place)}
    assert statuses["base"] == "diverged"
    assert statuses["start"] == "ok"  # measured before its only step
    before = stamps(place)
    assert tiny.run("--scale=smoke", "--seeds=1").code == 0
    assert stamps(place) == before


def test_tuning_reaches_the_command_line_of_every_seed(tiny):
    answer, place = tiny.run("--seeds=2"), Path("runs/tiny-seeds=2")
    assert answer.code == 0, answer.out + answer.err
    with (place / "tuning.csv").open(newline="") as file:
        (chosen,) = [float(row["lr"]) for row in csv.DictReader(file) if row["chosen"] == "1"]
    assert chosen == 0.1
    for seed in (1000, 1001):
        config = yaml.safe_load((place / "activation=relu,lr=tuned" / f"seed={seed}" / "config.yaml").read_text())
        assert config["model"]["init_args"]["lr"] == chosen
    assert status(place / "tuning" / "activation=relu,lr=1e+30" / "seed=900") == "diverged"
    assert {row["seed"] for row in table(place)} == {"1000", "1001"}
    before = stamps(place)
    assert tiny.run("--seeds=2").code == 0
    assert stamps(place) == before


def test_overrides_change_every_run_and_nothing_official(ran):
    before = stamps(PLACE)
    assert ran.run("--scale=smoke", "--seeds=1", "--model.depth=3").code == 0
    assert stamps(PLACE) == before
    (play,) = [path for path in Path("runs").iterdir() if path.is_dir() and path != PLACE]
    for path in play.rglob("config.yaml"):
        assert yaml.safe_load(path.read_text())["model"]["init_args"]["depth"] == 3
    assert len(stamps(play)) == 6


def test_lines_say_how_far_it_is_where_there_is_no_terminal(tiny):
    lines = [line for line in tiny.run("--scale=smoke", "--seeds=1").out.splitlines() if line.startswith("[")]
    assert [line.partition("]")[0] for line in lines] == [f"[{k}/6" for k in range(1, 7)]
    assert all(": ok (" in line for line in lines)


def test_a_second_call_at_the_same_time_is_refused(tiny, here: Path):
    place = tiny.plan(scale="smoke").directory
    with locked(place, wait=False):
        answer = tiny.run("--scale=smoke")
    assert answer.code == 2
    assert answer.err == f"error: another call is at 'tiny' in '{place}': wait for it to end\n"
    assert not (here / "runs").exists()
    assert tiny.run("--scale=smoke").code == 0


def test_no_lock_is_left_and_the_file_of_a_killed_call_locks_nothing(tiny, here: Path):
    place = tiny.plan(scale="smoke").directory
    stale = [place.with_name(f".{place.name}.lock"), place / "base" / ".seed=1000.lock"]
    for file in stale:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert tiny.run("--scale=smoke").code == 0
    assert not list(here.rglob("*.lock"))


def test_temporary_files_of_a_killed_call_are_swept(tiny, here: Path):
    place = tiny.plan(scale="smoke").directory
    place.mkdir(parents=True)
    (place / ".results.77.tmp.csv").touch()
    assert tiny.run("--scale=smoke").code == 0
    assert not list(place.rglob(".*.tmp*"))
