"""Writing again what a killed process left behind: bytes that are in the page cache, and maybe nowhere else for good.

Where an fsync fails, the kernel marks the pages clean, keeps them readable, and no later fsync writes them (Rebello et
al., "Can Applications Recover from fsync Failures?", 2020). Recovery cannot know whether one had failed; written again,
the same bytes are dirty again, and an fsync means what it says. Owns that, for all above the offset that is known
to be on the medium: about a second of appends. Called by `loader` at the end of a recovery.

Invariant: no byte changes, whenever a crash comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kstore.errors import CorruptionError
from kstore.log.prefixes import STEP_BYTES

if TYPE_CHECKING:
    from kstore._native.segment import Segment
    from kstore.log.disk import Disk


def write_again(disk: Disk, segments: Iterable[Segment], durable: int) -> None:
    """Have every record from offset `durable` on written once more and fsynced. Raises `OSError`."""
    for segment in segments:
        if segment.next_offset > durable and segment.size_bytes:
            _rewrite(disk, segment, _position_of(segment, durable))


def _position_of(segment: Segment, offset: int) -> int:
    if offset <= segment.base_offset:
        return 0
    try:
        return segment.locate(offset)
    except CorruptionError:  # where damage hides the place, all of it is as good
        return 0


def _rewrite(disk: Disk, segment: Segment, start: int) -> None:
    end = segment.size_bytes
    file = disk.open_file(segment.path)
    try:
        for position in range(start, end, STEP_BYTES):
            file.write_at(file.read_at(position, min(STEP_BYTES, end - position)), position)
        file.sync()
    finally:
        file.close()
