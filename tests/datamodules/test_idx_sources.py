"""Finding, fetching and verifying files, with genuine IDX files and torchvision's own download."""

import gzip
import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from image_files import served

from datamodules import sources


def no_network(*_args, **_kwargs):
    raise socket.gaierror(-2, "Name or service not known")


def check(small_idx, found):
    parts = list(small_idx.arrays.values())
    for tensor, dtype, first, last in zip(found, (torch.uint8, torch.int64), parts[:2], parts[2:], strict=True):
        assert tensor.dtype == dtype
        np.testing.assert_array_equal(tensor, np.concatenate([first, last]))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["root", "root/FashionMNIST/raw", "system", "data/FashionMNIST/raw"])
def test_files_are_found_and_decoded(small_idx, tmp_path, monkeypatch, place, compressed):
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    small_idx.write(tmp_path / place, compressed)
    root = str(tmp_path / "root") if place.startswith("root") else None
    check(small_idx, sources.read(small_idx.source, root))


def test_a_home_directory_can_be_abbreviated(small_idx, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    small_idx.write(tmp_path / "mine")
    check(small_idx, sources.read(small_idx.source, "~/mine"))


def test_the_root_given_comes_first(small_idx, tmp_path):
    small_idx.write(tmp_path / "root")
    (small_idx.write(tmp_path / "system") / "t10k-labels-idx1-ubyte.gz").write_bytes(b"never read")
    check(small_idx, sources.read(small_idx.source, str(tmp_path / "root")))


def test_a_folder_that_lacks_a_file_is_passed_over(small_idx, tmp_path):
    (small_idx.write(tmp_path / "system") / "t10k-labels-idx1-ubyte.gz").unlink()
    small_idx.write(tmp_path / "data/FashionMNIST/raw")
    check(small_idx, sources.read(small_idx.source, None))


@pytest.mark.parametrize("place", ["nowhere", "root"])
def test_a_root_that_does_not_hold_the_files_is_refused_whoever_else_has_them(small_idx, tmp_path, place):
    (small_idx.write(tmp_path / "root") / "t10k-labels-idx1-ubyte.gz").unlink()
    small_idx.write(tmp_path / "system")
    with pytest.raises(FileNotFoundError, match=r"as root; or give no root, and install") as error:
        sources.read(small_idx.source, str(tmp_path / place))
    assert str(error.value).startswith(f"FashionMNIST is not in {tmp_path / place}, ")


def test_altered_content_is_refused(small_idx, tmp_path):
    path = small_idx.write(tmp_path / "root") / "train-images-idx3-ubyte.gz"
    content = bytearray(small_idx.contents["train-images-idx3-ubyte"])
    content[1000] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(OSError, match="not the original") as error:
        sources.read(small_idx.source, str(tmp_path / "root"))
    expected, found = small_idx.source.sha256["train-images-idx3-ubyte"], hashlib.sha256(content).hexdigest()
    assert str(error.value) == (
        f"{path} is not the original: expected SHA-256 {expected}, found {found}; delete or replace it"
    )


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda _: b"garbage", lambda _: b"", lambda b: b[:10] + b[11:]]
)
def test_a_damaged_archive_is_named(small_idx, tmp_path, damage):
    path = small_idx.write(tmp_path / "root") / "train-labels-idx1-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OSError, match=r"is damaged|is not the original") as error:
        sources.read(small_idx.source, str(tmp_path / "root"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_files_and_no_network_is_one_line_with_the_remedies(small_idx, tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    with pytest.raises(FileNotFoundError) as error:
        sources.read(small_idx.source, None)
    message = str(error.value)
    assert "\n" not in message
    for part in ("FashionMNIST", str(small_idx.source.system), "Name or service not known"):
        assert part in message
    for remedy in ("as root", "package dataset-fashion-mnist", "connect to the network"):
        assert remedy in message
    assert not list(Path("data").iterdir())
    assert socket.getdefaulttimeout() is None


def test_a_folder_that_cannot_be_made_is_one_line_too(small_idx):
    Path("data").write_text("a file, where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"downloading it failed \(.*File exists.*\)"):
        sources.read(small_idx.source, None)


@pytest.fixture
def mirror(small_idx, tmp_path, monkeypatch):
    """A web server on this machine that torchvision takes for the data set's own."""
    folder = small_idx.write(tmp_path / "mirror")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served(folder) as address:
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [address])
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", list(sums.items()))
        yield folder


def test_files_are_downloaded_once(small_idx, mirror):
    check(small_idx, sources.read(small_idx.source, None))
    assert [path.name for path in Path("data").iterdir()] == ["FashionMNIST"]  # no temporary folder is left
    for path in mirror.iterdir():
        path.unlink()
    check(small_idx, sources.read(small_idx.source, None))


def test_torchvision_finds_what_was_downloaded(small_idx, mirror):
    sources.read(small_idx.source, None)
    images = torchvision.datasets.FashionMNIST("data", train=True).data
    np.testing.assert_array_equal(images, small_idx.arrays["train-images-idx3-ubyte"])


def test_a_download_cut_short_leaves_nothing_behind(small_idx, mirror):
    path = mirror / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="corrupted"):
        sources.read(small_idx.source, None)
    assert not list(Path("data").iterdir())


def test_downloaded_content_is_verified_as_well(small_idx, mirror):
    wrong = sources.IdxSource(**vars(small_idx.source) | {"sha256": dict.fromkeys(small_idx.source.sha256, "0" * 64)})
    with pytest.raises(OSError, match="expected SHA-256 0000"):
        sources.read(wrong, None)
