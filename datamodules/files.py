"""Verification of downloaded files, and errors of the disk during a download."""

import errno
import gzip
import hashlib
import io
import zlib
from pathlib import Path

# Limit in bytes for a decompressed file; the largest original, MNIST's training images, has 47 million.
LARGEST_FILE = 64_000_000
# Error numbers of the disk, as opposed to the network or the data.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def read_verified(path: Path, name: str, sha256: str) -> bytes:
    """Return the verified content of a file, decompressed if the file is `<name>.gz`.

    Raises:
        OSError: the file cannot be decompressed, or its digest differs.
    """
    content = path.read_bytes()
    if path.name != name:
        try:
            # Limited, because a forged archive could decompress to any size before its digest is verified.
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST_FILE)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OSError(f"{path} is damaged ({error}): delete it, or replace it by the original") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise OSError(f"{path} is not the original: expected SHA-256 {sha256}, found {found}; delete or replace it")
    return content


def raise_disk_error(error: Exception, name: str, place: Path) -> None:
    """Raise a clear error if a download failed because of the disk; return otherwise.

    Raises:
        OSError: the disk is full or cannot be written, with the error number.
    """
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        raise OSError(error.errno, f"{error.strerror}, while {name} was downloaded", str(place)) from error
