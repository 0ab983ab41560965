"""The only door: `python -m experiments …`. It answers `--help`, `list` and `claims` without importing torch."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from experiments.core.commands import main

if __name__ == "__main__":
    # With a CUDA build of torch and no GPU, every optimiser step would look for one: 20 % of a small step.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    # A name may hold what the terminal's encoding has no letter for.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # What usage lines say.
    sys.argv[0] = "python -m experiments"
    sys.exit(main(sys.argv[1:]))
