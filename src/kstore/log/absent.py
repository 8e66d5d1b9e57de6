"""A log whose first segment is not there yet: what a reader sees of a partition that its writer is just making.

Owns the pretence that missing files are empty, for a read-only log alone, until `Loader.refresh` finds the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kstore._native.file import PythonFile

if TYPE_CHECKING:
    from kstore.log.disk import Disk


class EmptyFile(PythonFile):
    """An open file without bytes."""

    def size(self) -> int:
        """No bytes."""
        return 0

    def read_at(self, position: int, length: int) -> bytes:
        """Nothing, as at the end of any file."""
        return b""

    def close(self) -> None:
        """Nothing was opened."""


class AbsentAsEmpty:
    """A disk on which every file is empty; only for a segment that is never written."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    def size(self, path: str) -> int:
        """No bytes."""
        return 0

    def open_file(self, path: str, **_: bool) -> EmptyFile:
        """An empty file."""
        return EmptyFile(path)
