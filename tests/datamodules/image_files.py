"""Small image data sets in the genuine formats of their authors, and a web server on this machine that offers files."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io

from datamodules import images

# Of training and test images; ten blocks of four test images are the usual test samples in small.
NUM_TRAIN, NUM_TEST = 120, 43


@dataclasses.dataclass
class SmallSet:
    """A small data set: the class that reads it, its files, and what they hold, the training images first."""

    kind: type[images.Images]
    files: dict[str, bytes]
    pixels: np.ndarray
    labels: np.ndarray

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


def draw(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    n = NUM_TRAIN + NUM_TEST
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), rng.integers(0, 10, n)


def halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[:NUM_TRAIN], values[NUM_TRAIN:]


def small(original: type[images.Images], files: dict[str, bytes], pixels: np.ndarray, labels: np.ndarray) -> SmallSet:
    """Make a data set of these files, whose digests are those of the contents, without `.gz` if they are IDX files."""
    contents = {
        name.removesuffix(".gz") if "-ubyte" in name else name: gzip.decompress(content)
        if "-ubyte" in name
        else content
        for name, content in files.items()
    }
    source = dataclasses.replace(
        original.source,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        num_train=NUM_TRAIN,
        num_test=NUM_TEST,
    )
    return SmallSet(type(original.__name__, (original,), {"source": source}), files, pixels, labels)


def mnist() -> SmallSet:
    pixels, labels = draw((28, 28))
    files = {}
    for part, x, y in zip(("train", "t10k"), halves(pixels), halves(labels), strict=True):
        for kind, values in {"images-idx3": x, "labels-idx1": y}.items():
            header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            files[f"{part}-{kind}-ubyte.gz"] = gzip.compress(header + values.astype(np.uint8).tobytes())
    return small(images.MNIST, files, pixels, labels)


def svhn() -> SmallSet:
    pixels, labels = draw((3, 32, 32))
    files = {}
    for part, x, y in zip(("train", "test"), halves(pixels), halves(labels), strict=True):
        # As Matlab holds them: row, column, channel, number; and 10 for the digit 0.
        matrix = np.stack([np.stack([image[channel] for channel in range(3)], axis=-1) for image in x], axis=-1)
        digits = np.array([[digit or 10] for digit in y], dtype=np.uint8)
        file = io.BytesIO()
        scipy.io.savemat(file, {"X": matrix, "y": digits}, do_compression=True)
        files[f"{part}_32x32.mat"] = file.getvalue()
    return small(images.SVHN, files, pixels, labels)


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def cifar10(further: dict[str, bytes] | None = None) -> SmallSet:
    pixels, labels = draw((3, 32, 32))
    parts = [*np.split(np.arange(NUM_TRAIN), 5), np.arange(NUM_TRAIN, NUM_TRAIN + NUM_TEST)]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    members = {"cifar-10-batches-bin/batches.meta.txt": b"airplane\nautomobile\n"}
    # In another order than that of their names, as in the original archive.
    for name, rows in reversed([*zip(names, parts, strict=True)]):
        records = [
            bytes([labels[row]]) + b"".join(pixels[row][channel].tobytes() for channel in range(3)) for row in rows
        ]
        members[f"cifar-10-batches-bin/{name}.bin"] = b"".join(records)
    return small(images.CIFAR10, {"cifar-10-binary.tar.gz": archive({**(further or {}), **members})}, pixels, labels)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Offer the files of a folder at an address on this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
