"""The damaged ranges that a log knows of, in the sidecar `kstore-quarantine`.

A range whose bytes fail their check below the recovery point is neither cut nor hidden: reads of it fail, all other
offsets stay readable, and the range is noted here so that the next open need not find it again. Losing the file costs
another scan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from kstore.log import names
from kstore.log.sidecars import read_sealed, seal

if TYPE_CHECKING:
    from kstore._native.scan import Range
    from kstore.log.disk import Disk

KIND = b"hurt"
VERSION = 1


class DamagedRange(NamedTuple):
    """Bytes of a segment that fail their check. Ends are exclusive.

    `next_offset` is that of the first good batch behind the damage (or the segment's end).
    """

    segment_base_offset: int
    position: int
    end_position: int
    first_offset: int
    next_offset: int
    reason: str


def damaged_below(bad: Sequence[Range], size_bytes: int, durable: int) -> list[Range]:
    """Of the bad ranges in the last segment of a log, those that are damage: they begin below `durable`.

    What begins at or above it is a torn tail. A range that reaches to the end of the file, `size_bytes`, hides every
    offset below `durable`: it ends there at the least.
    """
    found = [r for r in bad if r.first_offset < durable]
    if found and found[-1].end_position == size_bytes and found[-1].next_offset < durable:
        found[-1] = found[-1]._replace(next_offset=durable)
    return found


def read_damage(disk: Disk, directory: str) -> tuple[DamagedRange, ...]:
    """The known damaged ranges of a partition, by segment and position; none when the file is absent or damaged."""
    payload = read_sealed(disk, f"{directory}/{names.QUARANTINE_FILE}", KIND, VERSION)
    return () if payload is None else tuple(DamagedRange(*row) for row in json.loads(payload))


def write_damage(disk: Disk, directory: str, ranges: Iterable[DamagedRange], *, durable: bool = False) -> None:
    """Writes all damaged ranges of a partition; without any, the file goes.

    `durable` where ranges are taken back: an old one that comes back after a crash would fence off what is appended
    in its place.
    """
    path = f"{directory}/{names.QUARANTINE_FILE}"
    rows = sorted(ranges)
    if rows:
        write = disk.write_file_atomic if durable else disk.write_file
        write(path, seal(KIND, VERSION, json.dumps(rows, separators=(",", ":")).encode("ascii")))
    elif disk.exists(path):
        disk.unlink(path)
        if durable:
            disk.sync_dir(directory)
