"""The only door: `python -m experiments …`. It answers `--help`, `list` and `claims` without importing torch."""

from __future__ import annotations

import sys

from experiments.core.commands.environment_variables import settle
from experiments.core.commands.parser import main

if __name__ == "__main__":
    settle(sys.argv[1:])
    # What usage lines say.
    sys.argv[0] = "python -m experiments"
    sys.exit(main(sys.argv[1:]))
