"""A file read line by line while others append to it, rotate it, cut it or put another in its place.

Owns the open file, the bytes of an unfinished last line, and the judgement what happened to the file. It knows
nothing of topics and decides nothing: the file producer asks `state()` at the end of the file and acts.

What a line is: the bytes up to a newline (0x0A), without it. A carriage return before it stays part of the line, an
empty line is a line, bytes need not be UTF-8.

Invariants:
1. `read` yields whole lines only, each exactly once, in file order; `position` is the byte behind the last newline
   that was yielded.
2. An unfinished last line is given out by `take_rest` alone.
3. After a rotation the old file is read to its end through its open descriptor before the new one is opened.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass

from kstore.apps.positions import Fingerprint, fingerprint
from kstore.errors import UsageError

READ_BYTES = 1 << 20
"""One read: large enough that a read's cost vanishes, small enough that memory stays flat."""
LAST_BYTES = 256
"""Bytes before the position that are compared before each read: what was read must still stand there."""


class State(enum.Enum):
    """What is known of a file whose end was reached."""

    WAITING = "at its end; more may be appended"
    TRUNCATED = "shorter than what was read, or other bytes stand there now"
    REPLACED = "the path names another file now"


@dataclass(frozen=True)
class Lines:
    """Whole lines that stand one after another in the file."""

    values: list[bytes]
    start: int
    """Position of the first line's first byte."""
    end: int
    """Position behind the last line and its newline, if it has one."""
    terminated: bool = True
    """False for a last line without a newline."""


class Tail:
    """One path, followed. Use `close` when done."""

    def __init__(self, path: str, *, line_bytes_max: int) -> None:
        """Open the file at its first byte; raises `OSError`. A line above `line_bytes_max` is refused on reading."""
        self.path = path
        self._line_bytes_max = line_bytes_max
        self._open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0)

    @classmethod
    def resume(cls, path: str, known: Fingerprint, *, line_bytes_max: int) -> tuple[Tail | None, str]:
        """Find the file of a fingerprint again: at `path`, or beside it under the name that rotation gave it.

        Returns the tail at the known position, or None, and why.
        """
        here = _match(path, known)
        if here is not None:
            return cls._at(path, here, known.position, line_bytes_max), "continued"
        for name in _siblings(path):
            fd = _match(name, known)
            if fd is not None:
                return cls._at(path, fd, known.position, line_bytes_max), f"rotated to {name}"
        same = _same_inode(path, known)
        return None, "truncated or written anew" if same else "replaced by another file"

    @classmethod
    def _at(cls, path: str, fd: int, position: int, line_bytes_max: int) -> Tail:
        tail = cls.__new__(cls)
        tail.path = path
        tail._line_bytes_max = line_bytes_max
        tail._open(fd, position)
        return tail

    def _open(self, fd: int, position: int) -> None:
        self._fd = fd
        self.position = position
        self._rest = bytearray()
        self._last = os.pread(fd, min(position, LAST_BYTES), max(position - LAST_BYTES, 0))

    # -- reading --------------------------------------------------------------------------------------------

    def read(self) -> Lines | None:
        """The next whole lines, at most about a megabyte; None when no line is complete.

        Raises `UsageError` for a line above the limit, `OSError`.
        """
        while True:
            self._refuse_long(len(self._rest))
            if not self._still_there():
                return None
            data = os.pread(self._fd, READ_BYTES, self.position + len(self._rest))
            if not data:
                return None
            cut = data.rfind(b"\n")
            if cut < 0:
                self._rest += data
                continue
            whole = bytes(self._rest) + data[:cut]
            self._rest = bytearray(data[cut + 1 :])
            start = self.position
            self.position += len(whole) + 1
            self._last = (self._last + whole[-LAST_BYTES:] + b"\n")[-LAST_BYTES:]
            values = whole.split(b"\n")
            if len(whole) > self._line_bytes_max:
                self._refuse_long(max(map(len, values)))
            return Lines(values, start, self.position)

    def take_rest(self) -> Lines | None:
        """The last line of a file that ends without a newline; None when there is no such line."""
        if not self._rest:
            return None
        rest = bytes(self._rest)
        self._rest.clear()
        start = self.position
        self.position += len(rest)
        self._last = (self._last + rest[-LAST_BYTES:])[-LAST_BYTES:]
        return Lines([rest], start, self.position, terminated=False)

    def step(self, size_bytes: int) -> None:
        """Step over bytes that were sent before; only right after `resume`."""
        self._open(self._fd, self.position + size_bytes)

    def skip_newline(self) -> bool:
        """Step over a newline at the position: the end of a line that was sent without one."""
        if os.pread(self._fd, 1, self.position) != b"\n":
            return False
        self.step(1)
        return True

    def _refuse_long(self, size_bytes: int) -> None:
        if size_bytes > self._line_bytes_max:
            raise UsageError(
                f"{self.path}: a line behind byte {self.position} has {size_bytes} bytes or more, above "
                f"--max-line-bytes {self._line_bytes_max}; raise that option if the line is meant to be so long"
            )

    # -- what happened to the file --------------------------------------------------------------------------

    def state(self) -> State:
        """What became of the file at whose end reading stopped."""
        if not self._still_there():
            return State.TRUNCATED
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return State.WAITING
        mine = os.fstat(self._fd)
        same = (status.st_dev, status.st_ino) == (mine.st_dev, mine.st_ino)
        return State.WAITING if same else State.REPLACED

    def _still_there(self) -> bool:
        """Whether the bytes just read still stand where they stood: not cut, not cut and written anew."""
        if os.fstat(self._fd).st_size < self.read_end:
            return False
        last = self._last
        return not last or os.pread(self._fd, len(last), self.position - len(last)) == last

    def rewind(self) -> int:
        """Start the same file over; returns how many bytes of an unfinished line were dropped."""
        dropped = len(self._rest)
        self._open(self._fd, 0)
        return dropped

    def switch(self) -> None:
        """Leave the old file and open what the path names now, at its first byte; raises `OSError`."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._fd)
        self._open(fd, 0)

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the file at the present position."""
        return fingerprint(self._fd, self.position)

    @property
    def rest_bytes(self) -> int:
        """Size of the unfinished last line."""
        return len(self._rest)

    @property
    def read_end(self) -> int:
        """The byte behind the last one that was read, the unfinished line included."""
        return self.position + len(self._rest)

    @property
    def size_bytes(self) -> int:
        """Size of the open file now."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _match(path: str, known: Fingerprint) -> int | None:
    """An open descriptor of `path` when it is the known file and still holds what was sent."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) == (known.device, known.inode) and known.matches(fd):
        return fd
    os.close(fd)
    return None


def _same_inode(path: str, known: Fingerprint) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (known.device, known.inode)


def _siblings(path: str) -> list[str]:
    """Regular files beside `path` whose name goes on from its name, as rotation names them (`app.log.1`)."""
    directory, name = os.path.split(os.path.abspath(path))
    stem = name.split(".", 1)[0]
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return []
    return [e.path for e in entries if e.name != name and e.name.startswith(stem) and e.is_file()]
