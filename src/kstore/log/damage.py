"""The damaged ranges that a log knows of, in the sidecar `kstore-quarantine`.

A range whose bytes fail their check below the recovery point is neither cut nor hidden: reads of it fail, all other
offsets stay readable, and the range is noted here so that the next open need not find it again. Losing the file costs
another scan.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from kstore.log import names
from kstore.log.sidecars import read_sealed, seal

if TYPE_CHECKING:
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


def read_damage(disk: Disk, directory: str) -> tuple[DamagedRange, ...]:
    """The known damaged ranges of a partition, by segment and position; none when the file is absent or damaged."""
    payload = read_sealed(disk, f"{directory}/{names.QUARANTINE_FILE}", KIND, VERSION)
    return () if payload is None else tuple(DamagedRange(*row) for row in json.loads(payload))


def write_damage(disk: Disk, directory: str, ranges: Iterable[DamagedRange]) -> None:
    """Writes all damaged ranges of a partition; without any, the file goes."""
    path = f"{directory}/{names.QUARANTINE_FILE}"
    rows = sorted(ranges)
    if rows:
        disk.write_file(path, seal(KIND, VERSION, json.dumps(rows, separators=(",", ":")).encode("ascii")))
    elif disk.exists(path):
        disk.unlink(path)
