"""One writer a directory: locks that the system lets go of when their process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a directory, which is made for it, and taken away again if it stays empty. Windows locks nothing.

    Args:
        directory: what is held.
        wait: until another process lets go of it.

    Yields:
        Whether it is held.
    """
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield from _held(directory, wait)
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


def _held(directory: Path, wait: bool) -> Iterator[bool]:
    if sys.platform == "win32":
        yield True
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)
