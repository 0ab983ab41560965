"""California housing: its archive in its genuine format, found, fetched, verified, and read without a pickle."""

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
import torch

from datamodules.housing import CALIFORNIA_HOUSING, COLUMNS, ArchiveSource, CaliforniaHousing


def parts(module):
    return zip((module.train, module.val, module.test), module.indices, strict=True)


N = 60
DATA, DOMAIN = "CaliforniaHousing/cal_housing.data", "CaliforniaHousing/cal_housing.domain"
NAMES = "".join(f"{name}: continuous. \n" for name in COLUMNS).encode()


def rows(n: int = N) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([np.round(rng.uniform(low, high, n), 4) for low, high in COLUMNS.values()])


def csv(table: np.ndarray) -> bytes:
    return "".join(",".join(f"{value:f}" for value in row) + "\n" for row in table).encode()


def tgz(members: dict[str, bytes | str]) -> bytes:
    """An archive; a member given as a string is a symbolic link to it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def source_of(content: bytes, url: str = "http://127.0.0.1:9/") -> ArchiveSource:
    digest = hashlib.sha256(content).hexdigest()
    return ArchiveSource(file="cal_housing.tgz", url=url, sha256=digest, num_samples=N)


def no_network(*_args, **_kwargs):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty current directory, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    return tmp_path


@pytest.fixture
def content() -> bytes:
    return tgz({DATA: csv(rows()), DOMAIN: NAMES})


def housing(monkeypatch, source: ArchiveSource, **arguments) -> CaliforniaHousing:
    monkeypatch.setattr(CaliforniaHousing, "source", source)
    sizes = {"num_train": 30, "num_val": 12, "num_test": 6}
    return CaliforniaHousing(**{"batch_size": 16, "seed": 1000} | sizes | arguments)


def put(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cal_housing.tgz").write_bytes(content)
    return folder


def test_columns_are_those_of_scikit_learns_fetcher_from_the_same_archive(here, content, monkeypatch):
    module = housing(monkeypatch, source_of(content), root=str(put(here / "root", content)))
    genuine = sklearn.datasets._california_housing.ARCHIVE
    local = genuine._replace(checksum=module.source.sha256)
    monkeypatch.setattr(sklearn.datasets._california_housing, "ARCHIVE", local)
    home = put(here / "home", content)
    x, y = sklearn.datasets.fetch_california_housing(data_home=home, return_X_y=True, n_retries=1)
    source = module.load()
    np.testing.assert_array_equal(source.x, x)
    np.testing.assert_array_equal(source.y, y[:, None])


def test_columns_are_the_documented_formulas(here, content, monkeypatch):
    module = housing(monkeypatch, source_of(content), root=str(put(here / "root", content)))
    table = pd.DataFrame(rows(), columns=list(COLUMNS))
    household = table["households"]
    expected = pd.DataFrame(
        {
            "MedInc": table["medianIncome"],
            "HouseAge": table["housingMedianAge"],
            "AveRooms": table["totalRooms"] / household,
            "AveBedrms": table["totalBedrooms"] / household,
            "Population": table["population"],
            "AveOccup": table["population"] / household,
            "Latitude": table["latitude"],
            "Longitude": table["longitude"],
        }
    )
    np.testing.assert_allclose(module.load().x, expected, rtol=1e-12)
    module.setup()
    train = expected.iloc[module.indices.train.numpy()]
    for (inputs, targets), index in parts(module):
        part = expected.iloc[index.numpy()]
        # The longitude is 40 deviations from 0 here, in single precision.
        np.testing.assert_allclose(inputs, (part - train.mean()) / train.std(ddof=0), atol=5e-6)
        value = table["medianHouseValue"].iloc[index.numpy()] / 100_000
        np.testing.assert_allclose(module.in_original_units(targets)[:, 0], value, rtol=1e-6, atol=1e-6)


def test_the_archive_is_the_one_that_scikit_learn_refers_to():
    genuine = sklearn.datasets._california_housing.ARCHIVE
    ours = CALIFORNIA_HOUSING
    assert (ours.file, ours.url, ours.sha256) == (genuine.filename, genuine.url, genuine.checksum)
    assert CaliforniaHousing.info.samples == ours.num_samples == 20_640


def test_ten_seeds_have_disjoint_tests_and_parts_never_overlap():
    splits = [CaliforniaHousing(batch_size=64, seed=seed).split() for seed in range(1000, 1010)]
    tests = torch.cat([split.test for split in splits])
    assert len(tests.unique()) == len(tests) == 20_000
    for split in splits:
        together = torch.cat(list(split))
        assert [len(part) for part in split] == [12_000, 4_000, 2_000]
        assert len(together.unique()) == len(together)
    assert not torch.equal(splits[0].train, splits[1].train)
    assert CaliforniaHousing(batch_size=64, seed=0).disjoint_test
    assert not CaliforniaHousing(batch_size=64, seed=0, num_test=2_100).disjoint_test


def test_a_larger_training_split_contains_the_smaller_and_moves_no_other_part():
    small, large = (CaliforniaHousing(batch_size=64, seed=1000, num_train=n).split() for n in (100, 14_640))
    assert torch.equal(small.train, large.train[:100])
    assert torch.equal(small.val, large.val)
    assert torch.equal(small.test, large.test)


@pytest.mark.parametrize("place", ["root", "data/california_housing"])
def test_the_archive_is_found(here, content, monkeypatch, place):
    put(here / place, content)
    module = housing(monkeypatch, source_of(content), root="root" if place == "root" else None)
    np.testing.assert_allclose(module.load().y[:, 0] * 100_000, rows()[:, 8], rtol=1e-12)
    assert module.location() == ("" if place == "root" else str(Path(place)))


def test_the_root_given_comes_first_and_a_home_directory_can_be_abbreviated(here, content, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    put(here / "mine", content)
    put(here / "data" / "california_housing", b"never read")
    assert len(housing(monkeypatch, source_of(content), root="~/mine").load().x) == N


@pytest.fixture
def mirror(tmp_path, monkeypatch, content):
    """A web server on this machine with the archive; gives its folder and the source that points there."""
    folder = put(tmp_path / "mirror", content)
    monkeypatch.chdir(tmp_path)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, source_of(content, f"http://127.0.0.1:{server.server_port}/cal_housing.tgz")
        server.shutdown()
        thread.join()


def test_the_archive_is_downloaded_once(mirror, content, monkeypatch):
    folder, source = mirror
    assert housing(monkeypatch, source).location() == ""
    first = housing(monkeypatch, source).load()
    assert [path.read_bytes() for path in Path("data").rglob("*") if path.is_file()] == [content]
    (folder / "cal_housing.tgz").unlink()
    # Another object, so that the process's memory does not answer.
    again = housing(monkeypatch, replace(source)).load()
    assert torch.equal(first.x, again.x)


@pytest.mark.parametrize("answer", [b"<html>log in first</html>", None])
def test_a_bad_download_is_refused_and_leaves_nothing(mirror, monkeypatch, answer):
    folder, source = mirror
    path = folder / "cal_housing.tgz"
    path.unlink() if answer is None else path.write_bytes(answer)
    with pytest.raises(FileNotFoundError, match=r"downloading it failed \(") as error:
        housing(monkeypatch, source).load()
    assert "\n" not in str(error.value)
    assert ("404" if answer is None else f"expected SHA-256 {source.sha256}") in str(error.value)
    assert not [path for path in Path("data").rglob("*") if path.is_file()]


def test_no_archive_and_no_network_is_one_line_with_the_remedies(here, content, monkeypatch):
    # What scikit-learn leaves behind is a pickle, and not read.
    folder = put(here / "data" / "california_housing", content)
    (folder / "cal_housing.tgz").rename(folder / "cal_housing_py3.pkz")
    with pytest.raises(FileNotFoundError) as error:
        housing(monkeypatch, replace(source_of(content), url=CALIFORNIA_HOUSING.url)).load()
    message = str(error.value)
    assert "\n" not in message
    for part in ("CaliforniaHousing", "data", "Name or service not known"):
        assert part in message
    for remedy in ("the folder of cal_housing.tgz as root", "connect to the network once", "use Diabetes"):
        assert remedy in message


def test_a_root_without_the_archive_is_refused_though_it_lies_elsewhere(here, content, monkeypatch):
    put(here / "data" / "california_housing", content)
    with pytest.raises(FileNotFoundError, match=r"is not in nowhere/cal_housing\.tgz: give the folder"):
        housing(monkeypatch, source_of(content), root="nowhere").load()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + b"?", lambda _: b""])
@pytest.mark.parametrize("place", ["root", "data/california_housing"])
def test_an_altered_archive_is_never_used(here, content, monkeypatch, place, damage):
    path = put(here / place, damage(content)) / "cal_housing.tgz"
    with pytest.raises(OSError, match="is not the original") as error:
        housing(monkeypatch, source_of(content), root="root" if place == "root" else None).load()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(error.value).endswith(f"found {found}; delete or replace it")
    assert str(Path(place) / "cal_housing.tgz") in str(error.value)


def with_value(row: int, column: int, value: float) -> bytes:
    table = rows()
    table[row, column] = value
    return tgz({DATA: csv(table), DOMAIN: NAMES})


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"garbage", "is damaged"),
        (tgz({DATA: csv(rows()), DOMAIN: NAMES})[:-50], "is damaged"),
        (tgz({DOMAIN: NAMES}), "is damaged .*cal_housing.data"),
        (tgz({DATA: csv(rows())}), "is damaged .*cal_housing.domain"),
        (tgz({DATA: b"1,2,three\n", DOMAIN: NAMES}), "is damaged"),
        (tgz({DATA: b"1,2\n1\n", DOMAIN: NAMES}), "is damaged"),
        (tgz({DATA: csv(rows()[:-1]), DOMAIN: NAMES}), r"must have the shape \(60, 9\), not \(59, 9\)"),
        (tgz({DATA: csv(rows()), DOMAIN: NAMES[::-1]}), "the columns must be longitude, latitude, .*"),
        (with_value(5, 0, float("nan")), r"longitude must lie in \[-124.35, -114.31\] in every row"),
        (with_value(5, 6, 0), r"households must lie in \[1, 6,082\] in every row"),
        (with_value(5, 8, 500_002), r"medianHouseValue must lie in \[14,999, 500,001\] in every row"),
    ],
    # An archive holds the time at which it was made, and every process that runs tests must give them the same names.
    ids=[
        "no archive",
        "cut short",
        "no table",
        "no names",
        "a word",
        "a short row",
        "a row missing",
        "columns in another order",
        "no number",
        "no households",
        "too dear",
    ],
)
def test_a_table_that_is_not_whole_is_one_clear_line(here, monkeypatch, damaged, message):
    module = housing(monkeypatch, source_of(damaged), root=str(put(here / "root", damaged)))
    with pytest.raises(OSError, match=message) as error:
        module.load()
    assert "\n" not in str(error.value)
    assert str(here / "root" / "cal_housing.tgz") in str(error.value)


def test_nothing_of_the_archive_reaches_the_disk(here, monkeypatch):
    work = here / "a" / "b"
    hostile = {"../evil": b"!", "../../evil": b"!", f"{here}/evil": b"!", DATA: csv(rows()), DOMAIN: NAMES}
    content = tgz(hostile)
    put(work / "root", content)
    monkeypatch.chdir(work)
    assert len(housing(monkeypatch, source_of(content), root="root").load().x) == N
    assert [path for path in here.rglob("*") if path.is_file()] == [work / "root" / "cal_housing.tgz"]


def test_a_link_out_of_the_archive_is_not_followed(here, monkeypatch):
    (here / "secret").write_bytes(csv(rows()))
    content = tgz({DATA: str(here / "secret"), DOMAIN: NAMES})
    with pytest.raises(OSError, match="is damaged"):
        housing(monkeypatch, source_of(content), root=str(put(here / "root", content))).load()
