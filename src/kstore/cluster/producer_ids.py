"""Producer ids of one node: numbers that are given out once, across restarts and crashes.

Owns the sidecar `kstore-producer-ids` in the root of the log directory, which says from where on numbers are free.
Must not know who asks. Called by `embedded`. Kafka keeps the same in its metadata log, also in blocks of a thousand
(ProducerIdControlManager).

Invariants
1. A number is given out only after the file on the medium says that it is taken.
2. A file that is missing or fails its check counts as absent: then ids begin above those that any log remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore._native.crc32c import crc32c

if TYPE_CHECKING:
    from kstore.log.disk import Disk

FILE_NAME = "kstore-producer-ids"
MAGIC = b"kstore-producer-ids 1 "
BLOCK = 1000
"""Ids a write pays for; a crash wastes what is left of a block, of 2^63."""


class ProducerIds:
    """Gives out producer ids; not thread-safe."""

    def __init__(self, disk: Disk, root: str, highest_used: Callable[[], int]) -> None:
        """`highest_used` looks through the logs for the highest id there, -1 for none; called at most once."""
        self._disk = disk
        self._path = f"{root}/{FILE_NAME}"
        self._highest_used = highest_used
        self._next = 0
        self._end = 0

    def next(self) -> int:
        """A number that was never given out. Raises `OSError`."""
        if self._next == self._end:
            start = max(self._end, self._stored())
            self._disk.write_file_atomic(self._path, encode(start + BLOCK))
            self._next, self._end = start, start + BLOCK
        taken = self._next
        self._next += 1
        return taken

    def _stored(self) -> int:
        if self._end:
            return self._end
        if self._disk.exists(self._path):
            found = decode(self._disk.read_file(self._path))
            if found is not None:
                return found
        return self._highest_used() + 1


def encode(next_id: int) -> bytes:
    """The sidecar's bytes: one line with a CRC-32C of the next, which holds the first free id."""
    body = b"%d\n" % next_id
    return MAGIC + b"%08x\n" % crc32c(body) + body


def decode(data: bytes) -> int | None:
    """The first free id, or None where the check fails."""
    head, _, body = data.partition(b"\n")
    if not head.startswith(MAGIC) or head[len(MAGIC) :] != b"%08x" % crc32c(body):
        return None
    return int(body)
