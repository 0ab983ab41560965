"""`python -m experiments data`: which data sets there are, whether they are on this machine, and how one gets there."""

from __future__ import annotations

import datamodules
from datamodules.base import InMemoryDataModule
from datamodules.files import DISK
from experiments.core.classes import description
from experiments.core.errors import UserError, check_known


def show(name: str | None = None) -> int:
    """List the data sets; or tell about one, download it if it is not here, and read it.

    Args:
        name: of the class, or what the class calls itself in results; None for the list.

    Raises:
        UserError: there is no such data set, it cannot be downloaded, or its files are not the original ones.
        OSError: the disk does not take what is downloaded.
    """
    if name is None:
        for cls in _classes():
            print(f"{cls.__name__:18} {_size(cls)}; {_whereabouts(cls)}")
            print(f"{'':18} {cls.about.source}; licence: {cls.about.licence}")
        return 0
    known = {name: cls for cls in _classes() for name in (cls.__name__, cls.name)}
    check_known("data set", name, known)
    cls = known[name]
    print(f"{cls.__name__}, in results {cls.name}\n")
    for described in cls.__mro__[: cls.__mro__.index(InMemoryDataModule)]:
        print(f"{description(described)}\n")
    print(f"{'size':8} {_size(cls)}, unless options say otherwise")
    print(f"{'source':8} {cls.about.source}")
    print(f"{'licence':8} {cls.about.licence}")
    print(f"{'place':8} {_whereabouts(cls)}", flush=True)
    fetched = not cls.found()
    try:
        # A progress bar comes with the download.
        content = _example(cls).sha256
    except OSError as error:
        if error.errno in DISK:
            raise
        raise UserError(" ".join(str(error).split())) from error
    if fetched:
        print(f"{'':8} {_whereabouts(cls)}")
    print(f"{'SHA-256':8} {content}, of its content")
    print(f"{'options':8} python -m experiments fit --data.help {cls.__name__}")
    return 0


def _classes() -> list[type[InMemoryDataModule]]:
    return [getattr(datamodules, name) for name in datamodules.__all__]


def _example(cls: type[InMemoryDataModule]) -> InMemoryDataModule:
    """Build a data set with its own defaults; it reads no file yet."""
    return cls(batch_size="full", seed=0)  # type: ignore[call-arg]


def _size(cls: type[InMemoryDataModule]) -> str:
    example = _example(cls)
    samples = f"{cls.about.samples:,}" if cls.about.samples else "any number of"
    axes = example.sample_shape
    shape = " × ".join(map(str, axes)) if len(axes) > 1 else _counted(axes[0], "features")
    outputs = "target columns" if cls.about.outputs == "columns" else cls.about.outputs
    return f"{samples} samples of {shape}, {_counted(example.num_classes, outputs)}"


def _counted(number: int, words: str) -> str:
    return f"{number} {words.removesuffix('s') if number == 1 else words}"


def _whereabouts(cls: type[InMemoryDataModule]) -> str:
    found = cls.found()
    if not cls.about.download:
        return found
    return f"found in {found}" if found else f"not here: {cls.about.download} to download"
