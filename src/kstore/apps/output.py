"""The file that a file consumer appends to, and what a killed run left in it.

Owns whole writes, the end of the last line, and the duplicate-read window: the bytes behind the size that the last
commit tells. Must not know where records come from. Called by `file_consumer` and `broker_consumer`.

Invariants
1. A write is whole or cut off again.
2. The file never gains a line that glues a half line of a killed run to a new one.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from kstore.errors import UsageError

READ_BYTES = 1 << 20


@dataclass
class Summary:
    """What a run did."""

    records: int = 0
    size_bytes: int = 0
    commits: int = 0
    resumed: bool = False
    window_bytes: int = 0
    """Bytes behind the last commit of a killed run: what was about to be written a second time."""
    window_lines: int = 0
    cut: bool = False
    """The window was cut off (`--exactly`) rather than repeated."""
    next_offsets: dict[int, int] = field(default_factory=dict)


class Output:
    """The file that records are appended to, unbuffered."""

    def __init__(self, path: str) -> None:
        """Open or create it; raises `OSError`."""
        self.named = path
        """The path as the user wrote it."""
        self.path = os.path.abspath(path)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise UsageError(f"{path} is not a regular file; to write to a pipe or a terminal use `kstore consume`")
        self.size_bytes = status.st_size

    def write(self, data: bytes) -> None:
        """Append all of `data`; raises `OSError`, having cut off what was written of it."""
        start, view = self.size_bytes, memoryview(data)
        try:
            while view:
                done = os.pwrite(self._fd, view, self.size_bytes)
                self.size_bytes += done
                view = view[done:]
        except OSError as error:
            self.cut(start)
            raise OSError(error.errno, error.strerror, self.path) from error

    def sync(self) -> None:
        """Return once all that was written is on the medium; raises `OSError`."""
        os.fdatasync(self._fd)

    def cut(self, size_bytes: int) -> None:
        """Make the file shorter."""
        os.ftruncate(self._fd, size_bytes)
        self.size_bytes = size_bytes

    def end_of_last_line(self, above: int = 0) -> int:
        """The position behind the last newline at or above `above`; `above` when there is none."""
        end = self.size_bytes
        while end > above:
            start = max(above, end - READ_BYTES)
            found = os.pread(self._fd, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return above

    def count_lines(self, above: int) -> int:
        """Newlines at and above a position."""
        count, position = 0, above
        while data := os.pread(self._fd, READ_BYTES, position):
            count += data.count(b"\n")
            position += len(data)
        return count

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def show_window(
    output: Output, size_bytes: int | None, summary: Summary, notice: Callable[[str], None], *, exactly: bool
) -> None:
    """Compare the file with its size at the last commit, and say what will be written twice; `exactly` cuts it off.

    `size_bytes` is None where the last commit told of another file. Raises `UsageError` where `exactly` cannot know.
    """
    if size_bytes is None or size_bytes > output.size_bytes:
        what = "was not what this group last wrote to" if size_bytes is None else "is shorter than at the commit"
        if exactly:
            raise UsageError(
                f"--exactly: {output.path} {what}, so the place of the last commit in it is not known; "
                f"run without --exactly, or name the file that the group wrote"
            )
        notice(f"{output.path} {what}; records are appended behind what it holds")
        end_last_line(output, notice)
        return
    summary.window_bytes = output.size_bytes - size_bytes
    if not summary.window_bytes:
        return
    output.cut(output.end_of_last_line(size_bytes))
    summary.window_lines = output.count_lines(size_bytes)
    window = (
        f"{summary.window_lines} whole lines ({summary.window_bytes} bytes) were written to "
        f"{output.named} after the last commit"
    )
    if exactly:
        output.cut(size_bytes)
        summary.cut = True
        notice(f"{window}; --exactly cuts them off, they come again")
    else:
        notice(f"duplicate-read window: {window}; their records are read again and appear twice")


def end_last_line(output: Output, notice: Callable[[str], None]) -> None:
    """A file of somebody else that ends within a line: its line is ended, not continued."""
    if output.size_bytes and output.end_of_last_line() != output.size_bytes:
        output.write(b"\n")
        notice(f"{output.named} ended without a newline; one was added before the first record")


def metadata_of(path: str, size_bytes: int) -> str:
    """What a commit says of FILE: its size, and its name as far as the 4096 bytes of Kafka allow."""
    return json.dumps({"file": path[-1000:], "size_bytes": size_bytes})


def size_in(metadata: str, path: str) -> int | None:
    """The size in a commit's metadata when it speaks of this file."""
    try:
        said = json.loads(metadata)
        return int(said["size_bytes"]) if said["file"] == path[-1000:] else None
    except (ValueError, KeyError, TypeError):
        return None
