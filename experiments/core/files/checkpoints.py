"""Checkpoint files: written atomically, and always loaded with `weights_only=True`."""

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
# Attributes in which Lightning's callbacks store paths of checkpoints, which they delete later.
PLACES = frozenset({"best_k_models", "best_model_path", "kth_best_model_path", "last_model_path"})


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints atomically; a resume checkpoint has a checksum, and the previous one is kept."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a temporary file, then rename it."""
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
                # A crash between these two lines leaves the previous checkpoint.
                target.replace(target.with_name(PREVIOUS))
        _sync(target.parent)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint without running any code in it."""
        if Path(path).parent.name == run_directory.RESUME:
            return read(Path(path))
        content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=True)
        # A fit must not test or delete the checkpoints of another fit.
        states = content.get("callbacks") or {}
        content["callbacks"] = {name: state for name, state in states.items() if PLACES.isdisjoint(state)}
        return content


def _sync(directory: Path) -> None:
    """Flush the entries of a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> dict[str, Any]:
    """Read a resume checkpoint.

    Raises:
        ValueError: the file is incomplete or changed.
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
    """Read a checkpoint that may come from somebody else, without running any code in it.

    Raises:
        UserError: the file cannot be read, is damaged, or is not the checkpoint of a run.
    """
    content = _load(path) if _is_intact(path) else None
    if not _is_checkpoint(content):
        raise UserError(f"'{path}' is not a checkpoint of a run, or it is damaged")
    assert isinstance(content, dict)
    return content


def _is_intact(path: Path) -> bool:
    """Return whether every part of an archive is uncompressed and matches its checksum, which torch ignores."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())
            return stored and archive.testzip() is None
    # A crafted file can make the parser raise anything.
    except Exception:
        return False


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # The message names the protocol of the refused pickle.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # As above; torch's messages also advise to allow code execution.
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
