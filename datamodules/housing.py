"""California housing, the only table that is downloaded; its archive is verified and read without pickle."""

import hashlib
import http.client
import io
import tarfile
import tempfile
import urllib.request
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from datamodules import sources
from datamodules.base import DatasetInfo, Source
from datamodules.files import raise_disk_error
from datamodules.splits import Split
from datamodules.tabular import Regression

# Columns of the archive, with the least and the greatest value of each.
COLUMNS = {
    "longitude": (-124.35, -114.31),
    "latitude": (32.54, 41.95),
    "housingMedianAge": (1, 52),
    "totalRooms": (2, 39_320),
    "totalBedrooms": (1, 6_445),
    "population": (3, 35_682),
    "households": (1, 6_082),
    "medianIncome": (0.4999, 15.0001),
    "medianHouseValue": (14_999, 500_001),
}
LARGEST_ARCHIVE = 10_000_000  # limit in bytes for the download


# Compared by identity, so that it can be a cache key.
@dataclass(frozen=True, eq=False)
class ArchiveSource:
    """The archive of California housing made by L. Torgo, which scikit-learn uses too.

    Args:
        file: name of the archive.
        url: address of the download.
        sha256: digest of the archive.
        num_samples: rows of the table.
    """

    file: str
    url: str
    sha256: str
    num_samples: int

    @property
    def download(self) -> Path:
        """Path of the downloaded copy."""
        return sources.DOWNLOADS / "california_housing" / self.file


CALIFORNIA_HOUSING = ArchiveSource(
    file="cal_housing.tgz",
    url="https://ndownloader.figshare.com/files/5976036",
    # The digest that scikit-learn verifies.
    sha256="aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
    num_samples=20_640,
)


def candidate_paths(source: ArchiveSource, root: str | None) -> list[Path]:
    """Return the paths where the archive can be: in `root` if given, else in `data/` of the current directory."""
    return [source.download if root is None else Path(root).expanduser() / source.file]


def read(source: ArchiveSource, root: str | None) -> tuple[bytes, Path]:
    """Return the verified archive and its path; download it if it is missing.

    Raises:
        FileNotFoundError: the archive is missing and cannot be downloaded.
        OSError: the file cannot be read, or is not the original.
    """
    path = next(filter(Path.is_file, candidate_paths(source, root)), None)
    if path is None and root is not None:
        sources.raise_not_found(
            "CaliforniaHousing", candidate_paths(source, root), source.file, "connect to the network once"
        )
    if path is None:
        try:
            path = download(source)
        except (OSError, http.client.HTTPException) as error:
            raise_disk_error(error, "CaliforniaHousing", sources.DOWNLOADS)
            reason = str(error).strip("<>") or type(error).__name__
            where = ", ".join(map(str, candidate_paths(source, root)))
            raise FileNotFoundError(
                f"CaliforniaHousing is not in {where}, and downloading it failed ({reason}): give the folder of "
                f"{source.file} as root, connect to the network once, or use Diabetes, which needs no download"
            ) from error
    return verify_archive(path.read_bytes(), source, path), path


def verify_archive(content: bytes, source: ArchiveSource, where: str | Path) -> bytes:
    """Return the bytes of an archive after comparing its digest; raise an `OSError` if it differs."""
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise OSError(
            f"{where} is not the original: expected SHA-256 {source.sha256}, found {found}; delete or replace it"
        )
    return content


def download(source: ArchiveSource) -> Path:
    """Download the archive, verify it, save it in `data/` and return its path.

    Raises:
        OSError, http.client.HTTPException: the download fails, or the archive is not the original.
    """
    with urllib.request.urlopen(source.url, timeout=sources.TIMEOUT) as answer:
        content = verify_archive(answer.read(LARGEST_ARCHIVE), source, source.url)
    source.download.parent.mkdir(parents=True, exist_ok=True)
    # Written to a temporary folder first, so that an interruption or a parallel run leaves no partial file.
    with tempfile.TemporaryDirectory(dir=source.download.parent) as temporary:
        (Path(temporary) / source.file).write_bytes(content)
        return (Path(temporary) / source.file).replace(source.download)


def housing_table(content: bytes, num_samples: int, where: Path) -> dict[str, np.ndarray]:
    """Read the columns of the table from the archive in memory.

    Args:
        content: the archive, a compressed tar file with the values and with the column names, one per line.
        num_samples: rows of the table.
        where: path of the archive, for messages.

    Raises:
        OSError: the archive is damaged, or its columns or values are unexpected.
    """

    def member(name: str) -> bytes:
        file = archive.extractfile(f"CaliforniaHousing/{name}")
        if file is None:
            raise tarfile.ReadError(f"{name} is not a file")
        return file.read()

    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            names = [line.partition(":")[0] for line in member("cal_housing.domain").decode().splitlines()]
            table = np.loadtxt(io.BytesIO(member("cal_housing.data")), delimiter=",", ndmin=2)
    except (OSError, tarfile.TarError, KeyError, EOFError, ValueError, zlib.error) as error:
        raise OSError(f"{where} is damaged ({error}): delete or replace it") from error
    if names != list(COLUMNS):
        raise OSError(f"{where}: the columns must be {', '.join(COLUMNS)}, not {', '.join(names)}")
    if table.shape != (num_samples, len(COLUMNS)):
        raise OSError(f"{where}: the table must have the shape {(num_samples, len(COLUMNS))}, not {table.shape}")
    columns = dict(zip(COLUMNS, table.T, strict=True))
    for name, (least, greatest) in COLUMNS.items():
        # False for NaN.
        if not ((columns[name] >= least) & (columns[name] <= greatest)).all():
            raise OSError(f"{where}: {name} must lie in [{least:,}, {greatest:,}] in every row")
    return columns


@lru_cache(maxsize=1)
def _housing(source: ArchiveSource, root: str | None) -> Source:
    content, where = read(source, root)
    column = housing_table(content, source.num_samples, where)
    households = column["households"]
    x = [
        column["medianIncome"],
        column["housingMedianAge"],
        column["totalRooms"] / households,
        column["totalBedrooms"] / households,
        column["population"],
        column["population"] / households,
        column["latitude"],
        column["longitude"],
    ]
    return Source(
        torch.from_numpy(np.stack(x, axis=1)), torch.from_numpy(column["medianHouseValue"] / 100_000)[:, None]
    )


@dataclass(kw_only=True, eq=False)
class CaliforniaHousing(Regression):
    """20,640 block groups of California in the census of 1990; the target is their median house value.

    It takes the place of the housing data that the slide "Réseau à une couche linéaire" does not name. The 8 columns
    are scikit-learn's: median income, median age of the houses, rooms, bedrooms and people per household, population,
    latitude, longitude. The target is in 100,000 dollars, and cut off at 5.

    The block groups are shuffled in the same way for every seed and cut into blocks of `num_test`; the test sample of a
    seed is block `seed % number of blocks`. With 2,000 test samples, the seeds 1000 … 1009 have disjoint test samples.
    Training and validation samples are drawn per seed from the other block groups; a larger training split contains
    the smaller one.

    The archive is read from `root` if given, else from `data/`, where it is downloaded, and verified. scikit-learn's
    cache is not read, because it is a pickle, which can run any code.

    Args:
        root: a folder that contains cal_housing.tgz.

    Raises:
        ValueError: number out of range, sizes that together exceed 20,640, or an option that needs labels.
    """

    name = "california_housing"
    info = DatasetInfo(
        samples=20_640,
        source="R. K. Pace and R. Barry 1997, Sparse Spatial Autoregressions, StatLib; "
        "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.html",
        licence="none stated; made from the US census of 1990",
        download="0.4 MB",
        outputs="columns",
    )
    sample_shape = (8,)
    source: ClassVar[ArchiveSource] = CALIFORNIA_HOUSING

    num_train: int = 12_000
    num_val: int = 4_000
    num_test: int = 2_000
    root: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted, there = self.num_train + self.num_val + self.num_test, self.source.num_samples
        if wanted > there:
            raise ValueError(f"num_train + num_val + num_test must be <= {there}, the samples there are, not {wanted}")

    @classmethod
    def location(cls) -> str:
        """Return the folder of the archive without `root`; empty if it must be downloaded."""
        return str(cls.source.download.parent) if cls.source.download.is_file() else ""

    @property
    def num_disjoint_tests(self) -> int:
        """Number of blocks of `num_test` among all samples."""
        return self.source.num_samples // self.num_test

    def load(self) -> Source:
        """Return the block groups: x (20640, 8) and y (20640, 1), both float64."""
        return _housing(self.source, self.root)

    def split(self) -> Split:
        """Use the seed's block as test sample, and draw training and validation rows from the other rows."""
        rows = torch.arange(self.source.num_samples)
        test, drawn = self.test_block(rows), self.shuffled(rows, "split")
        others = drawn[~torch.isin(drawn, test)]
        return Split(train=others[self.num_val : self.num_val + self.num_train], val=others[: self.num_val], test=test)
