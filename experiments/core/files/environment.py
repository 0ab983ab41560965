"""The environment of a result: versions, revision, machine, arithmetic."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = ("torch", "lightning", "torchvision", "torchmetrics", "numpy", "scipy", "scikit-learn", "pandas")


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


@functools.cache
def lock_hash() -> str | None:
    """Return the SHA-256 of `requirements.lock`; None if the file is missing."""
    lock = REPOSITORY / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def flags() -> dict[str, Any]:
    """Return the settings of torch that affect rounding; a program that embeds this code may change them."""
    return {
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "rounding": rounding(),
    }


@functools.cache
def rounding() -> str:
    """Return a fingerprint of how the CPU rounds: processors may sum and approximate in different orders.

    Returns:
        Hash of products, sums and functions of the sizes that networks here have; it takes milliseconds.
    """
    digest = hashlib.sha256()
    for dtype in (torch.float32, torch.float64):
        draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=dtype)
        batch, hidden = draw(64, 784), draw(10, 64, 64)
        images, filters = draw(16, 3, 28, 28), draw(8, 3, 3, 3)
        found = [batch, batch @ draw(784, 128), batch.T @ draw(64, 10), hidden @ draw(10, 64, 64)]
        found += [functional.conv2d(images, filters), hidden.sum(0), hidden.sum(-1), batch.mean(), batch.var(0)]
        found += [hidden.exp(), hidden.abs().log(), hidden.abs().sqrt(), hidden.tanh(), hidden.sigmoid(), hidden.erf()]
        found += [functional.log_softmax(hidden, -1), functional.layer_norm(hidden, [64])]
        for tensor in found:
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


@functools.cache
def git_revision() -> dict[str, Any]:
    """Return the commit of the code, and whether files differ from it; nulls outside a git checkout."""
    try:
        revision = _git("rev-parse", "HEAD")
        return {"commit": revision, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def describe(device: str) -> dict[str, Any]:
    """Return the environment of one run.

    Args:
        device: what the run trained on, for example "cpu".
    """
    return {
        "versions": versions(),
        "lock_sha256": lock_hash(),
        "git": git_revision(),
        "device": device,
        "threads": torch.get_num_threads(),
        "flags": flags(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def other_arithmetic(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe how two environments differ in what affects rounding; empty if the same seeds give the same bytes.

    Args:
        then: as `describe` returns it.
        now: the other one.
    """
    old, new = _arithmetic(then), _arithmetic(now)
    return ", ".join(
        f"{name} {old.get(name, 'not recorded')} -> {new[name]}" for name in new if old.get(name) != new[name]
    )


def _arithmetic(environment: Mapping[str, Any]) -> dict[str, Any]:
    decides = {"torch": environment.get("versions", {}).get("torch"), **environment.get("flags", {})}
    return decides | {name: environment.get(name) for name in ("device", "threads", "machine", "system")}
