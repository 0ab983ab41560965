"""Under which circumstances a result came to be: versions, revision, machine."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "lightning", "torchvision", "torchmetrics", "numpy", "scipy", "scikit-learn", "pandas")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


@functools.cache
def git_revision() -> dict[str, Any]:
    """Commit the code stands at, and whether files differ from it; nulls outside a git checkout."""
    try:
        revision = _git("rev-parse", "HEAD")
        return {"commit": revision, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def environment(device: str) -> dict[str, Any]:
    """The ledger of one run.

    Args:
        device: what the run trained on, for example "cpu".
    """
    return {
        "versions": versions(),
        "git": git_revision(),
        "device": device,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
