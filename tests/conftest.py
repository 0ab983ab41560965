"""What tests share: the one door, called in this process, one small run to look at, and a network under a Trainer."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from heard import Heard
from hypothesis import settings
from made_images import made_images
from smoke_results import Shared
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from experiments.core.commands import parser
from lightning_modules import FullyConnected

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

EXPERIMENTS = Path(parser.__file__).resolve().parents[2]
FEATURES, CLASSES = 6, 3
# Little data for one epoch, and nothing drawn on the terminal; the network stays the real one.
SMALL = (
    "--trainer.max_epochs=1",
    "--data.num_train=256",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
)


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def directory(self) -> Path:
        """The run that a `fit` says it made, on its last line."""
        return Path(self.out.strip().splitlines()[-1]).resolve()


def call(*args: str | Path) -> Answer:
    """Go through the door `python -m experiments …`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = parser.main([str(arg) for arg in args])
        except SystemExit as end:  # --help and --print_config
            code = int(end.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(here: Path) -> Callable[..., Answer]:
    """`python -m experiments …` in an empty directory."""
    return call


@pytest.fixture
def fit(here: Path) -> Callable[..., Path]:
    """`python -m experiments fit …` in an empty directory, at smoke size; gives the run's directory."""

    def run(*args: str | Path) -> Path:
        answer = call("fit", *args, *SMALL)
        assert answer.code == 0, answer.err
        return answer.directory

    return run


@pytest.fixture
def fashion_mnist() -> Iterator[None]:
    """Made files in the place of Fashion-MNIST's."""
    with made_images():
        yield


@pytest.fixture(scope="session")
def base_yaml() -> Path:
    """The config of the first experiment."""
    return EXPERIMENTS / "vanishing" / "base.yaml"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, base_yaml: Path) -> Iterator[Path]:
    """The directory of one finished run of base.yaml at smoke size; nobody writes into it."""
    with contextlib.chdir(tmp_path_factory.mktemp("trained")):
        answer = call("fit", "--config", base_yaml, *SMALL)
        assert answer.code == 0, answer.err
        directory = answer.directory
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    yield directory
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """The results of all experiments, made when asked for; workers find each other's. Nobody changes their files."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return Shared(folder)


@pytest.fixture
def result() -> Callable[[Path], dict[str, Any]]:
    """The content of a run's result.json."""

    def read(directory: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((directory / "result.json").read_text())
        return content

    return read


@pytest.fixture
def network() -> Callable[..., FullyConnected]:
    """A FullyConnected in double precision: 3 hidden layers of 5 units if not said otherwise."""

    def build(**arguments: Any) -> FullyConnected:
        settings = {"depth": 3, "width": 5, "activation": "tanh", "optimizer": "sgd", "lr": 0.1, "seed": 0}
        if "hidden" in arguments:
            del settings["depth"], settings["width"]
        return FullyConnected(num_features=FEATURES, num_classes=CLASSES, **{**settings, **arguments}).double()

    return build


@pytest.fixture
def samples() -> Callable[..., tuple[Tensor, Tensor]]:
    """Inputs (n, 6) and targets (n,)."""

    def draw(n: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
        g = torch.Generator().manual_seed(seed)
        return torch.randn(n, FEATURES, generator=g, dtype=torch.float64), torch.randint(CLASSES, (n,), generator=g)

    return draw


@pytest.fixture
def train() -> Callable[..., lightning.Trainer]:
    """Fit a module on batches of 8 in a fixed order, with callbacks and nothing else around it."""

    def run(
        module: lightning.LightningModule,
        data: tuple[Tensor, Tensor],
        *callbacks: lightning.Callback,
        validation: tuple[Tensor, Tensor] | None = None,
        **options: Any,
    ) -> lightning.Trainer:
        quiet = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": Heard(),
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        trainer = lightning.Trainer(callbacks=list(callbacks), **{**quiet, **options})
        loaders = [DataLoader(TensorDataset(*part), batch_size=8) if part else None for part in (data, validation)]
        trainer.fit(module, *loaders)
        return trainer

    return run
