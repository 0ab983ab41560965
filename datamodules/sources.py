"""Where downloaded images come from: found on this machine or fetched, verified before they are used, and decoded."""

import http.client
import io
import socket
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from datamodules.files import refuse_disk, verified

DOWNLOADS = Path("data")
# Seconds without an answer after which a download has failed; the default would wait for minutes.
TIMEOUT = 10.0


# Compared by identity, so that what was read from a source can be cached under it.
@dataclass(frozen=True, eq=False)
class ImageSource(ABC):
    """The files of a data set that consists of training images and test images.

    Args:
        name: its name in torchvision, and the folder it is kept in.
        sha256: for each file the digest of its content. Where a file may also lie compressed, as `<file>.gz`, it is the
            digest of the decompressed content, which does not depend on who compressed it.
        num_train: images in the training files.
        num_test: images in the test files.
        system: the folder where a package of the operating system puts the files.
        package: the Debian package that does so.
    """

    name: str
    sha256: Mapping[str, str]
    num_train: int
    num_test: int
    system: Path | None = None
    package: str = ""

    @property
    def folder(self) -> Path:
        """Where the files lie below a root folder."""
        return Path(self.name)

    @abstractmethod
    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Turn the verified files into images (n, …) uint8, the training images first, and labels (n,) int64."""

    @abstractmethod
    def download(self, root: Path) -> None:
        """Fetch the files into `folder` below a root folder, by torchvision.

        Raises:
            OSError, RuntimeError, http.client.HTTPException: as torchvision and the standard library raise them.
        """


class IdxSource(ImageSource):
    """A data set in MNIST's IDX format, in four files: grey images (n, rows, columns)."""

    @property
    def folder(self) -> Path:
        """Where torchvision keeps the files below its root."""
        return Path(self.name) / "raw"

    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Decode four files of unsigned bytes: two zeros, the type, the number of axes, the lengths, the values."""
        x, y = (
            torch.cat([_idx(files[f"{part}-{kind}"]) for part in ("train", "t10k")])
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        return x, y.long()

    def download(self, root: Path) -> None:
        """Fetch and unpack the four archives, whose MD5 sums torchvision compares."""
        # Imported here and below: everything else in this file works without it.
        import torchvision

        getattr(torchvision.datasets, self.name)(root=root, download=True)


def _idx(content: bytes) -> Tensor:
    num_axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=num_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_axes)
    return torch.from_numpy(values.reshape(shape).copy())


class MatSource(ImageSource):
    """SVHN's cropped digits, in two files of Matlab: colour images (n, 3, 32, 32).

    A file holds X (row, column, channel, n) and y (n, 1), where 10 stands for the digit 0.
    """

    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Decode the arrays of numbers X and y of each file."""
        # Imported here: the other data sets need not wait for it.
        from scipy.io import loadmat

        parts = [loadmat(io.BytesIO(content), variable_names=["X", "y"]) for content in files.values()]
        x = np.ascontiguousarray(np.concatenate([part["X"].transpose(3, 2, 0, 1) for part in parts]))
        y = np.concatenate([part["y"].ravel() for part in parts]).astype(np.int64) % 10
        return torch.from_numpy(x), torch.from_numpy(y)

    def download(self, root: Path) -> None:
        """Fetch the training and the test file, whose MD5 sums torchvision compares; the extra images are not used."""
        from torchvision.datasets import SVHN
        from torchvision.datasets.utils import download_url

        for split in ("train", "test"):
            url, file, md5 = SVHN.split_list[split]
            download_url(url, root / self.folder, file, md5)


class CifarSource(ImageSource):
    """CIFAR-10's binary version, in one archive: colour images (n, 3, 32, 32).

    Its Python version, which torchvision reads, is not used: it is pickled, and to unpickle a file is to run it. Nor is
    the archive ever unpacked on the disk: the six members that are wanted are read by name.
    """

    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    # Published at https://www.cs.toronto.edu/~kriz/cifar.html.
    md5: ClassVar[str] = "c32a1d4ab5d03f1284b67883e8d87530"
    members: ClassVar[tuple[str, ...]] = (
        *(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
    )

    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Decode records of 3073 bytes: the label, then the red, the green and the blue pixels, row by row."""
        (content,) = files.values()
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            # In the order of the archive: to go back in it is to decompress it from its beginning again.
            found = {member.name: archive.extractfile(member) for member in archive if member.name in self.members}
            batches = {name: file.read() for name, file in found.items() if file}
        records = np.frombuffer(b"".join(batches[name] for name in self.members), dtype=np.uint8).reshape(-1, 3073)
        x = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
        return torch.from_numpy(x), torch.from_numpy(records[:, 0].astype(np.int64))

    def download(self, root: Path) -> None:
        """Fetch the archive, whose MD5 sum torchvision compares."""
        from torchvision.datasets.utils import download_url

        download_url(self.url, root / self.folder, md5=self.md5)


MNIST = IdxSource(
    name="MNIST",
    # Computed from the original archives, whose own digests TensorFlow Datasets publishes (url_checksums/mnist.txt:
    # 440fcabf…, 3552534a…, 8d422c7b…, f7ae60f9…); that of the training images is taken from others who computed it.
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    num_train=60_000,
    num_test=10_000,
)

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

SVHN = MatSource(
    name="SVHN",
    # Published by TensorFlow Datasets (url_checksums/svhn_cropped.txt) and, alike, in torchvision's repository
    # (torchvision/prototype/datasets/_builtin/svhn.py).
    sha256={
        "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    },
    num_train=73_257,
    num_test=26_032,
)

CIFAR10 = CifarSource(
    name="CIFAR10",
    # Published by TensorFlow Datasets (url_checksums/cifar10.txt).
    sha256={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    num_train=50_000,
    num_test=10_000,
)


def read(source: ImageSource, root: str | None) -> tuple[Tensor, Tensor]:
    """Read a source from the first of its places that has all its files; download them if none has.

    Args:
        source: which data set.
        root: a folder with the files, and then the only place; or None.

    Returns:
        Images (n, …) uint8, the training images first, and labels (n,) int64.

    Raises:
        FileNotFoundError: no place has the files and they cannot be downloaded.
        OSError: a file does not hold what it should, or the disk does not take what is downloaded.
    """
    place = find(source, root)
    if place is None and root is not None:
        package = f"install Debian's package {source.package} or " if source.package else ""
        refuse_root(
            source.name, places(source, root), ", ".join(source.sha256), f"{package}connect to the network once"
        )
    if place is None:
        try:
            download(source)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            refuse_disk(error, source.name, DOWNLOADS)
            # torchvision puts what happened on the last line of its message.
            reason = str(error).strip().rpartition("\n")[-1].strip("<>") or type(error).__name__
            package = f"install Debian's package {source.package}, " if source.package else ""
            raise FileNotFoundError(
                f"{source.name} is not in {', '.join(map(str, places(source, root)))}, and downloading it failed "
                f"({reason}): give the folder of {', '.join(source.sha256)} as root, {package}or connect to the "
                f"network once"
            ) from error
        place = DOWNLOADS / source.folder
    files = files_in(place, source)
    return source.decode({name: verified(path, name, source.sha256[name]) for name, path in files.items()})


def refuse_root(name: str, places: Sequence[Path], files: str, remedy: str) -> NoReturn:
    """Say that a root does not hold a data set; it is not looked for elsewhere.

    Raises:
        FileNotFoundError: always.
    """
    where = ", ".join(map(str, places))
    raise FileNotFoundError(
        f"{name} is not in {where}: give the folder of {files} as root; or give no root, and {remedy}"
    )


def places(source: ImageSource, root: str | None) -> list[Path]:
    """Return where files are looked for: `root` itself and as torchvision fills it, or else system, then `data/`.

    `data/` is the one of the current directory, and where downloads go.
    """
    if root is not None:
        return [Path(root).expanduser(), Path(root).expanduser() / source.folder]
    return [*([source.system] if source.system else []), DOWNLOADS / source.folder]


def find(source: ImageSource, root: str | None = None) -> Path | None:
    """Return the first place that has all files of a source, if there is one; their content is not looked at."""
    return next((place for place in places(source, root) if files_in(place, source)), None)


def files_in(folder: Path, source: ImageSource) -> dict[str, Path]:
    """Return the path of every file of a source, compressed or not; empty if one of them is not in the folder."""
    candidates = {name: (folder / name, folder / f"{name}.gz") for name in source.sha256}
    found = {name: next((path for path in paths if path.is_file()), None) for name, paths in candidates.items()}
    return {name: path for name, path in found.items() if path} if all(found.values()) else {}


def download(source: ImageSource) -> None:
    """Download a source into `data/` of the current directory.

    Raises:
        OSError, RuntimeError, http.client.HTTPException: as torchvision and the standard library raise them.
    """
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        # Into a folder of its own first: an interrupted download, or two at once, must leave no half file in place.
        with tempfile.TemporaryDirectory(dir=DOWNLOADS) as temporary:
            source.download(Path(temporary))
            target = DOWNLOADS / source.folder
            target.mkdir(parents=True, exist_ok=True)
            for path in (Path(temporary) / source.folder).iterdir():
                path.replace(target / path.name)
    finally:
        socket.setdefaulttimeout(previous)
