"""Made files in the place of Fashion-MNIST's, so that no test needs a package of the system or the network."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.images import FashionMNIST
from datamodules.sources import ImageSource

NUM_TRAIN, NUM_TEST = 21_000, 1_000  # as many as any config at smoke scale asks for


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="made-images-")  # removed when the tests end


@functools.cache
def source() -> ImageSource:
    """Files in the form of Fashion-MNIST's: noise with a bright row that tells the class, for seven labels of ten."""
    folder, rng = Path(_folder().name), np.random.default_rng(0)
    digests = {}
    names = iter(FashionMNIST.source.sha256)
    for count in (NUM_TRAIN, NUM_TEST):
        pixels = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        pixels[np.arange(count), 4 + 2 * labels] = 255
        # No network reaches a low loss at once, which would end a run that waits for one.
        labels = np.where(rng.random(count) < 0.3, rng.integers(0, 10, count, dtype=np.uint8), labels)
        for values in (pixels, labels):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(length.to_bytes(4, "big") for length in values.shape)
            name, content = next(names), header + values.tobytes()
            (folder / name).write_bytes(content)
            digests[name] = hashlib.sha256(content).hexdigest()
    return replace(FashionMNIST.source, sha256=digests, num_train=NUM_TRAIN, num_test=NUM_TEST, system=folder)


@contextlib.contextmanager
def made_images() -> Iterator[None]:
    """Let FashionMNIST read the made files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FashionMNIST, "source", source())
        yield
