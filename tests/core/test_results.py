"""From result.json to results.csv and to the one number a seed that a claim is about; runs made up, answers known."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.core.execution import planner, tuning
from experiments.core.execution.planner import Planner
from experiments.core.files import run_directory
from experiments.core.files.errors import UserError
from experiments.core.grid.conditions import Condition
from experiments.core.grid.runs import Run
from experiments.core.verdicts import per_seed
from experiments.core.verdicts.measures import largest_deviation
from experiments.core.verdicts.results import functions_of, public_functions, table, value_of

DATA = {"train": 60, "test": 30, "disjoint_test": False}


def made_up(plan, overrides, seed: int, status: str = "ok", data=DATA, **measures) -> Run:
    condition = plan.grid.condition(overrides)
    measures = {name.replace("__", "/"): value for name, value in measures.items()}
    result = {"status": status, "measures": measures, "data": data, "stack": 1}
    return Run(condition, seed, Path("nowhere"), {}, result)


def accuracies(plan, relu, sigmoid) -> list[Run]:
    return [
        made_up(plan, {"activation": name}, 1000 + k, test__accuracy=value)
        for name, values in (("relu", relu), ("sigmoid", sigmoid))
        for k, value in enumerate(values)
        if value is not None
    ]


def test_a_difference_pairs_the_runs_of_each_seed(tiny):
    plan = tiny.plan()
    sample = per_seed.collect(plan, accuracies(plan, [0.9, 0.8, 0.7], [0.1, 0.3, 0.5]), {})["L1-difference"]
    assert sample.values == pytest.approx([0.8, 0.5, 0.2])
    assert [arm.tolist() for arm in sample.arms] == [[0.9, 0.8, 0.7], [0.1, 0.3, 0.5]]
    assert (sample.n_diverged, sample.undecidable) == (0, "")
    assert sample.resolution == 1 / 30


def test_the_order_of_the_runs_does_not_matter(tiny):
    plan = tiny.plan()
    runs = accuracies(plan, [0.9, 0.8, 0.7], [0.1, 0.3, 0.5])
    sample = per_seed.collect(plan, [runs[k] for k in (5, 0, 3, 2, 4, 1)], {})["L1-difference"]
    assert sample.values == pytest.approx([0.8, 0.5, 0.2])


def test_a_missing_run_makes_its_claim_undecidable_and_drops_the_pair(tiny):
    plan = tiny.plan()
    sample = per_seed.collect(plan, accuracies(plan, [0.9, None, 0.7], [0.1, 0.3, 0.5]), {})["L1-difference"]
    assert sample.values == pytest.approx([0.8, 0.2])
    assert sample.undecidable == "1 of 3 seeds have a run that failed or is missing"
    nothing = per_seed.collect(plan, accuracies(plan, [], [0.1]), {})["L1-difference"]
    assert len(nothing.values) == 0
    assert nothing.undecidable.startswith("3 of 3 seeds")


def test_a_diverged_run_counts_as_its_claim_declares(tiny):
    plan = tiny.plan()
    runs = accuracies(plan, [0.9, None, 0.7], [0.1, 0.3, 0.5])
    runs.append(made_up(plan, {"activation": "relu"}, 1001, status="diverged"))
    sample = per_seed.collect(plan, runs, {})["L1-difference"]
    assert sample.values == pytest.approx([0.8, 0.1 - 0.3, 0.2])
    assert (sample.n_diverged, sample.undecidable) == (1, "")


@pytest.mark.parametrize(("disjoint", "overlap"), [(False, 0.5), (True, 0.0)])
def test_test_samples_that_seeds_share_are_reported(tiny, disjoint, overlap):
    plan, data = tiny.plan(), {**DATA, "disjoint_test": disjoint}
    runs = [
        made_up(plan, {"activation": name}, seed, data=data, test__accuracy=0.5)
        for name in ("relu", "sigmoid")
        for seed in (1000, 1001, 1002)
    ]
    assert per_seed.collect(plan, runs, {})["L1-difference"].overlap == overlap


def test_a_contrast_sees_the_runs_of_one_seed(tiny):
    plan, name = tiny.plan(), "initial__gradient__delta_a__layer_01"
    runs = [
        made_up(plan, {"config": "start", "activation": activation}, 1000 + k, **{name: value})
        for activation, values in (("sigmoid", (1.0, 2.0, 3.0)), ("relu", (10.0, 20.0, 30.0)))
        for k, value in enumerate(values)
    ]
    sample = per_seed.collect(plan, runs, {})["L2-sum"]
    assert sample.values.tolist() == [11.0, 22.0, 33.0]
    assert sample.overlap == 0.0  # not taken on a test sample
    assert sample.arms is None


def test_a_claim_with_its_own_n_takes_that_many_seeds(tiny):
    plan = tiny.plan()
    sample = per_seed.collect(plan, accuracies(plan, [0.1, 0.2, 0.3, 0.4, 0.5], []), {})["L3-more"]
    assert sample.values == pytest.approx([0.2, 0.4, 0.6, 0.8])
    few = tiny.plan(seeds=2)
    assert len(per_seed.collect(few, accuracies(few, [0.1, 0.2, 0.3], []), {})["L3-more"].values) == 2


def test_checks_become_errors_draws_and_counterexamples(tiny):
    measured = [{"error": 1e-9, "draws": 500.0}, {"error": 2e-9, "draws": 500.0, "counterexamples": 3.0}]
    checks = [
        Run(Condition(()), 1000 + k, Path("nowhere"), {}, {"status": "ok", "measures": measures})
        for k, measures in enumerate(measured)
    ]
    sample = per_seed.collect(tiny.plan(), [], {"zero": checks})["L4-check"]
    assert (sample.values.tolist(), sample.draws, sample.counterexamples) == ([1e-9, 2e-9], 1000, 3)
    assert sample.undecidable == ""


@pytest.mark.parametrize("there", [0, 1])
def test_a_check_that_failed_for_a_seed_decides_nothing(tiny, there):
    result = {"status": "ok", "measures": {"error": 0.0, "draws": 500.0}}
    checks = [Run(Condition(()), 1000, Path("nowhere"), {}, result)] * there
    sample = per_seed.collect(tiny.plan(), [], {"zero": checks})["L4-check"]
    assert sample.undecidable == f"{2 - there} of 2 checks failed or are missing"
    assert len(sample.values) == there


def test_contrasts_are_found_by_name(tiny):
    assert functions_of("tiny")["sum_of_values"]([(None, 1.0), (None, 2.0)]) == 3.0
    claims = tiny.plan().grid.experiment.claims
    per_seed.check_contrasts("tiny", claims)
    wrong = [replace(claim, contrast=claim.contrast and "sum_of_value") for claim in claims]
    with pytest.raises(UserError, match="unknown contrast 'sum_of_value'; did you mean 'sum_of_values'"):
        per_seed.check_contrasts("tiny", wrong)


def test_measures_are_found_by_name_or_read_from_the_run(tiny):
    run = made_up(tiny.plan(), {}, 1000, test__accuracy=0.4, broken=None)
    assert value_of("tiny", "twice_accuracy", run) == 0.8
    assert value_of("tiny", "test/accuracy", run) == 0.4
    assert math.isnan(value_of("tiny", "not/there", run))
    assert math.isnan(run["broken"])
    assert functions_of("tiny")["largest_deviation"] is largest_deviation
    assert "test/accuracy" not in functions_of("tiny")


def test_imports_and_helpers_are_no_measures(tiny):
    tiny.write(
        "measures.py", "from math import fsum\nfrom os.path import join\ndef _help(run): ...\ndef own(run): ...\n"
    )
    from experiments.core.grid import catalogue

    assert set(public_functions(catalogue.part("tiny", "measures"))) == {"own"}


def test_a_series_holds_what_was_recorded_of_one_metric(tmp_path):
    run_directory.append_metrics(tmp_path / "metrics.csv", [(0, 5, "val/loss", 3.0), (1, 10, "val/loss", 1.5)])
    run_directory.append_metrics(tmp_path / "metrics.csv", [(2, 15, "val/loss", 2.0), (2, 15, "train/loss", 0.1)])
    run = Run(Condition(()), 1000, tmp_path, {}, {"status": "ok", "measures": {}})
    assert run.series("val/loss") == [(0, 5, 3.0), (1, 10, 1.5), (2, 15, 2.0)]
    assert run.series("nothing") == []


def test_the_table_has_a_row_a_run(tiny):
    plan = tiny.plan()
    runs = [
        made_up(plan, {}, 1000, test__accuracy=0.25),
        made_up(plan, {"config": "start", "activation": "relu"}, 1001, status="diverged", initial__x=2.0),
    ]
    checked = made_up(plan, {}, 1000, error=0.5)
    frame = table("tiny", runs, ["twice_accuracy"], {"zero": [checked]})
    (check,) = frame[frame["condition"] == "check=zero"].to_dict("records")
    assert (check["seed"], check["status"], check["error"]) == (1000, "ok", 0.5)
    frame = frame[frame["condition"] != "check=zero"].drop(columns="error")
    assert list(frame.columns) == [
        *(
            "condition",
            "activation",
            "config",
            "seed",
            "status",
            "stack",
            "twice_accuracy",
            "test/accuracy",
            "initial/x",
        )
    ]
    assert frame["condition"].tolist() == ["base", "start,activation=relu"]
    assert frame["seed"].tolist() == [1000, 1001]
    assert frame["status"].tolist() == ["ok", "diverged"]
    np.testing.assert_array_equal(frame["twice_accuracy"], [0.5, math.nan])
    np.testing.assert_array_equal(frame["initial/x"], [math.nan, 2.0])
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(frame.to_csv(index=False))), frame, check_dtype=False)


def test_the_table_names_a_measure_that_does_not_exist(tiny):
    runs = [made_up(tiny.plan(), {}, 1000, test__accuracy=0.25)]
    with pytest.raises(UserError, match="unknown measure 'twice_acuracy'; did you mean 'twice_accuracy'"):
        table("tiny", runs, ["twice_acuracy"], {})


def finish(task, **content) -> None:
    """Leave the result that a run of a task leaves."""
    task.directory.mkdir(parents=True)
    found = {"status": "ok", "measures": {}, "config_hash": task.config_hash, **content}
    (task.directory / "result.json").write_text(json.dumps(found))


def test_settings_of_a_run_are_what_it_says_itself(tiny):
    plan = tiny.plan(overrides=("--model.width=32", "--model.init_args.gain=1e1"))
    tuned = plan.grid.condition({"activation": "relu", "lr": "tuned"})
    for first, *_ in Planner(plan).run_tasks({tuned: 0.25}).values():
        finish(first, settings=run_directory.settings_of(first.config))
    runs = {run.condition.name: run for run in planner.find_finished(plan, {tuned: 0.25}).runs}
    assert (runs["base"].settings["width"], runs["base"].settings["gain"]) == (32, 10.0)
    assert (runs["base"].settings["lr"], runs["activation=relu,lr=tuned"].settings["lr"]) == (0.1, 0.25)
    assert runs["start"].settings["limit_val_batches"] == 0
    assert (runs["start"].settings["config"], "config" in runs["base"].settings) == ("start", False)
    # Whatever the config files say by now.
    assert runs["base"].settings["batch_size"] == 32


def test_a_run_stores_its_settings_and_they_are_read_from_nowhere_else(tiny):
    assert tiny.run("--scale=smoke").code == 0
    plan = tiny.plan(scale="smoke", logger="csv")
    found = planner.find_finished(plan, tuning.untuned(plan))
    assert (len(found.runs), found.outdated) == (10, 0)
    stored = {run.condition.name: run.settings for run in found.runs}
    assert (stored["base"]["width"], stored["start"]["width"], stored["start,activation=relu"]["activation"]) == (
        *(8, 16),
        "relu",
    )
    assert (stored["base"]["max_epochs"], stored["base"]["batch_size"]) == (1, 32)


def test_runs_of_another_config_are_outdated_and_judge_nothing(tiny):
    """Of a run with another width, nothing is told under today's name, and nothing is official."""
    assert tiny.run().code == 0
    before = json.loads(Path("runs/tiny/verdicts.json").read_text())
    assert {verdict["id"] for verdict in before if verdict["effect"] is not None} >= {"L1-difference", "L2-sum"}
    tiny.edit("base.yaml", "width: 8", "width: 99")
    answer = tiny.call("report", "tiny", "--logger=csv")
    assert answer.code == 0, answer.err
    # Every run but those of `start`, which says its own width.
    assert answer.out.startswith("outdated, and not judged: 10 runs or checks of another version; again: python -m ")
    after = {verdict["id"]: verdict for verdict in json.loads(Path("runs/tiny/verdicts.json").read_text())}
    assert "failed or is missing" in after["L1-difference"]["undecidable"]
    assert after["L2-sum"] == next(verdict for verdict in before if verdict["id"] == "L2-sum")
    frame = pd.read_csv("runs/tiny/results.csv")
    assert set(frame["condition"]) == {"start", "start,activation=relu", "check=zero"}


@pytest.mark.parametrize(("status", "kept"), [("ok", True), ("diverged", True), ("failed", False)])
def test_failed_runs_are_not_results(tiny, status, kept):
    plan = tiny.plan()
    finish(Planner(plan).run_tasks({}).popitem()[1][0], status=status)
    assert bool(planner.find_finished(plan, {}).runs) == kept


# The files of a run.


def test_metrics_come_back_as_written(tmp_path):
    rows = [(0, 1, "a/b", 0.1), (1, 2, "c", math.inf), (1, 3, "c", -1e-300)]
    run_directory.append_metrics(tmp_path / "metrics.csv", rows[:1])
    run_directory.append_metrics(tmp_path / "metrics.csv", rows[1:])
    assert run_directory.read_metrics(tmp_path / "metrics.csv") == rows


def test_json_is_strict_and_written_whole(tmp_path):
    path = tmp_path / "deep" / "result.json"
    run_directory.write_json(path, {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "é": "é"})
    assert json.loads(path.read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "é": "é"}
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_a_crash_while_writing_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    run_directory.write_json(path, {"old": 1})

    def disk_full(_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        run_directory.write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "3"])
def test_an_unreadable_result_is_none(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    assert run_directory.read_result(tmp_path) is None
    assert run_directory.read_result(tmp_path / "nowhere") is None
    assert run_directory.read_result(tmp_path / "result.json") is None
