"""Where downloaded data sets come from: found on this machine or fetched, and verified before they are used."""

import gzip
import hashlib
import http.client
import socket
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DOWNLOADS = Path("data")
# Seconds without an answer after which a download has failed; the default would wait for minutes.
TIMEOUT = 10.0


# Compared by identity, so that what was read from a source can be cached under it.
@dataclass(frozen=True, eq=False)
class IdxSource:
    """A data set in MNIST's IDX format, in four files.

    Args:
        name: its name in torchvision, and the folder torchvision keeps it in.
        sha256: for each file, without `.gz`, the digest of its decompressed content.
        num_train: images in the training files.
        num_test: images in the test files.
        system: the folder where a package of the operating system puts the files.
        package: the Debian package that does so.
    """

    name: str
    sha256: Mapping[str, str]
    num_train: int
    num_test: int
    system: Path
    package: str

    @property
    def raw(self) -> Path:
        """Where torchvision keeps the files below its root."""
        return Path(self.name) / "raw"


FASHION_MNIST = IdxSource(
    name="FashionMNIST",
    # Of the files in Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1. Its archives are packed anew, so that
    # torchvision's MD5 sums of the archives do not apply; the content is the one that its authors publish.
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    num_train=60_000,
    num_test=10_000,
    system=Path("/usr/share/datasets/fashion-mnist"),
    package="dataset-fashion-mnist",
)


def read(source: IdxSource, root: str | None) -> dict[str, Tensor]:
    """Read all files of a source from the first place that has them.

    The places are, in this order: `root` itself, `root` as torchvision fills it, the system's folder, `data/` of the
    current directory, and torchvision's download into it.

    Args:
        source: which data set.
        root: a folder with the files, or None.

    Returns:
        One uint8 tensor per file: images (n, rows, columns), labels (n,).

    Raises:
        FileNotFoundError: no place has the files and they cannot be downloaded.
        OSError: a file does not hold what it should.
    """
    given = [] if root is None else [Path(root).expanduser(), Path(root).expanduser() / source.raw]
    places = [*given, source.system, DOWNLOADS / source.raw]
    if not any(files_in(place, source) for place in places):
        try:
            download(source)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            # torchvision puts what happened on the last line of its message.
            reason = str(error).strip().rpartition("\n")[-1].strip("<>") or type(error).__name__
            raise FileNotFoundError(
                f"{source.name} is not in {', '.join(map(str, places))}, and downloading it failed ({reason}): "
                f"give the folder of its files as root, install Debian's package {source.package}, or connect to the "
                f"network once"
            ) from error
    files = next(filter(None, (files_in(place, source) for place in places)))
    return {name: decode(verified(path, source.sha256[name])) for name, path in files.items()}


def files_in(folder: Path, source: IdxSource) -> dict[str, Path]:
    """Return the path of every file of a source, compressed or not; empty if one of them is not in the folder."""
    candidates = {name: (folder / name, folder / f"{name}.gz") for name in source.sha256}
    found = {name: next((path for path in paths if path.is_file()), None) for name, paths in candidates.items()}
    return {name: path for name, path in found.items() if path} if all(found.values()) else {}


def verified(path: Path, sha256: str) -> bytes:
    """Return the decompressed content of a file.

    Raises:
        OSError: it cannot be decompressed, or its digest is another one.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OSError(f"{path} is damaged ({error}): delete it, or replace it by the original") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise OSError(f"{path} is not the original: expected SHA-256 {sha256}, found {found}; delete or replace it")
    return content


def decode(content: bytes) -> Tensor:
    """Decode an IDX file of unsigned bytes: two zeros, the type, the number of axes, the lengths, the values."""
    num_axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=num_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_axes)
    return torch.from_numpy(values.reshape(shape).copy())


def download(source: IdxSource) -> None:
    """Let torchvision download a source into `data/` of the current directory.

    Raises:
        OSError, RuntimeError, http.client.HTTPException: as torchvision and the standard library raise them.
    """
    # Imported here: everything else in this file works without it.
    import torchvision

    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        # Into a folder of its own first: an interrupted download, or two at once, must leave no half file in place.
        with tempfile.TemporaryDirectory(dir=DOWNLOADS) as temporary:
            getattr(torchvision.datasets, source.name)(root=temporary, download=True)
            target = DOWNLOADS / source.raw
            target.mkdir(parents=True, exist_ok=True)
            for path in (Path(temporary) / source.raw).iterdir():
                path.replace(target / path.name)
    finally:
        socket.setdefaulttimeout(previous)
