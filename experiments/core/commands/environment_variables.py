"""Which variables of the environment decide something: few, whatever a shell or a scheduler exports. No torch."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# By which launchers tell a process its place in a larger job.
LAUNCHERS = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "MPI_", "JSM_", "LSB_", "FLUX_", "TORCHELASTIC_", "KUBERNETES_")
RANKS = {
    *("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "ROLE_RANK", "GLOBAL_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
}
# What Lightning and the parser would take for arguments that are given nowhere.
ARGUMENTS = ("PL_", "LT_", "JSONARGPARSE_")
# Which run of Weights & Biases this is, and where it is written; how to reach the server stays the person's to say.
WANDB_RUN = {
    f"WANDB_{word}"
    for word in ("RUN_ID", "RESUME", "NAME", "RUN_GROUP", "JOB_TYPE", "NOTES", "TAGS", "DIR", "CONFIG_PATHS")
}
# Figures are drawn to files; a warning is shown, and is never an error.
DISPLAY = {"MPLBACKEND", "PYTHONWARNINGS"}

# Those of one process need no launcher.
STRATEGY = re.compile(r"--trainer\.strategy[^\s=]*[= ](?!(auto|single_device)\b)")


def settle(args: Sequence[str]) -> None:
    """Leave to the environment only what is a person's to say in it, for this process and those that it starts.

    Args:
        args: the words of the command; one that asks for a strategy needs to know what its launcher says.
    """
    dropped = [*ARGUMENTS, *DISPLAY]
    if not STRATEGY.search(" ".join(args)):
        dropped += [*LAUNCHERS, *RANKS]
    # An agent of a sweep counts on the id that it gives.
    if list(args[:1]) != ["fit"] or "WANDB_SWEEP_ID" not in os.environ:
        dropped += WANDB_RUN
    for name in list(os.environ):
        if any(name == word or (word.endswith("_") and name.startswith(word)) for word in dropped):
            del os.environ[name]
    if sys.warnoptions:
        # As Python begins without any: processes that this one starts are given the options, too.
        sys.warnoptions.clear()
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
    # With a CUDA build of torch and no GPU, every optimiser step would look for one: 20 % of a small step.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    for stream in (sys.stdout, sys.stderr):
        # A letter that the terminal's encoding lacks is shown by its number.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
