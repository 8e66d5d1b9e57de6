"""Cutting a file that others may be reading: its first bytes under its name, the old file left to who holds it.

Called by `log` at a truncation. Recovery cuts in place instead: nobody reads a log that is still being opened.

Two steps, because only the first needs room on the disk: where it fails, nothing has changed yet.

Invariants: at every moment the name leads to the whole old file or the whole new one, and once `take_prefix`
returns the new one is there after a power loss; a leftover of an interrupted call is removed at the next open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kstore.log.disk import Disk

TEMPORARY: Final = "kstore-prefix.tmp"
STEP_BYTES: Final = 1 << 20
"""Bytes copied at a time: enough that a call costs nothing against them, little enough to hold."""


def write_prefix(disk: Disk, directory: str, path: str, size_bytes: int) -> None:
    """Copy the first `size_bytes` bytes of a file of `directory`, durably, for `take_prefix`. Raises `OSError`."""
    temporary = f"{directory}/{TEMPORARY}"
    if disk.exists(temporary):
        disk.unlink(temporary)
    source = disk.open_file(path, writable=False)
    try:
        target = disk.open_file(temporary, create=True)
        try:
            for position in range(0, size_bytes, STEP_BYTES):
                target.write_at(source.read_at(position, min(STEP_BYTES, size_bytes - position)), position)
            target.sync()
        finally:
            target.close()
    finally:
        source.close()


def take_prefix(disk: Disk, directory: str, path: str) -> None:
    """Put what `write_prefix` wrote in the place of `path`. Raises `OSError`."""
    disk.rename(f"{directory}/{TEMPORARY}", path)
    disk.sync_dir(directory)
