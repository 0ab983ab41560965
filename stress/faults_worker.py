"""A check that ends its worker as long as there is a file called `fault`."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def check(seed: int) -> dict[str, float]:
    if seed == 1 and Path("fault").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"error": 0.0}
