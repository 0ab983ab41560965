"""Checkpoints as files: written whole or not at all, and read as data, whoever wrote them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from packaging.version import InvalidVersion, Version
from torch import Tensor

from experiments.core.files import run_directory
from experiments.core.files.errors import UserError, read_bytes

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
# Where Lightning's callbacks remember checkpoints, which they delete when there is a better one.
PLACES = frozenset({"best_k_models", "best_model_path", "kth_best_model_path", "last_model_path"})


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; those to go on from with a checksum, and the one before is kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write beside the target, then take its place."""
        target, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)
        if target.parent.name != run_directory.RESUME:
            with run_directory.replacing(target) as temporary:
                temporary.write_bytes(content.getvalue())
            return
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        with run_directory.replacing(target) as temporary:
            temporary.write_bytes(f"{digest}\n".encode() + content.getvalue())
            if target.is_file():
                # Between these two lines there is no last one, and the previous one is whole.
                target.replace(target.with_name(PREVIOUS))
        _sync(target.parent)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote, or another checkpoint, without running any code in it."""
        if Path(path).parent.name == run_directory.RESUME:
            return read(Path(path))
        content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        # The checkpoints of another fit are not this one's to test or to delete.
        states = content.get("callbacks") or {}
        content["callbacks"] = {name: state for name, state in states.items() if PLACES.isdisjoint(state)}
        return content


def _sync(directory: Path) -> None:
    """Have the names in a directory written, too."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint to go on from.

    Raises:
        ValueError: it is torn, or not what was written.
    """
    digest, _, content = read_bytes(path).partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(f"'{path}' is damaged: its content has another checksum than the one it begins with")
    try:
        found: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    return found


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that may come from others; nothing in it is executed.

    Raises:
        UserError: it cannot be read, is damaged, or is no checkpoint of a run.
    """
    content = _load(path) if _is_intact(path) else None
    if not _is_checkpoint(content):
        raise UserError(f"'{path}' is not a checkpoint of a run, or it is damaged")
    assert isinstance(content, dict)
    return content


def _is_intact(path: Path) -> bool:
    """Whether every part of an archive is stored plainly and has its checksum, which torch does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())
            return stored and archive.testzip() is None
    # What a file of others makes a parser raise is in no list.
    except Exception:
        return False


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # It says by which protocol a refused pickle was written.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # As above; among them what advises to allow code to be executed.
    except Exception:
        return None


def _is_checkpoint(content: Any) -> bool:
    if not isinstance(content, dict):
        return False
    parts = [content.get(name) for name in ("hyper_parameters", "state_dict")]
    if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts):
        return False
    try:
        Version(str(content.get("pytorch-lightning_version")))
    except InvalidVersion:
        return False
    return all(isinstance(value, Tensor) for value in content["state_dict"].values())
