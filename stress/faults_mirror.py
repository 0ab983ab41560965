"""The web servers of two data sets, on this machine, with small files in their genuine formats."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision

from datamodules.housing import COLUMNS, CaliforniaHousing
from datamodules.images import SVHN


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[None]:
    """Offer SVHN and California housing, and let their sources and digests be those of what is offered."""
    folder.mkdir()
    images = {f"{part}_32x32.mat": _images() for part in ("train", "test")}
    table = _table()
    for name, content in {**images, "cal_housing.tgz": table}.items():
        (folder / name).write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_port}"
        patch.setenv("no_proxy", "127.0.0.1")
        sums = {name: hashlib.md5(content).hexdigest() for name, content in images.items()}
        splits = {part: [f"{address}/{part}_32x32.mat", f"{part}_32x32.mat", sums[f"{part}_32x32.mat"]]
                  for part in ("train", "test")}  # fmt: skip
        patch.setattr(torchvision.datasets.SVHN, "split_list", splits)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in images.items()}
        patch.setattr(SVHN, "source", dataclasses.replace(SVHN.source, sha256=digests))
        patch.setattr(
            CaliforniaHousing,
            "source",
            dataclasses.replace(
                CaliforniaHousing.source,
                url=f"{address}/cal_housing.tgz",
                sha256=hashlib.sha256(table).hexdigest(),
                num_samples=ROWS,
            ),
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


ROWS = 18_000  # as many as are used


def _images() -> bytes:
    rng, file = np.random.default_rng(0), io.BytesIO()
    arrays = {"X": rng.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8), "y": rng.integers(1, 11, (12, 1))}
    scipy.io.savemat(file, arrays, do_compression=True)
    return file.getvalue()


@functools.cache
def _table() -> bytes:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.uniform(low, high, ROWS) for low, high in COLUMNS.values()])
    members = {
        "domain": "".join(f"{name}: continuous.\n" for name in COLUMNS),
        "data": "".join(",".join(map(str, row)) + "\n" for row in values.tolist()),
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(f"CaliforniaHousing/cal_housing.{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return file.getvalue()
