"""What may come from others, read as data: no file can run code, name a place outside its run, or end in a stack trace.

Where a file is not what it should be, the answer is one line.
"""

from __future__ import annotations

import types
import typing
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from packaging.version import InvalidVersion, Version

from experiments.core.definitions import (
    CONFIRMED,
    FAIL,
    INCONCLUSIVE,
    INFERENTIAL,
    NONE,
    NOTE,
    PASS,
    REFUTED,
    Kind,
)
from experiments.core.errors import UserError
from experiments.core.verdicts import Verdict, read_verdicts

# Words that decide how a verdict is shown.
WORDS = {
    "kind": typing.get_args(Kind),
    "verdict": (CONFIRMED, REFUTED, INCONCLUSIVE, NONE, PASS, FAIL, NOTE),
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that Lightning or a stack of seeds wrote; nothing in it is executed.

    A checkpoint is a zip archive and holds a checksum of each of its parts, which torch does not look at: a flipped bit
    would be loaded without a word.

    Raises:
        UserError: it cannot be read, is damaged, is no checkpoint of a run, or names places outside of its run.
    """
    content = _load(path) if _is_intact(path) else None
    if not _is_checkpoint(content):
        raise UserError(f"'{path}' is not a checkpoint of a run, or it is damaged")
    assert isinstance(content, dict)
    refuse_places(content.get("callbacks"), path)
    return content


def refuse_places(state: Any, path: Path) -> None:
    """Refuse callbacks' states that could make a callback read, or delete, something outside of its run.

    ModelCheckpoint deletes what its state calls an earlier checkpoint: a folder, if it is one, by any address.

    Args:
        state: of the callbacks, as a checkpoint holds it.
        path: of the checkpoint, for the message.

    Raises:
        UserError: it has an address, or a path that climbs up.
    """
    for text in _texts(state):
        if ".." in PurePath(text).parts or "://" in text or "::" in text:
            raise UserError(f"'{path}' names a place outside of its run, '{text}', and is not used")


def _is_intact(path: Path) -> bool:
    """Whether every part of an archive has its checksum; a compressed part, which torch never writes, may be a bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(part.compress_type == zipfile.ZIP_STORED for part in archive.infolist())
            return stored and archive.testzip() is None
    # What a file of others makes a parser raise is in no list.
    except Exception:
        return False


def _load(path: Path) -> Any:
    import torch  # a second that reading results need not cost

    try:
        with warnings.catch_warnings():
            # It says by which protocol a refused pickle was written.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # As above; among them what advises to allow code to be executed.
    except Exception:
        return None


def _is_checkpoint(content: Any) -> bool:
    import torch

    if not isinstance(content, dict):
        return False
    parts = [content.get(name) for name in ("hyper_parameters", "state_dict")]
    if not all(isinstance(part, dict) and all(isinstance(key, str) for key in part) for part in parts):
        return False
    try:
        Version(str(content.get("pytorch-lightning_version")))
    except InvalidVersion:
        return False
    return all(isinstance(value, torch.Tensor) for value in content["state_dict"].values())


def _texts(value: Any) -> Iterator[str]:
    """Every text in nested mappings and lists, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def verdicts_in(path: Path) -> list[Verdict]:
    """Read a `verdicts.json` that may be of another version, or written by somebody else.

    Raises:
        UserError: it cannot be read, or a value is not of the type that a verdict has.
    """
    try:
        found = read_verdicts(path)
    except (OSError, ValueError, AttributeError, RecursionError):
        found = None
    if found is None or not all(map(_is_verdict, found)):
        raise UserError(f"'{path}' does not hold verdicts as this version writes them: run its experiment again")
    return found


def _is_verdict(row: Verdict) -> bool:
    typed = all(_fits(getattr(row, name), hint) for name, hint in typing.get_type_hints(Verdict).items())
    if not typed or any(getattr(row, name) not in words for name, words in WORDS.items()):
        return False
    # Without a threshold there is nothing that a number could be shown against.
    compared = row.threshold is not None and row.direction in ("above", "below", "within")
    return compared or (row.threshold is None and row.kind not in INFERENTIAL)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value that was JSON has the type of a field of `Verdict`; a number must be finite."""
    if isinstance(hint, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        if not isinstance(value, tuple) or (items[-1] is not ... and len(items) != len(value)):
            return False
        return all(_fits(item, kind) for item, kind in zip(value, [items[0]] * len(value), strict=True))
    if typing.get_origin(hint) is dict:
        key, kind = typing.get_args(hint)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, kind) for k, v in value.items())
    if hint is float:
        return type(value) in (int, float) and abs(value) < 2**1000  # false for nan
    # No count of a verdict needs more than a machine's word.
    return type(value) is hint and (hint is not int or abs(value) < 2**63)
