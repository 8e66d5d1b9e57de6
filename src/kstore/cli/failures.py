"""From an exception to the one line that a user reads, and the exit code.

Owns the words for what the operating system refuses; kstore's own errors bring their message along. Called by
`main` alone.
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

DONE, FAILED, WRONG_USE = 0, 1, 2


class Failure(NamedTuple):
    """How a command ended."""

    code: int
    message: str


_NEXT_STEPS = {
    errno.ENOENT: "no such file or directory; check the path",
    errno.EACCES: "permission denied; run as the owner of the directory, or open it to this user",
    errno.EPERM: "operation not permitted; run as the owner of the directory, or open it to this user",
    errno.EROFS: "the file system is read-only; commands that only read still work",
    errno.ENOSPC: "no space left on the device; free some and run the command again, nothing half-written remains",
    errno.EDQUOT: "disk quota exceeded; free some space and run the command again, nothing half-written remains",
    errno.EISDIR: "is a directory; name a file",
    errno.ENOTDIR: "is not a directory; name a directory",
    errno.EMFILE: "too many open files; raise the limit (`ulimit -n`) and run the command again",
    errno.EIO: "the disk reports an input/output error; check it before anything is written again",
}


def describe(error: Exception) -> Failure:
    """The failure to report for an exception that reached the top."""
    from kstore.errors import CorruptionError, InvariantError, KStoreError, UsageError

    if isinstance(error, InvariantError):
        return Failure(FAILED, f"{one_line(error)} (a bug in kstore: please report it with KSTORE_TRACEBACK=1)")
    if isinstance(error, CorruptionError):
        return Failure(FAILED, one_line(error))
    if isinstance(error, UsageError):
        return Failure(WRONG_USE, one_line(error))
    if isinstance(error, KStoreError):
        return Failure(FAILED, one_line(error))
    if isinstance(error, OSError):
        return Failure(FAILED, of_os(error))
    if isinstance(error, MemoryError):
        return Failure(FAILED, "out of memory; read smaller pieces, or run with more memory")
    return Failure(
        FAILED,
        f"unexpected {type(error).__name__}: {one_line(error)} "
        f"(a bug in kstore: run again with KSTORE_TRACEBACK=1 and report what it prints)",
    )


def of_os(error: OSError) -> str:
    """What the operating system refused, of which file, and what to do."""
    step = _NEXT_STEPS.get(error.errno or 0, error.strerror or str(error))
    return f"{error.filename}: {step}" if error.filename else step


def one_line(error: Exception) -> str:
    """The message on one line."""
    return re.sub(r"\s*\n\s*", "; ", str(error)).strip()
