"""`python -m experiments data`: a line for every data set, and how one that is absent is fetched, without a network."""

import dataclasses
import gzip
import hashlib
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from lightning import LightningDataModule

import datamodules
from datamodules.base import InMemoryDataModule
from datamodules.images import CIFAR10, MNIST, SVHN, FashionMNIST

CLASSES = [getattr(datamodules, name) for name in datamodules.__all__]
DOWNLOADED = [FashionMNIST, MNIST, SVHN, CIFAR10]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No network, and no package of the operating system."""

    def no_network(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    for cls in DOWNLOADED:
        monkeypatch.setattr(cls, "source", dataclasses.replace(cls.source, system=None))
    monkeypatch.setattr(datamodules, "__all__", list(dict.fromkeys([*datamodules.__all__, "MNIST", "SVHN", "CIFAR10"])))
    for cls in (MNIST, SVHN, CIFAR10):
        monkeypatch.setattr(datamodules, cls.__name__, cls, raising=False)


def entries(out: str) -> dict[str, str]:
    """The two lines about every data set, by its class."""
    lines = out.splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {first.split()[0]: f"{first} {second.strip()}" for first, second in pairs}


def write_mnist(folder: Path, monkeypatch, n: int = 30) -> None:
    """Put a small MNIST in the genuine format into a folder, and expect its digests."""
    folder.mkdir(parents=True)
    rng, digests = np.random.default_rng(0), {}
    for name in MNIST.source.sha256:
        values = rng.integers(0, 10, (n, 28, 28) if "images" in name else (n,), dtype=np.uint8)
        header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
        content = header + values.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        digests[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(MNIST, "source", dataclasses.replace(MNIST.source, sha256=digests))


def test_every_data_set_is_listed_with_all_there_is_to_know(command):
    answer = command("data")
    assert (answer.code, answer.err) == (0, "")
    listed = entries(answer.out)
    assert list(listed) == datamodules.__all__
    for name, text in listed.items():
        cls = getattr(datamodules, name)
        example = cls(batch_size="full", seed=0)
        shape = " × ".join(map(str, example.sample_shape))
        assert f" samples of {shape}" in text
        assert f", {example.num_classes} " in text
        for part in (cls.info.source, cls.info.licence, f"{cls.info.samples:,}" if cls.info.samples else "any"):
            assert part in text


def test_the_list_says_what_is_here(command, here, monkeypatch):
    write_mnist(here / "data" / "MNIST" / "raw", monkeypatch)
    listed = entries(command("data").out)
    assert "1,797 samples of 1 × 8 × 8, 10 classes; bundled" in listed["Digits"]
    assert "; found in data/MNIST/raw " in listed["MNIST"].replace("\\", "/")
    for cls in (FashionMNIST, SVHN, CIFAR10):
        assert f"; not here: {cls.info.download} to download " in listed[cls.__name__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_whether_a_download_is_here_is_never_taken_for_granted(cls, here):
    assert cls.info.outputs in ("classes", "labels", "columns")
    if cls.info.download:
        assert vars(cls).get("location") or cls.location.__func__ is not InMemoryDataModule.location.__func__
        assert cls.location() == ""
    else:
        assert cls.location()


@pytest.mark.parametrize("name", ["Digits", "digits"])
def test_one_data_set_by_either_name(command, name):
    answer = command("data", name)
    assert answer.code == 0
    digest = datamodules.Digits(batch_size=1, seed=0).sha256
    for part in ("1,797 handwritten digits of 8 × 8", datamodules.Digits.info.source, "CC BY 4.0", "bundled", digest):
        assert part in answer.out
    assert "Args:" not in answer.out


def test_one_that_is_here_is_read_and_verified(command, here, monkeypatch):
    write_mnist(here / "data" / "MNIST" / "raw", monkeypatch)
    answer = command("data", "mnist")
    assert answer.code == 0
    assert MNIST(batch_size=1, seed=0).sha256 in answer.out
    assert "70,000 handwritten digits" in answer.out
    assert (
        "shuffled once, the same way for every seed" in answer.out
    )  # from the class that it has in common with others
    path = here / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    monkeypatch.setattr(MNIST, "source", dataclasses.replace(MNIST.source))  # not the one that was read
    answer = command("data", "mnist")
    assert answer.code == 2
    assert answer.err.startswith("error: data")
    assert " is not the original: expected SHA-256 " in answer.err
    assert answer.err.count("\n") == 1


def test_one_that_is_absent_is_fetched(command, here, monkeypatch):
    write_mnist(here / "elsewhere", monkeypatch)

    def download(source, root):
        print("a progress bar", file=sys.stderr)
        (root / source.folder).parent.mkdir()
        (here / "elsewhere").rename(root / source.folder)

    monkeypatch.setattr(type(MNIST.source), "download", download)
    answer = command("data", "MNIST")
    assert answer.code == 0
    assert "not here: 12 MB to download" in answer.out
    assert answer.out.index("not here") < answer.out.index("found in data")
    assert answer.err == "a progress bar\n"
    assert "; found in data" in entries(command("data").out)["MNIST"]


@pytest.mark.parametrize("cls", DOWNLOADED)
def test_a_download_that_fails_is_one_line_within_seconds(command, cls):
    began = time.monotonic()
    answer = command("data", cls.__name__)
    assert time.monotonic() - began < 5
    assert answer.code == 2
    assert answer.err.startswith(f"error: {cls.source.name} is not in data")
    assert "Name or service not known" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cifar"], "unknown data set 'cifar'; did you mean 'cifar10'?"),
        (["FashionMNST"], "unknown data set 'FashionMNST'; did you mean 'FashionMNIST'?"),
        (["digits", "mnist"], "unknown option 'mnist'; valid: --help"),
        (["--all"], "unknown option '--all'; "),
    ],
)
def test_what_is_unknown_is_named(command, words, message):
    answer = command("data", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {message}")
    assert answer.err.count("\n") == 1


class Untold(InMemoryDataModule):
    """A data set that says nothing of itself."""

    name = "untold"


class Demanding(datamodules.Digits):
    """A data set that needs an argument of its own."""

    def __init__(self, demanded: int) -> None:
        super().__init__(batch_size=demanded)


class Foreign(LightningDataModule):
    """A data module of another project."""


@pytest.mark.parametrize(
    ("cls", "size"), [(Untold, "size unknown; place"), (Foreign, "size unknown; place"), (Demanding, "size unknown: ")]
)
def test_a_data_module_that_says_nothing_of_itself_is_listed_too(command, monkeypatch, cls, size):
    monkeypatch.setattr(datamodules, cls.__name__, cls, raising=False)
    monkeypatch.setattr(datamodules, "__all__", [cls.__name__, "Iris"])
    answer = command("data")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{cls.__name__:18} {size}")
    assert "Iris " in answer.out


def test_a_data_module_of_another_project_can_be_asked_about(command, monkeypatch):
    monkeypatch.setattr(datamodules, "Foreign", Foreign, raising=False)
    monkeypatch.setattr(datamodules, "__all__", ["Foreign"])
    answer = command("data", "Foreign")
    assert (answer.code, answer.err) == (0, "")
    assert "A data module of another project." in answer.out
