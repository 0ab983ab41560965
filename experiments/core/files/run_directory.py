"""The files of a run: `config.yaml`, `metrics.csv`, `result.json`; written atomically, read strictly."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Required

from filelock import FileLock
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from experiments.core.files.errors import UserError, read_text
from experiments.core.files.json import Number, Positive, read_json

CONFIG, METRICS, RESULT = "config.yaml", "metrics.csv", "result.json"
# Arguments of loggers and callbacks that name a directory; a relative one is inside the run's directory.
PLACED = ("save_dir", "dirpath")
# Arguments that become the name of a file or folder in that directory.
NAMED = ("filename", "name", "version", "sub_dir")
# Folder of the resume checkpoints, while a run is trained.
RESUME = "resume"
# Files of an experiment.
TUNING, VERDICTS = "tuning.csv", "verdicts.json"
METRICS_HEADER = ("epoch", "step", "metric", "value")

# Options that change where or how a run is executed, but not its result.
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
    """Return a hash of everything that determines a run's result: model, data, optimisation, callbacks and seed.

    Args:
        config: the fully resolved config, as plain mappings.
    """
    trainer = {k: v for k, v in config["trainer"].items() if k not in _NOT_HASHED["trainer"]}
    data = dict(config["data"])
    data["init_args"] = {k: v for k, v in (data.get("init_args") or {}).items() if k not in _NOT_HASHED["data"]}
    decisive = {"seed": config["seed_everything"], "model": config["model"], "data": data, "trainer": trainer}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def place_inside(part: Any, run_dir: Path) -> None:
    """Move the relative `save_dir` and `dirpath` of a logger, a callback or a list of them into a run's directory.

    Raises:
        UserError: a path is outside of that directory.
    """
    if isinstance(part, list):
        for item in part:
            place_inside(item, run_dir)
        return
    arguments = None if part is None or isinstance(part, bool | str) else part.get("init_args")
    if arguments is None:
        return
    for key in (*PLACED, *NAMED):
        value = arguments.get(key)
        if not isinstance(value, str | Path):
            continue
        if leads_out(run_dir, value):
            raise UserError(f"{key} '{value}' leads out of the run's directory, where everything of a run is kept")
        if key in PLACED and not Path(value).is_absolute():
            arguments[key] = str(run_dir / value)


def leads_out(directory: Path, name: str | Path) -> bool:
    """Return whether a path, relative to a directory, is outside of it."""
    return "\0" in str(name) or not (directory / name).resolve().is_relative_to(directory.resolve())


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config by the last word of their key: of model, data and Trainer."""
    return {
        **{k: v for k, v in (config.get("trainer") or {}).items() if not isinstance(v, Mapping | list)},
        **((config.get("data") or {}).get("init_args") or {}),
        **((config.get("model") or {}).get("init_args") or {}),
    }


def check_writable(directory: Path) -> None:
    """Require a directory that exists or can be created, and is writable; change nothing.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        directory.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # handled below
    except (OSError, ValueError) as error:  # a name that is too long, a circle of links; a NUL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"results cannot be written to {str(directory)[:80]!r}: {reason}") from None
    there = next(path for path in (directory, *directory.absolute().parents) if os.access(path, os.F_OK))
    if not there.is_dir():
        raise UserError(f"results cannot be written to '{directory}': '{there}' is not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"results cannot be written to '{directory}': no permission to write in '{there}'")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` at the end, or is deleted after an error.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    # Keep the suffix: some writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        # If the parent is a file, there is nothing to remove.
        with contextlib.suppress(OSError):
            temporary.unlink()


def refuse_links(directory: Path) -> None:
    """Refuse to write to, or empty, a directory with links to files outside of it.

    Raises:
        UserError: the directory is a link, or contains one that leads out of it.
    """
    found = directory if directory.is_symlink() else next(_leading_out(directory, directory), None)
    if found is not None:
        raise UserError(f"'{found}' is a link that leads out of the run's directory: delete it")


def _leading_out(folder: Path, directory: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                yield from [path] if leads_out(directory, path.absolute()) else []
            elif entry.is_dir():
                yield from _leading_out(path, directory)


def empty(directory: Path, only: str = "") -> None:
    """Delete the content of a directory, or one entry; keep the directory, which may be locked.

    Raises:
        UserError: see `refuse_links`.
    """
    refuse_links(directory)
    for path in directory.iterdir():
        if path.name == only or not only:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically: a reader, or a crash, sees the old content or the new one."""
    # JSON can contain half a surrogate pair, which UTF-8 cannot encode.
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="")


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


@with_config(ConfigDict(extra="allow"))
class _Data(TypedDict, total=False):
    train: Positive
    test: Positive


@with_config(ConfigDict(extra="allow"))
class _Result(TypedDict, total=False):
    # The fields that are read, with the types that a run writes.
    status: Required[str]
    config_hash: str
    seed: int
    stack: int
    steps: int
    settings: dict[str, Any]
    data: _Data
    measures: dict[str, Number | None]
    environment: dict[str, Any]


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return the content of a run's `result.json`, or None if it is missing or damaged.

    A result may come from others: one whose values are not of the types that a run writes cannot be read either.
    """
    try:
        return {"measures": {}, "environment": {}, **read_json(directory / RESULT, _Result)}
    except (OSError, ValueError):
        return None


def append_metrics(path: Path, rows: Iterable[tuple[int, int, str, float]]) -> None:
    """Append rows (epoch, step, metric, value) to a `metrics.csv`; the header comes with the first."""
    new = not path.exists()
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(METRICS_HEADER)
            writer.writerows((epoch, step, name, repr(float(value))) for epoch, step, name, value in rows)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_metrics(path: Path) -> list[tuple[int, int, str, float]]:
    """Read back what `append_metrics` wrote.

    Raises:
        UserError: the file is missing, or a run did not write it.
    """
    try:
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
        return [(int(row["epoch"]), int(row["step"]), row["metric"], float(row["value"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"'{path}' does not hold the metrics of a run ({type(error).__name__}): delete its folder, and run it again"
        ) from error


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool) -> Iterator[None]:
    """Lock a directory against other processes; create it first, and remove it at the end if it is empty.

    The lock is a hidden file beside the directory, removed at the end. A killed process leaves the file, but no lock.

    Args:
        directory: the directory.
        wait: whether to wait until another process releases it.

    Raises:
        filelock.Timeout: another process holds it, and `wait` is false.
    """
    directory = directory.absolute()
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    file = directory.with_name(f".{directory.name}.lock")
    try:
        with FileLock(file, blocking=wait):
            try:
                yield
            finally:
                # Unlink before release: a waiting process notices, and creates a new file.
                with contextlib.suppress(OSError):
                    file.unlink()
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()
