"""`data`: lists the data sets, and downloads one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lightning import LightningDataModule

import datamodules
from datamodules.base import InMemoryDataModule
from datamodules.files import DISK_ERRORS
from experiments.core.files.errors import UserError, check_known, say
from experiments.core.training.classes import description


@dataclass(frozen=True)
class _Entry:
    """Facts about a data set, as text."""

    size: str
    place: str
    source: str = "source unknown"
    licence: str = "unknown"


def call(options: argparse.Namespace) -> int:
    """Answer the command `data`."""
    show(options.name)
    return 0


def show(name: str | None = None) -> None:
    """List the data sets; or describe one, download it if it is missing, and read it.

    Args:
        name: of the class, or what the class calls itself in results; None for the list.

    Raises:
        UserError: there is no such data set, it cannot be downloaded, or its files are not the original ones.
        OSError: the disk does not take what is downloaded.
    """
    if name is None:
        for cls in _classes():
            entry = _entry(cls)
            say(f"{cls.__name__:18} {entry.size}; {entry.place}")
            say(f"{'':18} {entry.source}; licence: {entry.licence}")
        return
    known = {name: cls for cls in _classes() for name in (cls.__name__, getattr(cls, "name", cls.__name__))}
    check_known("data set", name, known)
    cls, entry = known[name], _entry(known[name])
    print(f"{cls.__name__}, in results {getattr(cls, 'name', 'unnamed')}\n")
    for described in cls.__mro__[: cls.__mro__.index(_base(cls))]:
        print(f"{description(described)}\n")
    say(f"{'size':8} {entry.size}, unless options say otherwise")
    say(f"{'source':8} {entry.source}")
    say(f"{'licence':8} {entry.licence}")
    say(f"{'place':8} {entry.place}")
    if issubclass(cls, InMemoryDataModule):
        _fetch(cls)
    say(f"{'options':8} python -m experiments fit --data.help {cls.__name__}")


def _fetch(cls: type[InMemoryDataModule]) -> None:
    """Read a data set, download it if it is missing, and print the digest of its content."""
    fetched = not cls.location()
    try:
        # The download shows a progress bar.
        content = _example(cls).sha256
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
        raise UserError(" ".join(str(error).split())) from error
    if fetched:
        say(f"{'':8} {_whereabouts(cls)}")
    say(f"{'SHA-256':8} {content}, of its content")


def _classes() -> list[type[LightningDataModule]]:
    return [getattr(datamodules, name) for name in datamodules.__all__]


def _base(cls: type[LightningDataModule]) -> type:
    return InMemoryDataModule if issubclass(cls, InMemoryDataModule) else LightningDataModule


def _entry(cls: type[LightningDataModule]) -> _Entry:
    """Return the facts about a data set; a class of another project may have none."""
    if not (issubclass(cls, InMemoryDataModule) and hasattr(cls, "info")):
        return _Entry("size unknown", "place unknown")
    return _Entry(_size(cls), _whereabouts(cls), cls.info.source, cls.info.licence)


def _example(cls: type[InMemoryDataModule]) -> InMemoryDataModule:
    """Build a data set with its defaults, without reading files."""
    return cls(batch_size="full", seed=0)  # type: ignore[call-arg]


def _size(cls: type[InMemoryDataModule]) -> str:
    try:
        example = _example(cls)
    except (TypeError, ValueError) as error:  # of a class without defaults
        return f"size unknown: {error}"
    samples = f"{cls.info.samples:,}" if cls.info.samples else "any number of"
    axes = example.sample_shape
    shape = " × ".join(map(str, axes)) if len(axes) > 1 else _counted(axes[0], "features")
    outputs = "target columns" if cls.info.outputs == "columns" else cls.info.outputs
    return f"{samples} samples of {shape}, {_counted(example.num_classes, outputs)}"


def _counted(number: int, words: str) -> str:
    return f"{number} {words.removesuffix('s') if number == 1 else words}"


def _whereabouts(cls: type[InMemoryDataModule]) -> str:
    found = cls.location()
    if not cls.info.download:
        return found
    return f"found in {found}" if found else f"not here: {cls.info.download} to download"
