"""Removes environment variables that would change a run unasked. Does not import torch."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# Variables of launchers: the place of a process in a larger job.
LAUNCHERS = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "MPI_", "JSM_", "LSB_", "FLUX_", "TORCHELASTIC_", "KUBERNETES_")
RANKS = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK", "GLOBAL_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
}
# Lightning and jsonargparse read these as arguments.
ARGUMENTS = ("PL_", "LT_", "JSONARGPARSE_")
# Identify a run of Weights & Biases and its directory; variables about the server and the login stay.
WANDB_RUN = {
    f"WANDB_{word}"
    for word in ("RUN_ID", "RESUME", "NAME", "RUN_GROUP", "JOB_TYPE", "NOTES", "TAGS", "DIR", "CONFIG_PATHS")
}
# Figures are drawn to files; warnings are shown, never raised.
DISPLAY = {"MPLBACKEND", "PYTHONWARNINGS"}

# Matches every strategy that needs a launcher.
STRATEGY = re.compile(r"--trainer\.strategy[^\s=]*[= ](?!(auto|single_device)\b)")


def settle(args: Sequence[str]) -> None:
    """Remove the variables above from the environment of this process and of those that it starts.

    Args:
        args: the command line; with a strategy, the variables of launchers stay.
    """
    dropped = [*ARGUMENTS, *DISPLAY]
    if not STRATEGY.search(" ".join(args)):
        dropped += [*LAUNCHERS, *RANKS]
    # The agent of a sweep sets the run id.
    if list(args[:1]) != ["fit"] or "WANDB_SWEEP_ID" not in os.environ:
        dropped += WANDB_RUN
    for name in list(os.environ):
        if any(name == word or (word.endswith("_") and name.startswith(word)) for word in dropped):
            del os.environ[name]
    if sys.warnoptions:
        # Restore the filters of a plain Python; child processes inherit `sys.warnoptions`.
        sys.warnoptions.clear()
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
    # With a CUDA build of torch and no GPU, every optimiser step would look for one: 20 % of a small step.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    for stream in (sys.stdout, sys.stderr):
        # Print characters that the encoding lacks as escapes.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
