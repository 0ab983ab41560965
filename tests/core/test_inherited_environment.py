"""What a shell, a notebook or a scheduler exports changes nothing that a run does."""

from __future__ import annotations

import os
import sys
import warnings

import pytest

from experiments.core.commands.environment_variables import settle

INHERITED = {
    # Every cell of a notebook
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # A task of a job, not the first
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "sweep",
    "SLURM_STEP_NODELIST": "node[1-4]",
    # torchrun, MPI and their kin
    "RANK": "1",
    "LOCAL_RANK": "1",
    "NODE_RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "nowhere.invalid",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "x",
    "OMPI_COMM_WORLD_RANK": "1",
    "JSM_NAMESPACE_RANK": "1",
    "KUBERNETES_PORT": "tcp://nowhere.invalid",
    # What libraries take for arguments
    "PL_TRAINER_MAX_EPOCHS": "9",
    "PL_TRAINER_DEVICES": "two",
    "PL_GLOBAL_SEED": "3",
    "JSONARGPARSE_DEBUG": "true",
    "JSONARGPARSE_DEFAULT_ENV": "true",
    # Another run's
    "WANDB_RUN_ID": "abcdefgh",
    "WANDB_RESUME": "must",
    "WANDB_DIR": "/nonexistent",
    # How to print
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "ascii",
    "COLUMNS": "1",
    "TERM": "dumb",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONOPTIMIZE": "2",
    "HOME": "/nonexistent",
    "TMPDIR": "/nonexistent",
}


def settled_warning(args):
    settle(args)
    warnings.warn("is shown", UserWarning, stacklevel=1)


@pytest.fixture
def inherited(monkeypatch):
    """A process that has inherited everything; gives what `settle` leaves of it."""

    def left(*args, **more):
        for name, value in {**INHERITED, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "warnoptions", ["error"])
        with pytest.warns(UserWarning, match="is shown"):
            settled_warning(args)
        return {*INHERITED, *more} & set(os.environ)

    return left


KEPT = {"COLUMNS", "TERM", "LC_ALL", "PYTHONUTF8", "PYTHONOPTIMIZE", "HOME", "TMPDIR", "PYTHONIOENCODING"}


def test_what_is_a_persons_to_say_is_kept(inherited):
    server = {"WANDB_MODE": "online", "WANDB_API_KEY": "k", "WANDB_PROJECT": "p", "HTTPS_PROXY": "http://proxy"}
    assert inherited("fit", **server) == {*KEPT, *server}
    assert sys.warnoptions == []


def test_who_asks_for_a_strategy_needs_the_launchers_word(inherited):
    launcher = {name for name in INHERITED if name.startswith(("SLURM", "RANK", "WORLD", "LOCAL", "NODE", "MASTER"))}
    assert launcher <= inherited("fit", "--trainer.strategy=ddp")
    assert launcher <= inherited("fit", "--trainer.strategy", "ddp")
    assert not launcher & inherited("fit")
    assert not launcher & inherited("fit", "--trainer.strategy=auto", "--model.depth=3")
    assert not launcher & inherited("fit", "--trainer.strategy", "single_device")


def test_a_run_of_a_sweep_keeps_the_id_that_its_agent_gives(inherited):
    assert "WANDB_RUN_ID" in inherited("fit", WANDB_SWEEP_ID="s")
    assert "WANDB_RUN_ID" not in inherited("run", "vanishing", WANDB_SWEEP_ID="s")
