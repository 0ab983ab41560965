"""Ctrl-C at a moment when it cannot be taken."""

from __future__ import annotations

import signal

import pytest

from experiments.core.files.errors import interrupts_wait


def test_ctrl_c_in_the_middle_of_an_import_counts_at_its_end():
    steps = list[str]()

    def start() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            steps.append("imported")
        steps.append("went on")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["imported"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_where_ctrl_c_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
