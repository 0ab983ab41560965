"""Ctrl-C at a moment when it can be taken."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C take effect at the end: in the middle of its own import, torch would abort the process."""
    if threading.current_thread() is not threading.main_thread():  # signals do not reach it
        yield
        return
    came = list[int]()
    usual = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if came:
        signal.raise_signal(signal.SIGINT)
