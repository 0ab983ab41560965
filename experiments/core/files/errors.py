"""What went wrong, in one line; and files that may be anything, of which only regular ones are opened."""

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

# Exit code after SIGTERM: 128 and the signal's number; and where nobody reads what is printed any more.
TERMINATED, BROKEN_PIPE = 143, 141
# What torch says in its errors of memory.
NO_MEMORY = "allocate memory"
# Letters of a message: what was asked for can be of any length.
LONGEST = 1000
TRACEBACK = "--traceback"
TRACE = "error.txt"


class UserError(Exception):
    """A mistake in what was asked for: printed as one line, exit code 2, no stack trace."""

    def __init__(self, message: str) -> None:
        # What was asked for may hold a new line, or what a terminal obeys.
        super().__init__(printable(message if len(message) <= LONGEST else f"{message[:LONGEST]} …"))


def printable(text: object) -> str:
    """A text in one line, in which everything is spelt out that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Print one line, whatever the names in it hold."""
    print(printable(text), flush=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether more memory was asked for than there is; torch says so in words only."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY in str(error))


def explain(error: Exception) -> tuple[str, int]:
    """Say in one line what ended a command. Of an error that nobody expected, the trace is kept in a file.

    Returns:
        The line, and the exit code: 2 for a user's mistake, 1 for any other error.
    """
    if isinstance(error, UserError):
        return str(error), 2
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        # The machine's fault, and no mistake: a disk that is full, above all.
        place = f": '{error.filename}'" if error.filename else ""
        return str(UserError(f"{error.strerror or text}{place}")), 1
    if is_out_of_memory(error):
        return str(UserError(f"out of memory: {text}")), 1
    line = UserError(f"{type(error).__name__}: {text}")
    return f"{line}; the trace is in '{printable(_keep_trace(error))}', and {TRACEBACK} shows it", 1


def ends_run(error: Exception, directory: Path) -> None:
    """Note in which run's directory the trace of an error belongs."""
    vars(error)["run_directory"] = directory


def _keep_trace(error: Exception) -> Path:
    """Write the trace of an error into the directory of the run that it ended, or else into a temporary one."""
    directory = vars(error).get("run_directory")
    if directory is None or not directory.is_dir():  # an empty one is removed
        directory = Path(tempfile.mkdtemp(prefix="experiments-"))
    path: Path = directory / TRACE
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    return path


def require_file(path: Path, kind: str, suffix: str) -> None:
    """Require a regular file: a pipe would wait for a writer, and a device may have no end.

    Args:
        path: as it was given.
        kind: what the message calls it.
        suffix: of the files beside it that may have been meant.

    Raises:
        UserError: it does not exist, or is something else.
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
        OSError: there is none of this name, or it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the content of a regular text file, its line ends as they are.

    Raises:
        OSError: there is none of this name, or it cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path).decode("utf-8")


def nearest(given: str, valid: Iterable[str]) -> str:
    """Return the ending of an error message: the nearest valid word, or all of them when none is near."""
    words = sorted(str(word) for word in valid)
    close = difflib.get_close_matches(given, words, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return listed(words)


def listed(words: Sequence[str]) -> str:
    """Return the ending of an error message that lists what is valid, as far as a line holds it."""
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
    """Let Ctrl-C take effect at the end: in the middle of its own import, torch would abort the process."""
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
