"""Checkpoints, configs, results and metrics of others are data: refused in one line, never executed, never trusted."""

from __future__ import annotations

import builtins
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.core.execution import planner
from experiments.core.execution.planner import Planner
from experiments.core.files import checkpoints, run_directory
from experiments.core.files.errors import UserError
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.report import page
from experiments.core.training import rebuild


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.open, (str(self.mark), "w")


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


HIDING: dict[str, Callable[[dict[str, Any], Payload], bytes]] = {
    "in a checkpoint": lambda good, payload: saved({**good, "extra": payload}),
    "as hyper-parameters": lambda good, payload: saved({**good, "hyper_parameters": payload}),
    "as weights": lambda good, payload: saved({**good, "state_dict": {"network.output.weight": payload}}),
    "in the old format": lambda good, payload: saved({**good, "extra": payload}, _use_new_zipfile_serialization=False),
    "as a bare pickle": lambda _, payload: pickle.dumps(payload),
}


@pytest.fixture
def good(trained: Path) -> dict[str, Any]:
    """The content of the checkpoint of a run."""
    content: dict[str, Any] = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    return content


@pytest.fixture
def refused(command, here: Path, trained: Path) -> Callable[..., str]:
    """Give a subcommand a checkpoint that must be refused in one line, with nothing written."""

    def check(subcommand: str, content: bytes) -> str:
        (here / "theirs.ckpt").write_bytes(content)
        answer = command(subcommand, "--config", trained / "config.yaml", "--ckpt_path=theirs.ckpt")
        assert answer.code == 2, answer.out + answer.err
        assert answer.err.startswith("error: 'theirs.ckpt' ")
        assert answer.err.count("\n") == 1
        assert [path.name for path in here.iterdir()] == ["theirs.ckpt"]
        return answer.err

    return check


def test_the_payload_would_be_executed_by_a_pickle(here: Path):
    pickle.loads(pickle.dumps(Payload(here / "mark"))).close()
    assert (here / "mark").exists()


ATTEMPTS = [(name, place) for name in ("fit", "test") for place in HIDING]
ATTEMPTS += [("validate", "in a checkpoint"), ("predict", "in a checkpoint")]


@pytest.mark.parametrize(("subcommand", "place"), ATTEMPTS)
def test_a_malicious_checkpoint_is_refused_and_not_executed(refused, good, tmp_path_factory, subcommand, place):
    mark = tmp_path_factory.mktemp("elsewhere") / "mark"
    line = refused(subcommand, HIDING[place](good, Payload(mark)))
    assert "is not a checkpoint of a run, or it is damaged" in line
    assert not mark.exists()


# ModelCheckpoint removes the file, or the folder, that its state calls the worst checkpoint so far.
KEEPS = "{class_path: ModelCheckpoint, init_args: {dirpath: checkpoints, filename: best, monitor: val/loss}}"
ADDRESSES = (
    "{}",
    "local://{}",
    "/run/../../../../../../../../../../..{}",
    "file::local://{}",
    "http://127.0.0.1:9{}",
    "victim",
)


def naming(content: dict[str, Any], theirs: str) -> bytes:
    """The checkpoint, in which ModelCheckpoint's state calls something else the worst checkpoint so far."""
    (key,) = (key for key in content["callbacks"] if key.startswith("ModelCheckpoint"))
    state = {name: value for name, value in content["callbacks"][key].items() if name != "dirpath"}
    score = torch.tensor(9.0)
    state |= {"best_k_models": {theirs: score}, "kth_best_model_path": theirs, "kth_value": score}
    return saved({**content, "callbacks": {**content["callbacks"], key: state}})


@pytest.fixture
def words(base_yaml: Path) -> tuple[str | Path, ...]:
    """Of a small fit that keeps checkpoints to go on from."""
    small = ("--model.depth=1", "--data.num_train=128", "--trainer.logger=false", "--trainer.enable_progress_bar=false")
    return ("--config", base_yaml, f"--trainer.callbacks+={KEEPS}", *small, "--trainer.enable_model_summary=false")


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_checkpoint_that_names_other_places_deletes_nothing(command, words, here, address):
    whole = command("fit", *words, "--trainer.max_epochs=1").directory
    victim = here / "victim"
    victim.mkdir()
    theirs = torch.load(whole / "checkpoints" / "best.ckpt", weights_only=True)
    (here / "theirs.ckpt").write_bytes(naming(theirs, address.format(victim)))
    answer = command("fit", *words, "--trainer.max_epochs=2", "--ckpt_path=theirs.ckpt")
    assert answer.code == 0, answer.err
    assert victim.is_dir()
    assert (answer.directory / "checkpoints" / "best.ckpt").is_file()


NO_CHECKPOINTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a list": lambda good: [good],
    "hyper-parameters that are a list": lambda good: {**good, "hyper_parameters": [1]},
    "no hyper-parameters": lambda good: {**good, "hyper_parameters": None},
    "weights that are a number": lambda good: {**good, "state_dict": 3},
    "weights that are texts": lambda good: {**good, "state_dict": {"a": "b"}},
    "names that are numbers": lambda good: {**good, "state_dict": {1: torch.zeros(1)}},
    "no version": lambda good: {k: v for k, v in good.items() if k != "pytorch-lightning_version"},
    "a version that is none": lambda good: {**good, "pytorch-lightning_version": "<script>"},
}


@pytest.mark.parametrize("case", NO_CHECKPOINTS)
def test_absurd_checkpoints_are_refused(good, here: Path, case):
    (here / "theirs.ckpt").write_bytes(saved(NO_CHECKPOINTS[case](good)))
    with pytest.raises(UserError, match=r"'theirs\.ckpt' is not a checkpoint of a run, or it is damaged"):
        checkpoints.read_checkpoint(Path("theirs.ckpt"))


def test_a_checkpoint_as_it_is_written_is_one(trained: Path, good):
    assert checkpoints.read_checkpoint(trained / "checkpoints" / "best.ckpt").keys() == good.keys()


def test_a_checkpoint_of_another_project_is_not_blamed_on_its_seed(refused, good):
    theirs = {**good, "hyper_parameters": {"hidden_dim": 64, "lr": 0.1, "seed": 3}}
    assert "is of another network than FullyConnected: it has no '" in refused("test", saved(theirs))


def test_an_absurd_checkpoint_is_one_line(refused, good):
    assert "is not a checkpoint of a run" in refused("test", saved({**good, "hyper_parameters": [1]}))


def test_weights_alone_are_not_enough_to_go_on_from(refused, good):
    assert "holds weights only" in refused("fit", saved(good))


def test_weights_of_another_network_under_the_right_hyper_parameters_are_one_line(refused, good):
    refused("test", saved({**good, "state_dict": {"network.output.weight": torch.zeros(3)}}))


def test_a_checkpoint_with_compressed_parts_is_not_unpacked(good, here: Path):
    # torch writes none, and would read parts that are a thousand times as large in memory as on the disk.
    with zipfile.ZipFile(io.BytesIO(saved(good))) as plain, zipfile.ZipFile("packed.ckpt", "w") as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part), zipfile.ZIP_DEFLATED)
    assert torch.load("packed.ckpt", weights_only=True).keys() == good.keys()
    with pytest.raises(UserError, match="is not a checkpoint"):
        checkpoints.read_checkpoint(Path("packed.ckpt"))


# A run that others made.


def run_in(directory: Path) -> Run:
    return Run(Condition(()), 1000, directory, {}, {"status": "ok", "measures": {}})


CONFIGS = {
    "model: !!python/object/apply:os.system ['touch mark']\n": "is a tag, and a config has none",
    "model: !!python/object/new:pathlib.Path [mark]\n": "is a tag, and a config has none",
    "data: {class_path: os.path.join, init_args: {}}": "is neither this project's nor Lightning's",
    "data: {class_path: Digits, init_args: {no_such: 1}}": "is not the config of a run",
    "data: {class_path: Digits, init_args: 3}": "is not the config of a run: it names no data",
    "data: 3": "is not the config of a run: it names no data",
    "[1]": "holds no mapping",
    "": "holds no mapping",
}


@pytest.mark.parametrize("text", CONFIGS)
@pytest.mark.parametrize("build", [rebuild.data_of, rebuild.network_of])
def test_a_config_of_others_is_not_executed(here: Path, build, text):
    model = "\nmodel: {class_path: FullyConnected, init_args: {}}" if text.startswith("data") else ""
    (here / "config.yaml").write_text(text + model)
    with pytest.raises(UserError, match=CONFIGS[text]) as error:
        build(run_in(here))
    assert "\n" not in str(error.value)
    assert [path.name for path in here.iterdir()] == ["config.yaml"]


def test_a_measure_reads_no_pickle(here: Path, tmp_path_factory):
    from experiments.tools.measures import weight_norm

    mark = tmp_path_factory.mktemp("elsewhere") / "mark"
    (here / "checkpoints").mkdir()
    (here / "checkpoints" / "last.ckpt").write_bytes(saved({"state_dict": {"a": Payload(mark)}}))
    with pytest.raises(UserError, match="is not a checkpoint of a run"):
        weight_norm(run_in(here))
    assert not mark.exists()


RESULTS: dict[str, object] = {
    "no mapping": [1],
    "no status": {"measures": {}},
    "status": {"status": ["ok"], "measures": {}},
    "measures": {"status": "ok", "measures": [1]},
    "a measure that is a text": {"status": "ok", "measures": {"a": "<script>"}},
    "a measure that is a list": {"status": "ok", "measures": {"a": [1]}},
    "a measure that is a truth": {"status": "ok", "measures": {"a": True}},
    "a measure that no float holds": {"status": "ok", "measures": {"a": 10**400}},
    "stack": {"status": "ok", "measures": {}, "stack": "<script>"},
    "environment": {"status": "ok", "measures": {}, "environment": [1]},
    "data": {"status": "ok", "measures": {}, "data": "x"},
    "no samples": {"status": "ok", "measures": {}, "data": {"train": 0, "test": 1, "disjoint_test": False}},
    "samples": {"status": "ok", "measures": {}, "data": {"train": "a", "test": 1, "disjoint_test": False}},
}


@pytest.mark.parametrize("case", RESULTS)
def test_a_result_with_absurd_types_is_no_result(here: Path, case):
    (here / "result.json").write_text(json.dumps(RESULTS[case]))
    assert run_directory.read_result(here) is None


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\ud800".encode("utf-8", "replace")])
def test_a_result_that_breaks_a_parser_is_no_result(here: Path, text):
    (here / "result.json").write_bytes(text.encode() if isinstance(text, str) else text)
    assert run_directory.read_result(here) is None


def test_a_result_as_it_is_written_is_one(trained: Path):
    assert run_directory.read_result(trained) == json.loads((trained / "result.json").read_text())


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "epoch,step,metric,value\nx,1,a,1\n", "epoch,step,metric,value\n1,1,a\n", "\x00", None]
)
def test_metrics_of_others_are_one_line(here: Path, text):
    if text is not None:
        (here / "metrics.csv").write_text(text)
    if text == "":
        assert run_in(here).series("a") == []
        return
    if text == "\x00":
        (here / "metrics.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"metrics\.csv' does not hold the metrics of a run"):
        run_in(here).series("a")


def test_a_run_with_an_absurd_result_is_missing(tiny, here: Path):
    plan = tiny.plan(scale="smoke")
    (task, *_), *_ = Planner(plan).run_tasks({}).values()
    for value, found in (("<script>", 0), (0.5, 1)):
        content = {"status": "ok", "config_hash": task.config_hash, "measures": {"a": value}}
        run_directory.write_json(task.directory / "result.json", content)
        assert len(planner.find_finished(plan, {}).runs) == found


@pytest.mark.parametrize("text", ["a\n1\n", "condition,lr,loss\nx,y,z\n", "condition,lr,loss,chosen,at_edge\nx\n"])
def test_a_table_of_tuning_that_is_none_is_one_line(here: Path, text):
    (here / "tuning.csv").write_text(text)
    with pytest.raises(UserError, match="does not hold what tuning tried"):
        page._tuned(here / "tuning.csv")


@pytest.mark.parametrize("text", ["a\n1\n", "condition,lr,loss,chosen\nbase,x,y,1\n", "\udcff"])
def test_a_report_of_values_that_tuning_did_not_choose_is_one_line(tiny, here: Path, text):
    plan = tiny.plan()
    plan.directory.mkdir(parents=True)
    (plan.directory / "tuning.csv").write_text(text, errors="surrogateescape")
    answer = tiny.call("report", "tiny", "--logger=csv")
    assert answer.code == 2
    assert answer.err.startswith(f"error: '{plan.directory / 'tuning.csv'}' does not hold what tuning tried")
    assert answer.err.count("\n") == 1
