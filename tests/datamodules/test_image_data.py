"""MNIST, SVHN and CIFAR-10 against small files in the genuine formats, and against what torchvision reads there."""

import dataclasses
import hashlib
import io
import os
import pickle
import socket
import tarfile
import time
from pathlib import Path

import image_files
import numpy as np
import pytest
import torch
import torchvision

from datamodules import images, sources

SETS = {"MNIST": image_files.mnist, "SVHN": image_files.svhn, "CIFAR10": image_files.cifar10}
SIZES = {"batch_size": 16, "num_train": 50, "num_val": 20, "num_test": 4}
ORIGINALS = [images.MNIST, images.SVHN, images.CIFAR10]
COLOUR = ["SVHN", "CIFAR10"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current directory, and no network."""

    def no_network(*_args, **_kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)


@pytest.fixture(params=SETS)
def small(request):
    return SETS[request.param]()


def build(small, seed=1000, **arguments):
    return small.kind(**{"seed": seed} | SIZES | arguments)


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("place", ["root", "root/below", "data"])
def test_every_pixel_and_label_is_the_files_own(small, tmp_path, place):
    folder = {"root": Path(), "root/below": small.kind.source.folder, "data": small.kind.source.folder}[place]
    small.write(tmp_path / place.partition("/")[0] / folder)
    source = build(small, root=str(tmp_path / "root") if place.startswith("root") else None).load()
    assert (source.x.dtype, source.y.dtype) == (torch.uint8, torch.int64)
    np.testing.assert_array_equal(source.x, small.pixels)
    np.testing.assert_array_equal(source.y, small.labels)
    assert source.x.is_contiguous()
    assert small.kind.location() == (str(Path("data") / small.kind.source.folder) if place == "data" else "")


@pytest.mark.parametrize("name", COLOUR)
def test_colours_lie_between_0_and_1_and_are_standardised_by_channel(name, tmp_path):
    small = SETS[name]()
    root = str(small.write(tmp_path / "root"))
    raw, scaled = build(small, root=root, standardize=False), build(small, root=root)
    assert (raw.sample_shape, raw.num_features, raw.num_classes) == ((3, 32, 32), 3072, 10)
    raw.setup()
    scaled.setup()
    for (x, y), (z, _), rows in zip(
        (raw.train, raw.val, raw.test), (scaled.train, scaled.val, scaled.test), raw.indices, strict=True
    ):
        np.testing.assert_allclose(x, small.pixels[rows] / 255, atol=1e-7)
        np.testing.assert_array_equal(y, small.labels[rows])
        train = small.pixels[raw.indices.train].astype(np.float64) / 255
        mean, std = train.mean((0, 2, 3)).reshape(3, 1, 1), train.std((0, 2, 3)).reshape(3, 1, 1)
        np.testing.assert_allclose(z, (small.pixels[rows] / 255 - mean) / std, atol=1e-5)


@pytest.mark.parametrize("size", [14, 28])
def test_digits_of_mnist_are_pooled_by_the_mean(tmp_path, size):
    small = image_files.mnist()
    module = build(small, root=str(small.write(tmp_path / "root")), size=size, standardize=False)
    module.setup()
    blocks = small.pixels[module.indices.test].reshape(-1, size, 28 // size, size, 28 // size).astype(np.float64)
    assert module.sample_shape == (1, size, size)
    np.testing.assert_allclose(module.test[0][:, 0], blocks.mean((2, 4)) / 255, atol=1e-7)


def test_ten_seeds_have_disjoint_test_samples_from_the_test_files(small, tmp_path):
    root = str(small.write(tmp_path / "root"))
    modules = [build(small, seed, root=root) for seed in range(1000, 1010)]
    assert all(module.disjoint_test for module in modules)
    splits = [module.split() for module in modules]
    tests = torch.cat([split.test for split in splits])
    assert len(set(tests.tolist())) == len(tests) == 10 * SIZES["num_test"]
    assert tests.min() >= image_files.NUM_TRAIN
    for train, val, _ in splits:
        rows = torch.cat([train, val])
        assert len(set(rows.tolist())) == 70
        assert rows.max() < image_files.NUM_TRAIN
    assert len({tuple(split.train.tolist()) for split in splits}) == 10


@pytest.mark.parametrize("kind", ORIGINALS)
def test_ten_seeds_have_disjoint_test_samples_in_the_real_sets(kind):
    source = kind.source
    assert kind(batch_size=64, seed=1000).disjoint_test
    assert source.num_train + source.num_test == kind.info.samples


def test_torchvision_reads_the_same_digits_of_mnist(tmp_path):
    small = image_files.mnist()
    source = build(small, root=str(small.write(tmp_path / "MNIST" / "raw").parents[1])).load()
    for path in (tmp_path / "MNIST" / "raw").iterdir():
        torchvision.datasets.utils.extract_archive(str(path))
    parts = [torchvision.datasets.MNIST(tmp_path, train=train) for train in (True, False)]
    assert torch.equal(source.x, torch.cat([part.data for part in parts]))
    assert torch.equal(source.y, torch.cat([part.targets for part in parts]))


def test_torchvision_reads_the_same_house_numbers(tmp_path, monkeypatch):
    small = image_files.svhn()
    source = build(small, root=str(small.write(tmp_path / "root"))).load()
    offer_svhn(small, "unused/", monkeypatch)
    parts = [torchvision.datasets.SVHN(tmp_path / "root", split=split) for split in ("train", "test")]
    np.testing.assert_array_equal(source.x, np.concatenate([part.data for part in parts]))
    np.testing.assert_array_equal(source.y, np.concatenate([part.labels for part in parts]))


@pytest.mark.parametrize("damage", ["a changed byte", "truncated", "empty"])
def test_a_file_that_is_not_the_original_is_refused(small, tmp_path, damage):
    root = small.write(tmp_path / "root")
    path = root / list(small.files)[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"a changed byte": bytes(content), "truncated": content[:-1], "empty": b""}[damage])
    with pytest.raises(OSError, match=r"is not the original: expected SHA-256 |is damaged") as error:
        build(small, root=str(root)).load()
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_without_a_network_is_one_line_with_the_remedies_within_seconds(small, tmp_path):
    folder = small.write(tmp_path / "data" / small.kind.source.folder)
    (folder / list(small.files)[-1]).unlink()
    began = time.monotonic()
    with pytest.raises(FileNotFoundError) as error:
        build(small).load()
    assert time.monotonic() - began < 5
    message = str(error.value)
    assert "\n" not in message
    source = small.kind.source
    for part in (source.name, str(source.folder), "Name or service not known", *source.sha256):
        assert part in message
    assert message.endswith(" as root, or connect to the network once")
    assert small.kind.location() == ""


def test_nothing_of_an_archive_is_written_to_the_disk(tmp_path):
    traps = {"../outside.bin": b"x", str(tmp_path / "absolute.bin"): b"x", "cifar-10-batches-bin/../../up.bin": b"x"}
    small = image_files.cifar10(traps)
    with tarfile.open(fileobj=io.BytesIO(small.files["cifar-10-binary.tar.gz"])) as tar:
        assert set(traps) <= set(tar.getnames())
    root = small.write(tmp_path / "inner" / "root")
    np.testing.assert_array_equal(build(small, root=str(root)).load().x, small.pixels)
    assert files_below(tmp_path) == ["inner/root/cifar-10-binary.tar.gz"]


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, _ in torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileNotFoundError, match=r"give the folder of cifar-10-binary\.tar\.gz as root"):
        build(image_files.cifar10(), root=str(tmp_path / "root")).load()
    assert not (tmp_path / "trapped").exists()


def md5(content):
    return hashlib.md5(content).hexdigest()


def offer_mnist(small, address, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [address])
    resources = [(name, md5(content)) for name, content in small.files.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)


def offer_svhn(small, address, monkeypatch):
    files = zip(("train", "test"), small.files.items(), strict=True)
    offered = {split: [address + name, name, md5(content)] for split, (name, content) in files}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", offered)


def offer_cifar10(small, address, monkeypatch):
    ((name, content),) = small.files.items()
    monkeypatch.setattr(sources.CifarSource, "url", address + name)
    monkeypatch.setattr(sources.CifarSource, "md5", md5(content))


OFFERS = {"MNIST": offer_mnist, "SVHN": offer_svhn, "CIFAR10": offer_cifar10}


@pytest.fixture
def mirror(small, tmp_path, monkeypatch):
    """A folder whose files a web server on this machine offers, for the data set's own."""
    monkeypatch.undo()  # a network again
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = small.write(tmp_path / "mirror")
    with image_files.served(folder) as address:
        OFFERS[small.kind.__name__](small, address, monkeypatch)
        yield folder


def test_files_are_downloaded_once_and_only_what_is_needed(small, mirror):
    np.testing.assert_array_equal(build(small).load().x, small.pixels)
    assert small.kind.location() == str(Path("data") / small.kind.source.folder)
    assert set(small.files) <= {path.name for path in Path(small.kind.location()).iterdir()}
    assert [path.name for path in Path("data").iterdir()] == [small.kind.source.name]  # no temporary folder is left
    for path in mirror.iterdir():
        path.unlink()
    images._load.cache_clear()
    np.testing.assert_array_equal(build(small).load().y, small.labels)


@pytest.mark.parametrize("damage", ["cut short", "absent"])
def test_a_download_that_fails_leaves_nothing_behind(small, mirror, damage):
    path = mirror / list(small.files)[-1]
    content = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[:-1])
    with pytest.raises(FileNotFoundError, match=r"corrupted|File not found|404") as error:
        build(small).load()
    assert "\n" not in str(error.value)
    assert not list(Path("data").iterdir())
    assert socket.getdefaulttimeout() is None


def test_what_torchvision_accepts_is_verified_as_well(small, mirror):
    digests = dict.fromkeys(small.kind.source.sha256, "0" * 64)
    wrong = type("Wrong", (small.kind,), {"source": dataclasses.replace(small.kind.source, sha256=digests)})
    with pytest.raises(OSError, match="expected SHA-256 0000"):
        wrong(seed=1000, **SIZES).load()


def test_files_have_the_names_under_which_torchvision_offers_them():
    offered = [name.removesuffix(".gz") for name, _ in torchvision.datasets.MNIST.resources]
    assert sorted(sources.MNIST.sha256) == sorted(offered)
    assert list(sources.SVHN.sha256) == [torchvision.datasets.SVHN.split_list[split][1] for split in ("train", "test")]
    assert list(sources.CIFAR10.sha256) == [sources.CifarSource.url.rpartition("/")[2]]
    for kind in ORIGINALS:
        assert all(len(bytes.fromhex(digest)) == 32 for digest in kind.source.sha256.values())


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (images.SVHN, {"num_train": 72_258}, "num_train [+] num_val must be <= 73257, .*, not 73258"),
        (images.SVHN, {"num_test": 26_033}, "num_test must be <= 26032, the test images there are, not 26033"),
        (images.CIFAR10, {"num_train": 49_001}, "num_train [+] num_val must be <= 50000, .*, not 50001"),
        (images.CIFAR10, {"num_test": 10_001}, "num_test must be <= 10000, .*, not 10001"),
        (images.MNIST, {"size": 20}, "size must be 14 or 28, not 20"),
        (images.MNIST, {"num_val": 0}, "num_val must be >= 1, not 0"),
    ],
)
def test_bad_sizes_are_refused_at_once(kind, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(**{"batch_size": 64, "seed": 1000} | arguments)


@pytest.mark.parametrize("kind", [images.SVHN, images.CIFAR10])
def test_only_grey_images_are_pooled(kind):
    with pytest.raises(TypeError, match="size"):
        kind(batch_size=64, seed=1000, size=14)
