"""The files of a run: `config.yaml`, `metrics.csv`, `result.json`; written whole or not at all, read back strictly."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.core.errors import UserError

CONFIG, METRICS, RESULT = "config.yaml", "metrics.csv", "result.json"
# Arguments of loggers and callbacks that name a place to write; a relative one lies in the run's directory.
PLACED = ("save_dir", "dirpath")
METRICS_HEADER = ("epoch", "step", "metric", "value")

# What changes where or how a run is executed, but not its result.
_NOT_HASHED = {
    "trainer": {
        "accelerator",
        "barebones",
        "default_root_dir",
        "devices",
        "enable_model_summary",
        "enable_progress_bar",
        "enable_autolog_hparams",
        "log_every_n_steps",
        "logger",
        "num_nodes",
        "profiler",
        "strategy",
    },
    "data": {"root"},
}


def config_hash(config: Mapping[str, Any]) -> str:
    """Fingerprint of what decides a run's result: model, data, optimisation, callbacks and seed.

    Args:
        config: the fully resolved config, as plain mappings.
    """
    trainer = {k: v for k, v in config["trainer"].items() if k not in _NOT_HASHED["trainer"]}
    trainer["callbacks"] = without_rate_monitor(trainer.get("callbacks"))
    data = dict(config["data"])
    data["init_args"] = {k: v for k, v in (data.get("init_args") or {}).items() if k not in _NOT_HASHED["data"]}
    decisive = {"seed": config["seed_everything"], "model": config["model"], "data": data, "trainer": trainer}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def without_rate_monitor(callbacks: Any) -> list[Any]:
    """Leave out what watches the rate for the dashboards: Lightning refuses it where there is no logger."""
    return [c for c in callbacks or [] if not c["class_path"].endswith(".LearningRateMonitor")]


def place_inside(part: Any, run_dir: Path) -> None:
    """Put the relative `save_dir` and `dirpath` of a logger, a callback or a list of them inside a run's directory."""
    if isinstance(part, list):
        for item in part:
            place_inside(item, run_dir)
        return
    arguments = part.get("init_args") if part is not None and not isinstance(part, bool) else None
    for key in PLACED:
        if arguments is not None and arguments.get(key) is not None and not Path(arguments[key]).is_absolute():
            arguments[key] = str(run_dir / arguments[key])


def keep_number_types(trainer: Any, asked: Any) -> None:
    """Undo a conversion between whole numbers and fractions: `limit_train_batches` 1 is a batch, and 1.0 all of them.

    Which of int and float a parser tries first depends on which of the two equal types `int | float` and `float | int`
    any imported package has written first, because Python keeps only one of them.

    Args:
        trainer: the trainer's arguments, mended in place.
        asked: the same, or some of them, in the types that they were given in.
    """
    for key, value in asked.items():
        if type(value) in (int, float) and type(trainer.get(key)) in (int, float) and trainer[key] == value:
            trainer[key] = value


def check_writable(directory: Path) -> None:
    """Find out, without leaving a trace, whether a directory exists or can be made, and written to.

    Raises:
        UserError: it cannot.
    """
    there = next(path for path in (directory, *directory.absolute().parents) if os.access(path, os.F_OK))
    if not there.is_dir():
        raise UserError(f"results cannot be written to '{directory}': '{there}' is not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"results cannot be written to '{directory}': no permission to write in '{there}'")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash, sees the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, atomically: a number that is not finite becomes null."""
    write_atomically(path, json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return the content of a run's `result.json`, or None where there is none that can be read."""
    return read_json(directory / RESULT) or None


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; an empty one where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def append_metrics(path: Path, rows: Iterable[tuple[int, int, str, float]]) -> None:
    """Append rows (epoch, step, metric, value) to a `metrics.csv`; the header comes with the first."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(METRICS_HEADER)
        writer.writerows((epoch, step, name, repr(float(value))) for epoch, step, name, value in rows)


def read_metrics(path: Path) -> list[tuple[int, int, str, float]]:
    """Read back what `append_metrics` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            (int(row["epoch"]), int(row["step"]), row["metric"], float(row["value"])) for row in csv.DictReader(file)
        ]
