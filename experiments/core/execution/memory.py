"""Measures the available memory. Standard library only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Limit and use of memory of a container: control groups of version 2, and 1.
GROUPS = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def available() -> int:
    """Return the bytes that are available on this machine, or in the container of this process."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError):  # only Linux has it
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free += [int(line.split()[1]) * 2**10 for line in lines if line.startswith("MemAvailable:")]
    for limit, used in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # there is none, or it is "max"
            bound, now = (int((GROUPS / name).read_text(encoding="utf-8")) for name in (limit, used))
            free.append(bound - now)
    return max(min(free), 0)
