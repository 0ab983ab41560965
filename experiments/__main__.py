"""The command line, `python -m experiments …`; `--help`, `list` and `claims` do not import torch."""

from __future__ import annotations

import sys

from experiments.core.commands.environment_variables import settle
from experiments.core.commands.parser import main

if __name__ == "__main__":
    settle(sys.argv[1:])
    # The program name in usage lines.
    sys.argv[0] = "python -m experiments"
    sys.exit(main(sys.argv[1:]))
