"""The overview of an experiment in TensorBoard and Weights & Biases: one line a condition, and the figures.

Both are views. The single seeds log themselves, each in its own directory; nothing here is read back by the project.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.core.files.errors import read_bytes
from experiments.core.grid.runs import Run
from experiments.core.report.drawing import Drawing
from experiments.core.report.intervals import MeanInterval, history
from experiments.core.verdicts.results import Results

FOLDER = "dashboard"
LEARNING = ("train/loss", "val/loss", "val/accuracy")
OUTCOMES = ("test/accuracy", "test/loss")
GRADIENT = "gradient/delta_a/"


def publish(results: Results, figures: Mapping[str, Drawing]) -> None:
    """Write the overview of an experiment for the logger of its plan, and replace an earlier one.

    TensorBoard: `dashboard/<condition>/` holds the means over the seeds of a condition that was trained, their 95 %
    Student intervals, and its hyper-parameters with the mean outcome; `dashboard/figures/` holds the figures.
    Weights & Biases: one offline run in `wandb/` with the same means and figures.
    """
    if results.plan.logger == "tensorboard":
        _write_tensorboard(results, figures)
    elif results.plan.logger == "wandb":
        _write_wandb(results, figures)


def _trained(results: Results) -> dict[str, list[Run]]:
    """Return the validated runs by condition; networks that are only measured at initialisation have no curves."""
    found: dict[str, list[Run]] = {}
    for run in results.runs:
        found.setdefault(run.condition.name, []).append(run)
    return {name: runs for name, runs in found.items() if any("val/loss" in run.recorded for run in runs)}


def _lines(runs: list[Run]) -> dict[str, MeanInterval]:
    """Return the curves of a condition by step: losses, validation accuracy and the gradient of each layer."""
    layers = sorted({name for run in runs for name in run.recorded if name.startswith(GRADIENT)})
    lines = {metric: history(runs, metric) for metric in (*LEARNING, *layers)}
    return {metric: band for metric, band in lines.items() if len(band.x)}


def _outcomes(results: Results, condition: str) -> dict[str, float]:
    """Return the mean over seeds of each outcome."""
    rows = results.frame[results.frame["condition"] == condition]
    means = {name: float(rows[name].mean()) for name in OUTCOMES if name in rows}
    return {name: mean for name, mean in means.items() if mean == mean}


def _write_tensorboard(results: Results, figures: Mapping[str, Drawing]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = results.plan.directory / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    shown: set[str] = set()
    for condition, runs in _trained(results).items():
        lines = _lines(runs)
        with SummaryWriter(str(folder / condition)) as writer:
            for metric, band in lines.items():
                _write_band(writer, metric, band)
            outcomes = _outcomes(results, condition)
            for metric, value in outcomes.items():
                writer.add_scalar(metric, value)
            # Only settings of the config files and the condition, without defaults.
            settings = {name: runs[0].settings.get(name) for name in results.plan.grid.settings(runs[0].condition)}
            _write_hyperparameters(writer, settings, [*outcomes, *(m for m in lines if m in LEARNING)])
        shown.update(lines)
    with SummaryWriter(str(folder / "figures")) as writer:
        for name, drawing in figures.items():
            _write_png(writer, f"figures/{name}", results.plan.directory / "figures" / f"{name}.png")
            writer.add_text(f"figures/{name}", f"**{drawing.title.en}.** {drawing.caption.en}")
        if shown:
            writer.add_custom_scalars(_layout(shown))


def _write_png(writer: Any, name: str, path: Path) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary

    content = read_bytes(path)
    width, height = struct.unpack(">II", content[16:24])
    # `add_image` would decode the file and encode it again, which takes longer than drawing it.
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=content)
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]))


def _write_band(writer: Any, metric: str, band: MeanInterval) -> None:
    for index, step in enumerate(band.x.astype(int).tolist()):
        for tag, values in zip(_margin(metric), (band.mean, band.low, band.high), strict=True):
            if values[index] == values[index]:
                writer.add_scalar(tag, values[index], step)


def _margin(metric: str) -> list[str]:
    """Return the tags of mean, lower and upper end; the ends are in a section of their own."""
    return [metric, f"interval/low/{metric}", f"interval/high/{metric}"]


def _layout(metrics: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """Return the charts of the tab CUSTOM SCALARS: each metric with its interval as a margin."""
    layout: dict[str, dict[str, list[Any]]] = {}
    # The tab shows the charts of a section in reverse.
    for metric in sorted(metrics, reverse=True):
        section = metric.partition("/")[0]
        layout.setdefault(f"{section}, mean and 95 % interval over seeds", {})[metric] = ["Margin", _margin(metric)]
    return layout


def _write_hyperparameters(writer: Any, settings: Mapping[str, Any], metrics: list[str]) -> None:
    from torch.utils.tensorboard.summary import hparams

    plain = {k: v for k, v in settings.items() if isinstance(v, str | int | float | bool)}
    # `add_hparams` would create another run below this one.
    for summary in hparams(plain, dict.fromkeys(metrics, 0.0)):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary)


def _write_wandb(results: Results, figures: Mapping[str, Drawing]) -> None:
    import wandb

    plan = results.plan
    shutil.rmtree(plan.directory / "wandb", ignore_errors=True)
    by_step: dict[int, dict[str, float]] = {}
    outcomes: dict[str, float] = {}
    for condition, runs in _trained(results).items():
        lines = _lines(runs)
        outcomes |= {f"{name}/{condition}": mean for name, mean in _outcomes(results, condition).items()}
        for metric, band in lines.items():
            for step, mean in zip(band.x.astype(int).tolist(), band.mean.tolist(), strict=True):
                by_step.setdefault(step, {})[f"{metric}/{condition}"] = mean
    settings = wandb.Settings(silent=True, console="off")
    config = {"command": plan.command, "seeds": plan.seeds, "data": plan.grid.data, "scale": plan.grid.scale}
    with wandb.init(
        mode="offline",
        dir=str(plan.directory),
        project="runnable-lecture",
        name=plan.directory.name,
        config=config,
        settings=settings,
    ) as run:
        for step, means in sorted(by_step.items()):
            run.log(means, step=step)
        run.log({f"figures/{name}": _image(plan.directory, name, drawing) for name, drawing in figures.items()})
        run.summary.update(outcomes)
    # `run.finish` may return before the last rows are on the disk; `teardown` waits for them.
    wandb.teardown()


def _image(directory: Path, name: str, drawing: Drawing) -> Any:
    import wandb

    return wandb.Image(str(directory / "figures" / f"{name}.png"), caption=drawing.caption.en)
