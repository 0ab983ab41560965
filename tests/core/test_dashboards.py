"""What TensorBoard and Weights & Biases are given, read back from their own files, against results.csv."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from read_back import student
from synthetic_results import EPOCHS, STEPS, table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from wandb.proto import wandb_internal_pb2

from experiments.core.report import dashboards
from experiments.core.report.drawing import Drawing
from experiments.core.verdicts.results import Results

pytest_plugins = ["results_fixtures"]

LAST = EPOCHS * STEPS
# Events and W&B's history hold single precision or its decimal form.
SINGLE = 1e-6


@pytest.fixture(scope="module")
def board(results: Results, drawn: dict[str, Drawing]) -> Path:
    """The dashboard, which replaces an earlier one."""
    (results.plan.directory / "dashboard" / "earlier").mkdir(parents=True)
    dashboards.publish(results, drawn)
    return results.plan.directory / "dashboard"


@pytest.fixture(scope="module")
def frame(results: Results) -> pd.DataFrame:
    return table(results)


def events(directory: Path) -> EventAccumulator:
    """All events of one run."""
    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def scalars(accumulator: EventAccumulator, tag: str) -> dict[int, float]:
    """Values of one tag by step; a step occurs once."""
    found = accumulator.Scalars(tag)
    assert len({event.step for event in found}) == len(found)
    return {event.step: event.value for event in found}


def test_one_run_a_trained_condition(results: Results, board: Path) -> None:
    trained = {c.name for c in results.plan.grid.conditions if "config" not in c.overrides}
    assert {path.name for path in board.iterdir()} == {*trained, "figures"}
    for path in board.iterdir():
        assert len(list(path.glob("events.out.tfevents.*"))) == 1, "an earlier file was left"


@pytest.mark.parametrize("condition", ["base", "activation=relu,depth=4,initialization=he,lr=tuned", "depth=4"])
@pytest.mark.parametrize("metric", ["train/loss", "val/loss", "val/accuracy", "gradient/delta_a/layer_02"])
def test_a_line_is_the_mean_over_seeds_with_its_interval(
    board: Path, frame: pd.DataFrame, condition: str, metric: str
) -> None:
    accumulator = events(board / condition)
    values = frame.loc[frame["condition"] == condition, metric]
    mean, low, high = student(values)
    last = LAST - 5 if metric.startswith("gradient") else LAST
    assert max(scalars(accumulator, metric)) == last
    assert scalars(accumulator, metric)[last] == pytest.approx(mean, rel=SINGLE)
    assert scalars(accumulator, f"interval/low/{metric}")[last] == pytest.approx(low, rel=SINGLE)
    assert scalars(accumulator, f"interval/high/{metric}")[last] == pytest.approx(high, rel=SINGLE)


def test_the_gradient_begins_at_initialisation(board: Path, frame: pd.DataFrame) -> None:
    values = frame.loc[frame["condition"] == "base", "initial/gradient/delta_a/layer_01"]
    assert scalars(events(board / "base"), "gradient/delta_a/layer_01")[0] == pytest.approx(values.mean(), rel=SINGLE)


def test_a_diverged_run_counts_as_long_as_it_is_finite(board: Path) -> None:
    shown = scalars(events(board / "normalization=layer"), "train/loss")
    assert set(shown) == {STEPS, 2 * STEPS, LAST}
    assert np.isfinite(list(shown.values())).all()


def test_hyper_parameters_come_with_the_mean_outcome(board: Path, frame: pd.DataFrame) -> None:
    condition = "activation=relu,depth=4,initialization=he,lr=tuned"
    accumulator = events(board / condition)
    rows = frame[frame["condition"] == condition]
    for name in ("test/accuracy", "test/loss"):
        assert scalars(accumulator, name) == {0: pytest.approx(rows[name].mean(), rel=SINGLE)}
    plugin = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(plugin).session_start_info.hparams
    assert started["activation"].string_value == "relu"
    assert started["depth"].number_value == 4
    assert started["lr"].number_value == 0.03
    plugin = accumulator.SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = plugin_data_pb2.HParamsPluginData.FromString(plugin).experiment.metric_infos
    shown = {metric.name.tag for metric in metrics}
    assert {"test/accuracy", "val/accuracy", "train/loss"} <= shown
    assert shown <= set(accumulator.Tags()["scalars"])


def test_figures_and_their_captions_are_in_a_run_of_their_own(board: Path, drawn: dict[str, Drawing]) -> None:
    accumulator = events(board / "figures")
    assert set(accumulator.Tags()["images"]) == {f"figures/{name}" for name in drawn}
    (image,) = accumulator.Images("figures/forest")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    width, height = (drawn["forest"].figure.get_size_inches() * 144).astype(int)
    assert (image.width, image.height) == (width, height)
    (text,) = accumulator.Tensors("figures/forest/text_summary")
    assert drawn["forest"].caption.en.encode() in text.tensor_proto.string_val[0]


def test_the_layout_draws_every_interval_as_a_margin(board: Path) -> None:
    (event,) = events(board / "figures").Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    series = {chart.title: chart.margin.series[0] for category in layout.category for chart in category.chart}
    assert {"train/loss", "val/loss", "val/accuracy", "gradient/delta_a/layer_08"} <= set(series)
    tags = set(events(board / "base").Tags()["scalars"])
    for metric, one in series.items():
        assert {one.value, one.lower, one.upper} <= tags
        assert (one.value, one.lower) == (metric, f"interval/low/{metric}")


def test_a_single_seed_has_a_line_and_no_interval(results: Results, tmp_path: Path) -> None:
    single = replace(
        results,
        plan=replace(results.plan, directory=tmp_path),
        runs=tuple(run for run in results.runs if run.seed == 1000),
    )
    dashboards.publish(single, {})
    tags = events(tmp_path / "dashboard" / "base").Tags()["scalars"]
    assert "val/accuracy" in tags
    assert not [tag for tag in tags if tag.startswith("interval/")]


def test_a_logger_nobody_asked_for_gets_nothing(results: Results, tmp_path: Path) -> None:
    dashboards.publish(replace(results, plan=replace(results.plan, logger="csv", directory=tmp_path)), {})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def offline(
    results: Results,
    drawn: dict[str, Drawing],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The one offline run that W&B is given, although it is published twice."""
    directory = tmp_path_factory.mktemp("wandb")
    here = replace(results, plan=replace(results.plan, logger="wandb", directory=directory))
    shutil.copytree(results.plan.directory / "figures", directory / "figures")
    with pytest.MonkeyPatch.context() as patch:
        # No key, no home to find one in.
        patch.delenv("WANDB_API_KEY", raising=False)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        dashboards.publish(here, drawn)
        dashboards.publish(here, drawn)
    (run,) = (directory / "wandb").glob("offline-run-*")
    return run


def test_wandb_holds_the_means_of_results_csv(offline: Path, frame: pd.DataFrame) -> None:
    history, summary = read_wandb(offline)
    for condition in ("base", "activation=relu,depth=4", "normalization=batch"):
        rows = frame[frame["condition"] == condition]
        for metric in ("train/loss", "val/loss", "val/accuracy"):
            last = history[LAST][f"{metric}/{condition}"]
            assert last == pytest.approx(rows[metric].mean(), rel=1e-12), (condition, metric)
        assert summary[f"test/accuracy/{condition}"] == pytest.approx(rows["test/accuracy"].mean(), rel=1e-12)
    start = frame.loc[frame["condition"] == "base", "initial/gradient/delta_a/layer_01"].mean()
    assert history[0]["gradient/delta_a/layer_01/base"] == pytest.approx(start, rel=1e-12)


def test_wandb_holds_the_figures(offline: Path, drawn: dict[str, Drawing]) -> None:
    history, _ = read_wandb(offline)
    images = {key: value for row in history.values() for key, value in row.items() if key.startswith("figures/")}
    assert {key.split("/")[1] for key in images} == set(drawn)
    for name, one in drawn.items():
        saved = offline.parents[1] / "figures" / f"{name}.png"
        assert (offline / "files" / str(images[f"figures/{name}/path"])).read_bytes() == saved.read_bytes()
        assert images[f"figures/{name}/caption"] == one.caption.en


def read_wandb(run: Path) -> tuple[dict[int, dict[str, object]], dict[str, object]]:
    """History by step, and the summary, of an offline run."""
    history: dict[int, dict[str, object]] = {}
    summary: dict[str, object] = {}
    (file,) = run.glob("*.wandb")
    for content in read_blocks(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        if row:
            history.setdefault(int(row["_step"]), {}).update(row)
        summary |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.summary.update}
    return history, summary


def read_blocks(content: bytes, block: int = 32768) -> Iterator[bytes]:
    """Records of a LevelDB log: blocks of 32 KiB, in them pieces with checksum, length and kind.

    Kinds: 1 whole, 2 first, 3 middle, 4 last piece of a record. The file itself opens with seven bytes of its own.
    """
    at, record = 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        record = (b"" if kind in (1, 2) else record) + content[at + 7 : at + 7 + length]
        if kind in (1, 4):
            yield record
        at += 7 + length
