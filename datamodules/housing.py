"""California housing, the one table that is downloaded: its archive is read, verified and checked without a pickle."""

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
from datamodules.base import About, Source
from datamodules.files import refuse_disk
from datamodules.splits import Split
from datamodules.tabular import Regression

# What the archive of California housing holds, with the least and the greatest value of each column.
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
LARGEST_ARCHIVE = 10_000_000  # bytes; more than that is no answer to what was asked for


# Compared by identity, so that what was read from a source can be cached under it.
@dataclass(frozen=True, eq=False)
class ArchiveSource:
    """The table of California housing in the archive that L. Torgo made of it and scikit-learn refers to.

    Args:
        file: name of the archive.
        url: where it is downloaded from.
        sha256: digest of the archive.
        num_samples: rows of the table.
    """

    file: str
    url: str
    sha256: str
    num_samples: int

    @property
    def download(self) -> Path:
        """Where a downloaded copy is kept."""
        return sources.DOWNLOADS / "california_housing" / self.file


CALIFORNIA_HOUSING = ArchiveSource(
    file="cal_housing.tgz",
    url="https://ndownloader.figshare.com/files/5976036",
    # The one that scikit-learn checks at download.
    sha256="aaa5c9a6afe2225cc2aed2723682ae403280c4a3695a2ddda4ffb5d8215ea681",
    num_samples=20_640,
)


def places(source: ArchiveSource, root: str | None) -> list[Path]:
    """Return where the archive may lie: in `root`, or else in `data/` of the current directory."""
    return [source.download if root is None else Path(root).expanduser() / source.file]


def read(source: ArchiveSource, root: str | None) -> tuple[bytes, Path]:
    """Return the verified archive and its place; download it if it has none.

    Raises:
        FileNotFoundError: no place has the archive and it cannot be downloaded.
        OSError: a file cannot be read, or is not the original.
    """
    path = next(filter(Path.is_file, places(source, root)), None)
    if path is None and root is not None:
        sources.refuse_root("CaliforniaHousing", places(source, root), source.file, "connect to the network once")
    if path is None:
        try:
            path = download(source)
        except (OSError, http.client.HTTPException) as error:
            refuse_disk(error, "CaliforniaHousing", sources.DOWNLOADS)
            reason = str(error).strip("<>") or type(error).__name__
            raise FileNotFoundError(
                f"CaliforniaHousing is not in {', '.join(map(str, places(source, root)))}, and downloading it failed "
                f"({reason}): give the folder of {source.file} as root, connect to the network once, or use Diabetes, "
                f"which needs no download"
            ) from error
    return original(path.read_bytes(), source, path), path


def original(content: bytes, source: ArchiveSource, where: str | Path) -> bytes:
    """Return an archive's bytes if they are those of the source, and raise an `OSError` otherwise."""
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise OSError(
            f"{where} is not the original: expected SHA-256 {source.sha256}, found {found}; delete or replace it"
        )
    return content


def download(source: ArchiveSource) -> Path:
    """Fetch the archive, keep it in `data/` if it is the original, and return its place.

    Raises:
        OSError, http.client.HTTPException: as the standard library raises them, or it is not the original.
    """
    with urllib.request.urlopen(source.url, timeout=sources.TIMEOUT) as answer:
        content = original(answer.read(LARGEST_ARCHIVE), source, source.url)
    source.download.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own first: an interrupted run, or two at once, must leave no half file in place.
    with tempfile.TemporaryDirectory(dir=source.download.parent) as temporary:
        (Path(temporary) / source.file).write_bytes(content)
        return (Path(temporary) / source.file).replace(source.download)


def housing_table(content: bytes, num_samples: int, where: Path) -> dict[str, np.ndarray]:
    """Read the columns of the table from the archive, without writing anything to the disk.

    Args:
        content: the archive, a compressed tar file with the values and, one a line, the names of the columns.
        num_samples: rows of the table.
        where: the archive's place, for messages.

    Raises:
        OSError: the archive or its values are not what they should be.
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
        # False for what is not a number.
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
    """20,640 block groups of California in the census of 1990: their median house value from 8 columns.

    It stands in for the housing data, which the slide "Réseau à une couche linéaire" does not name. The columns are
    scikit-learn's: median income, median age of the houses, rooms, bedrooms and people a household, population,
    latitude, longitude. The target is in 100,000 dollars, and cut off at 5.

    The block groups are shuffled once, the same way for every seed, and cut into blocks of `num_test`; a seed tests on
    block `seed % number of blocks`. With 2,000 test samples the seeds 1000 … 1009 thus have disjoint ones. Training
    and validation samples are drawn per seed from the others; a larger training split contains the smaller one.

    The archive is looked for in `root` alone if one is given, else in `data/`, where it is downloaded; it is verified.
    scikit-learn's own cache is not read: it is a pickle, which could run any code.

    Args:
        root: a folder that holds cal_housing.tgz.

    Raises:
        ValueError: a number is out of range, the three sizes together exceed 20,640, or an option needs labels.
    """

    name = "california_housing"
    about = About(
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
    def found(cls) -> str:
        """Say in which folder the archive is, if no `root` is given; empty if it must be downloaded."""
        return str(cls.source.download.parent) if cls.source.download.is_file() else ""

    @property
    def num_disjoint_tests(self) -> int:
        """The number of blocks of `num_test` among all samples."""
        return self.source.num_samples // self.num_test

    def load(self) -> Source:
        """Return the block groups: x (20640, 8) and y (20640, 1), both float64."""
        return _housing(self.source, self.root)

    def split(self) -> Split:
        """Take the seed's block of the samples as test, and draw training and validation rows from the others."""
        rows = torch.arange(self.source.num_samples)
        test, drawn = self.block_of_seed(rows), self.drawn(rows, "split")
        others = drawn[~torch.isin(drawn, test)]
        return Split(train=others[self.num_val : self.num_val + self.num_train], val=others[: self.num_val], test=test)
