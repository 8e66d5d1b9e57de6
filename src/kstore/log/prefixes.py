"""Cutting a file that others may be reading: its first bytes under its name, the old file left to who holds it.

Called by `log` at a truncation. Recovery cuts in place instead: nobody reads a log that is still being opened.

Invariants: at every moment the name leads to the whole old file or the whole new one, and once `replace_by_prefix`
returns the new one is there after a power loss; a leftover of an interrupted call is removed at the next open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kstore.log.disk import Disk

TEMPORARY: Final = "kstore-prefix.tmp"
STEP_BYTES: Final = 1 << 20
"""Bytes copied at a time: enough that a call costs nothing against them, little enough to hold."""


def replace_by_prefix(disk: Disk, directory: str, path: str, size_bytes: int) -> None:
    """Replace a file of `directory` by its first `size_bytes` bytes. Raises `OSError`, with the old file in place."""
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
    disk.rename(temporary, path)
    disk.sync_dir(directory)
