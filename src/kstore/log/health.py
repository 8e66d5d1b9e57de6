"""Whether a log directory may still be written: one `Health` for all partitions of a directory.

Owns the rule which errors of the operating system pass and which end a directory's life. Called by `log`,
`partition` and `store` around every write; knows no partition.

Invariants:
1. The first failed fsync is final. What the kernel could not write it marks clean again, so a second fsync that
   succeeds says nothing (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
2. A full disk or an exhausted file table is not final: the write that met it was undone, and the next may work.
3. Once final, always final: only reopening the directory starts anew, with a recovery that writes again what may be in
   the page cache alone (`rewriting`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from kstore.errors import StorageError

PASSING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN, errno.EEXIST}
)
"""Conditions that end by themselves or by an operator's hand while the process lives; EEXIST: somebody has put
something where a topic's directory was to be made."""
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What this user, or this mount, may not do: the disk is well, and another one may."""


class Health:
    """The state of one log directory's disk."""

    __slots__ = ("failure",)

    def __init__(self) -> None:
        self.failure: StorageError | None = None
        """The final failure, or None while the directory takes writes."""

    def require(self) -> None:
        """Raise the final `StorageError` again if there was one."""
        if self.failure is not None:
            f = self.failure
            raise StorageError(f.errno, f.file, f.action, f.reason)

    def refuse(self, error: OSError, action: str, file: str, *, final: bool | None = None) -> NoReturn:
        """Turn an `OSError` into the `StorageError` a caller sees; take the directory offline where it is final."""
        number = error.errno or errno.EIO
        if final is None:
            final = number not in PASSING
        name = error.filename if isinstance(error.filename, str) else file
        failure = StorageError(number, name, action, error.strerror or os.strerror(number), final=final)
        if final and self.failure is None:
            self.failure = failure
        raise failure from error

    @contextmanager
    def guard(self, action: str, file: str, *, final: bool | None = None) -> Iterator[None]:
        """Run a block of file operations; an `OSError` in it becomes a `StorageError` as `refuse` says."""
        try:
            yield
        except OSError as error:
            self.refuse(error, action, file, final=final)
