"""Errors as one line for the user; reading of regular files; Ctrl-C during imports."""

from __future__ import annotations

import contextlib
import difflib
import errno
import signal
import stat
import tempfile
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# Exit codes: 128 plus the number of the signal SIGTERM, or of SIGPIPE.
TERMINATED, BROKEN_PIPE = 143, 141
# Part of torch's message when memory runs out.
NO_MEMORY = "allocate memory"
# Maximum characters of a message; the input it quotes can have any length.
LONGEST = 1000
TRACEBACK = "--traceback"
TRACE = "error.txt"


class UserError(Exception):
    """A user's mistake: printed as one line, exit code 2, no stack trace."""

    def __init__(self, message: str) -> None:
        # The quoted input may contain line breaks or control characters.
        super().__init__(printable(message if len(message) <= LONGEST else f"{message[:LONGEST]} …"))


def printable(text: object) -> str:
    """Return a text as one line, with control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Print one line, with control characters escaped."""
    print(printable(text), flush=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out; torch raises a RuntimeError for it."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY in str(error))


def explain(error: Exception) -> tuple[str, int]:
    """Describe in one line the error that ended a command; write the trace of an unexpected one to a file.

    Returns:
        The line, and the exit code: 2 for a user's mistake, 1 for any other error.
    """
    if isinstance(error, UserError):
        return str(error), 2
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        # A problem of the machine, such as a full disk.
        place = f": '{error.filename}'" if error.filename else ""
        return str(UserError(f"{error.strerror or text}{place}")), 1
    if is_out_of_memory(error):
        return str(UserError(f"out of memory: {text}")), 1
    line = UserError(f"{type(error).__name__}: {text}")
    return f"{line}; the trace is in '{printable(_keep_trace(error))}', and {TRACEBACK} shows it", 1


def ends_run(error: Exception, directory: Path) -> None:
    """Attach to an error the directory of the run that it ended."""
    vars(error)["run_directory"] = directory


def _keep_trace(error: Exception) -> Path:
    """Write the trace of an error to the directory of its run, or to a temporary directory."""
    directory = vars(error).get("run_directory")
    if directory is None or not directory.is_dir():  # an empty one is removed
        directory = Path(tempfile.mkdtemp(prefix="experiments-"))
    path: Path = directory / TRACE
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    return path


def require_file(path: Path, kind: str, suffix: str) -> None:
    """Require a regular file: reading a pipe or a device might not end.

    Args:
        path: of the file.
        kind: the name of the file in the message.
        suffix: of the files that the message may suggest instead.

    Raises:
        UserError: the file does not exist or is not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last of a name with a NUL
        beside = path.parent.glob(f"*{suffix}") if path.parent.is_dir() else ()
        siblings = [str(other) for other in beside if other != path]
        hint = f"; {nearest(str(path), siblings)}" if siblings else ""
        raise UserError(f"{kind} '{path}' does not exist{hint}") from None
    except OSError as error:
        raise UserError(f"{kind} '{path}' cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{kind} '{path}' is {'a directory' if stat.S_ISDIR(mode) else 'no file'}")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: the file does not exist, is not a regular file, or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the content of a regular text file, with its line ends unchanged.

    Raises:
        OSError: the file does not exist, is not a regular file, or cannot be read.
        UnicodeDecodeError: the file is not UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the nearest valid word, or all valid words if none is near."""
    words = sorted(str(word) for word in valid)
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return listed(words)


def listed(words: Sequence[str]) -> str:
    """Return the end of an error message that lists the valid words, shortened to one line."""
    if len(words) > 12:
        return f"valid ones begin {', '.join(words[:12])} …"
    return f"valid: {', '.join(words)}" if words else "none is known"


def check_known(kind: str, given: str, valid: Iterable[str]) -> None:
    """Raise `UserError` if `given` is not one of `valid`, naming the nearest."""
    words = list(valid)
    if given not in words:
        raise UserError(f"unknown {kind} '{given}'; {nearest(given, words)}")


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block: in the middle of its import, torch would abort the process."""
    if threading.current_thread() is not threading.main_thread():  # signals do not reach it
        yield
        return
    came = list[int]()
    usual = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if came:
        signal.raise_signal(signal.SIGINT)
