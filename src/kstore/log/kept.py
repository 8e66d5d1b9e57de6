"""What a recovery or a repair takes out of a log is kept, in `.corrupt` files beside the segment.

Owns when a file of that kind is written and under which name. Called by `loader` where it cuts a torn tail and by
`inspect.repairs` where it replaces damage, both before the bytes leave the log. It must not know why they do.

A crash between the copy and the cut has the same bytes removed again. They may have become fewer by then: while a
shorter file is not synced, the medium may hold the old size with zeros in sectors that were to go. So bytes that a
kept file has already are not kept again, and no kept file is ever written over.

Invariants
1. When `keep` returns, every byte that is no zero is on the medium under a name that is, too.
2. A `.corrupt` file never changes once it has its name; other bytes from the same place go into a file with a number.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kstore.log import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstore.log.disk import Disk

SECTOR_BYTES = 512
"""What a disk writes whole or not at all; where a file is cut, zeros are written up to the end of one or more."""


def place_of(disk: Disk, segment_path: str, position: int, removed: bytes | memoryview) -> str:
    """Where `keep` has or will put these bytes; an empty string for zeros, which are not kept. Raises `OSError`."""
    if _is_zeros(removed):
        return ""
    return next(
        path
        for path in _paths(segment_path, position)
        if not disk.exists(path) or _covers(disk.read_file(path), position, memoryview(removed))
    )


def keep(disk: Disk, segment_path: str, position: int, removed: bytes | memoryview) -> str:
    """Keep bytes that are about to leave a segment at `position`; returns where, empty for zeros.

    They are on the medium when this returns. Raises `OSError`.
    """
    path = place_of(disk, segment_path, position, removed)
    if not path:
        return path
    if not disk.exists(path):
        disk.write_file_atomic(path, bytes(removed))
    else:  # whoever wrote it may have died before its name was on the medium
        disk.sync_dir(path.rpartition("/")[0])
    return path


def keep_segment(disk: Disk, segment_path: str) -> str:
    """Take a whole segment's log out of the log, under another name; returns which.

    The caller syncs the directory. Raises `OSError`.
    """
    path = next(path for path in _paths(segment_path, None) if not disk.exists(path))
    file = disk.open_file(segment_path)
    try:
        file.sync()
    finally:
        file.close()
    disk.rename(segment_path, path)
    return path


def _paths(segment_path: str, position: int | None) -> Iterator[str]:
    directory, slash, name = segment_path.rpartition("/")
    for number in itertools.count(1):
        yield f"{directory}{slash}{names.corrupt_name(name, position, number)}"


def _covers(kept: bytes, position: int, removed: memoryview) -> bool:
    """Whether every sector of `removed`, which lay at `position`, is in `kept` or is zeros and so nothing to keep."""
    if removed == kept[: len(removed)]:
        return True
    start = 0
    while start < len(removed):
        end = min(start + SECTOR_BYTES - (position + start) % SECTOR_BYTES, len(removed))
        sector = removed[start:end]
        if sector != kept[start:end].ljust(end - start, b"\0") and not _is_zeros(sector):
            return False
        start = end
    return True


def _is_zeros(data: bytes | memoryview) -> bool:
    return not bytes(data).strip(b"\0")
