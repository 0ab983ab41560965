"""What goes wrong outside of this project, made to happen: a disk that is full, files that are damaged, memory used up.

Each fault is a context: what is wrong is wrong inside of it, and mended when it ends.
"""

from __future__ import annotations

import builtins
import contextlib
import csv
import ctypes
import dataclasses
import errno
import fnmatch
import io
import json
import os
import shlex
import shutil
import subprocess
import xml.etree.ElementTree
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from datamodules.base import Source
from datamodules.digits import Digits
from lightning_modules import FullyConnected

Context = Callable[["Scene"], AbstractContextManager[None]]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Where a fault happens: an empty current directory, and what was there before."""

    here: Path
    # `python -m experiments …`, in this process.
    call: Callable[..., Any]
    # A finished run, read only.
    trained: Path
    tiny: Any


class _FullDisk(io.FileIO):
    """A file on a disk that takes half of what is written, and then no more."""

    def write(self, content: Any) -> int:
        super().write(bytes(content)[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fileno(self) -> int:
        raise io.UnsupportedOperation("all is written by `write`")


def disk_full(pattern: str) -> Context:
    """The disk is full when a file is written whose path fits a pattern; temporary files are on another disk."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        opened, renamed, hits = io.open, os.rename, []

        def open_(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
                  newline: Any = None, *more: Any, **options: Any) -> Any:  # fmt: skip
            named = isinstance(file, str | os.PathLike) and fnmatch.fnmatch(str(file), pattern)
            if not (named and set(mode) & set("wax+")):
                return opened(file, mode, buffering, encoding, errors, newline, *more, **options)
            hits.append(str(file))
            buffer = io.BufferedWriter(_FullDisk(file, mode.translate(str.maketrans("", "", "bt+"))))
            return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline)

        def rename(source: Any, target: Any, **options: Any) -> None:
            if fnmatch.fnmatch(str(target), pattern) and not Path(source).resolve().is_relative_to(scene.here):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            renamed(source, target, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(io, "open", open_)
            patch.setattr(builtins, "open", open_)
            patch.setattr(os, "rename", rename)
            yield
        assert hits, f"nothing that fits {pattern} was written"

    return fault


def damaged(name: str, damage: Callable[[bytes], bytes]) -> Context:
    """A file of the scene holds other bytes than it did."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        path = scene.here / name
        original = path.read_bytes()
        path.write_bytes(damage(original))
        yield
        path.write_bytes(original)

    return fault


def one_bit(content: bytes) -> bytes:
    """Flip the highest bit of an exponent in the largest tensor of a checkpoint."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
        place = content.index(archive.read(largest)) + 4 * 100 + 3
    return content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :]


def samples(change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> Context:
    """The digits are others than those that are bundled."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        source = Digits(batch_size=1, seed=0).load()
        altered = Source(*change(source.x.clone(), source.y.clone()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Digits, "load", lambda _: altered)
            yield

    return fault


def one_column(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One pixel is not a number."""
    x = x.float()
    x[:, 20] = torch.nan
    return x, y


def one_label(label: int) -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The last of 1,797 labels is this one."""
    return lambda x, y: (x, y.index_fill(0, torch.tensor([len(y) - 1]), label))


def edited(name: str, old: str, new: str) -> Context:
    """A file of the tiny experiment says something else."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.tiny.edit(name, old, new)
        yield
        scene.tiny.edit(name, new, old)

    return fault


def a_file(name: str) -> Context:
    """A file lies where a directory should be."""

    @contextlib.contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        (scene.here / name).write_text("in its place")
        yield
        (scene.here / name).unlink()

    return fault


@contextlib.contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    """`runs/` may not be written to."""
    (scene.here / "runs").mkdir()
    (scene.here / "runs").chmod(0o555)
    yield
    (scene.here / "runs").chmod(0o755)


@contextlib.contextmanager
def no_memory(scene: Scene) -> Iterator[None]:
    """A step asks for more memory than any machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FullyConnected, "training_step", lambda *_: torch.empty(10**17))
        yield


@contextlib.contextmanager
def nothing(scene: Scene) -> Iterator[None]:
    """The fault is in the command."""
    yield


def outside(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, for which permissions hold even if it is the superuser's."""

    def drop_the_right_to_ignore_permissions() -> None:
        if os.getuid() == 0:
            # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: who executes a program does not get it back.
            ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)

    repository = Path(__file__).resolve().parents[1]
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=drop_the_right_to_ignore_permissions,
    )


def on_a_small_disk(place: Path, kilobytes: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has a disk of its own at a place, and leave a copy of that; skip where none can be had."""
    own = ("unshare", "--user", "--map-root-user", "--mount")
    mount = f"mount -t tmpfs -o size={kilobytes}k tmpfs {shlex.quote(str(place))}"
    if shutil.which(own[0]) is None or subprocess.run([*own, "sh", "-c", mount], check=False).returncode != 0:
        pytest.skip("this system lets no process have a disk of its own")
    words = shlex.join(str(word) for word in command)
    keep = f"code=$?; cp -R {shlex.quote(str(place))} {shlex.quote(str(place) + ' kept')}; exit $code"
    return outside(*own, "sh", "-c", f"{mount}; {words}; {keep}")


# What is whole, and what is torn.


def is_whole(path: Path) -> bool:
    """Whether a file has an end, as far as its kind shows."""
    content = path.read_bytes()
    try:
        return KINDS.get(path.suffix, lambda _: True)(content)
    except (ValueError, yaml.YAMLError, zipfile.BadZipFile, xml.etree.ElementTree.ParseError):
        return False


def _csv(content: bytes) -> bool:
    rows = list(csv.reader(io.StringIO(content.decode())))
    return content.endswith(b"\n") and len({len(row) for row in rows}) == 1


KINDS: dict[str, Callable[[bytes], bool]] = {
    ".json": lambda content: json.loads(content) is not None,
    ".yaml": lambda content: isinstance(yaml.safe_load(content), dict),
    ".csv": _csv,
    ".ckpt": lambda content: zipfile.ZipFile(io.BytesIO(content)).testzip() is None,
    ".svg": lambda content: xml.etree.ElementTree.fromstring(content) is not None,
    ".png": lambda content: content.endswith(b"IEND\xaeB`\x82"),
    ".gif": lambda content: content.endswith(b";"),
    ".html": lambda content: content.rstrip().endswith(b"</html>"),
}


def torn(here: Path) -> list[str]:
    """Files at their final names that are not whole, and temporary files that are left behind.

    What a run writes line by line is not final until its `result.json` says so; what loggers write is a view.
    """
    found = [path for path in here.rglob("*") if path.is_file() and path.suffix not in (".log", ".py")]
    running = [path for path in found if path.name == "metrics.csv" and not _is_finished(path.parent)]
    views = [path for path in found if path.parent.name == "csv" or "tfevents" in path.name]
    checked = [path for path in found if path not in running and path not in views]
    return [str(path.relative_to(here)) for path in checked if ".tmp" in path.name or not is_whole(path)]


def _is_finished(directory: Path) -> bool:
    result = directory / "result.json"
    return result.is_file() and is_whole(result) and json.loads(result.read_text())["status"] in ("ok", "diverged")


def finished(here: Path) -> dict[Path, bytes]:
    """The results of the runs that are finished."""
    return {path: path.read_bytes() for path in here.rglob("result.json") if _is_finished(path.parent)}
