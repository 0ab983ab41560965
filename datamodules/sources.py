"""Sources of images: files are found on this machine or downloaded, verified and decoded."""

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

from datamodules.files import raise_disk_error, read_verified

DOWNLOADS = Path("data")
# Timeout of a download in seconds; the default would be minutes.
TIMEOUT = 10.0


# Compared by identity, so that it can be a cache key.
@dataclass(frozen=True, eq=False)
class ImageSource(ABC):
    """The files of a data set of training images and test images.

    Args:
        name: name of the data set in torchvision, and of its folder.
        sha256: digest of the content of each file. For a file that can also be compressed, as `<file>.gz`, it is the
            digest of the decompressed content, which does not depend on the compression.
        num_train: images in the training files.
        num_test: images in the test files.
        system: folder of the files in a package of the operating system.
        package: name of that Debian package.
    """

    name: str
    sha256: Mapping[str, str]
    num_train: int
    num_test: int
    system: Path | None = None
    package: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the files below a root folder."""
        return Path(self.name)

    @abstractmethod
    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Decode the verified files to images (n, …) uint8, training images first, and labels (n,) int64."""

    @abstractmethod
    def download(self, root: Path) -> None:
        """Download the files with torchvision into `folder` below a root folder.

        Raises:
            OSError, RuntimeError, http.client.HTTPException: as torchvision and the standard library raise them.
        """


class IdxSource(ImageSource):
    """A data set in MNIST's IDX format, in four files: grey images (n, rows, columns)."""

    @property
    def folder(self) -> Path:
        """Folder of the files below torchvision's root."""
        return Path(self.name) / "raw"

    def decode(self, files: Mapping[str, bytes]) -> tuple[Tensor, Tensor]:
        """Decode four files of unsigned bytes: two zeros, the type, the number of axes, their lengths, the values."""
        x, y = (
            torch.cat([_idx(files[f"{part}-{kind}"]) for part in ("train", "t10k")])
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
        return x, y.long()

    def download(self, root: Path) -> None:
        """Download and decompress the four archives; torchvision verifies their MD5 sums."""
        # Imported here and below, because only downloads need it.
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
        """Decode the arrays X and y of each file."""
        # Imported here, because other data sets do not need it.
        from scipy.io import loadmat

        parts = [loadmat(io.BytesIO(content), variable_names=["X", "y"]) for content in files.values()]
        x = np.ascontiguousarray(np.concatenate([part["X"].transpose(3, 2, 0, 1) for part in parts]))
        y = np.concatenate([part["y"].ravel() for part in parts]).astype(np.int64) % 10
        return torch.from_numpy(x), torch.from_numpy(y)

    def download(self, root: Path) -> None:
        """Download the training and the test file; torchvision verifies their MD5 sums. Extra images are not used."""
        from torchvision.datasets import SVHN
        from torchvision.datasets.utils import download_url

        for split in ("train", "test"):
            url, file, md5 = SVHN.split_list[split]
            download_url(url, root / self.folder, file, md5)


class CifarSource(ImageSource):
    """CIFAR-10's binary version, in one archive: colour images (n, 3, 32, 32).

    The Python version, which torchvision reads, is not used, because unpickling a file can run any code. The archive is
    not unpacked on the disk: its six members are read by name.
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
            # In the order of the archive, because seeking back decompresses it from the start.
            found = {member.name: archive.extractfile(member) for member in archive if member.name in self.members}
            batches = {name: file.read() for name, file in found.items() if file}
        records = np.frombuffer(b"".join(batches[name] for name in self.members), dtype=np.uint8).reshape(-1, 3073)
        x = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
        return torch.from_numpy(x), torch.from_numpy(records[:, 0].astype(np.int64))

    def download(self, root: Path) -> None:
        """Download the archive; torchvision verifies its MD5 sum."""
        from torchvision.datasets.utils import download_url

        download_url(self.url, root / self.folder, md5=self.md5)


MNIST = IdxSource(
    name="MNIST",
    # Computed from the original archives, whose digests TensorFlow Datasets publishes (url_checksums/mnist.txt:
    # 440fcabf…, 3552534a…, 8d422c7b…, f7ae60f9…); the digest of the training images was computed by others.
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
    # Digests of the files in Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1. Its archives are recompressed,
    # so torchvision's MD5 sums of the archives do not apply; the content is that of the authors.
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
    # Published by TensorFlow Datasets (url_checksums/svhn_cropped.txt) and in torchvision's repository
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
    """Read a source from the first folder that has all its files; download them if there is none.

    Args:
        source: the data set.
        root: the only folder to read from, or None.

    Returns:
        Images (n, …) uint8, training images first, and labels (n,) int64.

    Raises:
        FileNotFoundError: the files are missing and cannot be downloaded.
        OSError: a file is not the original, or the disk cannot store the download.
    """
    place = find_folder(source, root)
    if place is None and root is not None:
        package = f"install Debian's package {source.package} or " if source.package else ""
        raise_not_found(
            source.name,
            candidate_folders(source, root),
            ", ".join(source.sha256),
            f"{package}connect to the network once",
        )
    if place is None:
        try:
            download(source)
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            raise_disk_error(error, source.name, DOWNLOADS)
            # The last line of torchvision's message is the reason.
            reason = str(error).strip().rpartition("\n")[-1].strip("<>") or type(error).__name__
            package = f"install Debian's package {source.package}, " if source.package else ""
            where = ", ".join(map(str, candidate_folders(source, root)))
            raise FileNotFoundError(
                f"{source.name} is not in {where}, and downloading it failed ({reason}): give the folder of "
                f"{', '.join(source.sha256)} as root, {package}or connect to the network once"
            ) from error
        place = DOWNLOADS / source.folder
    files = files_in(place, source)
    return source.decode({name: read_verified(path, name, source.sha256[name]) for name, path in files.items()})


def raise_not_found(name: str, places: Sequence[Path], files: str, remedy: str) -> NoReturn:
    """Raise the error that a given root does not contain a data set.

    Raises:
        FileNotFoundError: always.
    """
    where = ", ".join(map(str, places))
    raise FileNotFoundError(
        f"{name} is not in {where}: give the folder of {files} as root; or give no root, and {remedy}"
    )


def candidate_folders(source: ImageSource, root: str | None) -> list[Path]:
    """Return the folders where the files can be: `root` and torchvision's folder below it, else system and `data/`.

    `data/` is in the current directory and receives downloads.
    """
    if root is not None:
        return [Path(root).expanduser(), Path(root).expanduser() / source.folder]
    return [*([source.system] if source.system else []), DOWNLOADS / source.folder]


def find_folder(source: ImageSource, root: str | None = None) -> Path | None:
    """Return the first folder that contains all files of a source, or None; their content is not verified."""
    return next((place for place in candidate_folders(source, root) if files_in(place, source)), None)


def files_in(folder: Path, source: ImageSource) -> dict[str, Path]:
    """Return the path of every file of a source, compressed or not; empty if one of them is missing."""
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
        # Downloaded to a temporary folder first, so that an interruption or a parallel run leaves no partial file.
        with tempfile.TemporaryDirectory(dir=DOWNLOADS) as temporary:
            source.download(Path(temporary))
            target = DOWNLOADS / source.folder
            target.mkdir(parents=True, exist_ok=True)
            for path in (Path(temporary) / source.folder).iterdir():
                path.replace(target / path.name)
    finally:
        socket.setdefaulttimeout(previous)
