"""Files that come from elsewhere: verified before they are used, and told apart from a disk that takes no more."""

import errno
import gzip
import hashlib
import io
import zlib
from pathlib import Path

# Bytes of a decompressed file: the largest known, MNIST's training images, has 47 million. More is not the original.
LARGEST_FILE = 64_000_000
# Numbers of errors that the disk has, and neither the network nor the data.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def verified(path: Path, name: str, sha256: str) -> bytes:
    """Return the content of a file, decompressed if it has not its own name but `<name>.gz`.

    Raises:
        OSError: it cannot be decompressed, or its digest is another one.
    """
    content = path.read_bytes()
    if path.name != name:
        try:
            # What is not the original could grow without end before its digest shows it.
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST_FILE)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OSError(f"{path} is damaged ({error}): delete it, or replace it by the original") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise OSError(f"{path} is not the original: expected SHA-256 {sha256}, found {found}; delete or replace it")
    return content


def refuse_disk(error: Exception, name: str, place: Path) -> None:
    """Raise what the disk has to say about a download, since no other place of the data would mend it.

    Raises:
        OSError: the disk is full, or takes nothing for another reason; with its number.
    """
    if isinstance(error, OSError) and error.errno in DISK:
        raise OSError(error.errno, f"{error.strerror}, while {name} was downloaded", str(place)) from error
