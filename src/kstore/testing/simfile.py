"""SIMULATED FILES: the nodes of a simulated disk, open files over them, and its lock.

Owns the bytes of one file in the page cache and what one open file may do with them. Changes go through the disk,
which counts, fails and records them. Used by `simdisk` only.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from kstore._native.file import Mapping, PythonFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.testing.simdisk import SimDisk


class Node:
    """A file (`names` is None) or a directory (`data` is None)."""

    __slots__ = ("_copy", "data", "links", "names", "number")

    def __init__(self, number: int, data: bytes | bytearray | None) -> None:
        self.number = number
        self.data = data
        self.names: dict[str, Node] | None = {} if data is None else None
        self.links = 1
        self._copy: bytes | None = data if isinstance(data, bytes) else None

    def copy(self) -> bytes:
        """The file's bytes as they are now, copied at most once between two changes."""
        if self._copy is None:
            self._copy = bytes(self.data or b"")
        return self._copy

    def change(self) -> bytearray:
        """The file's bytes, to be changed."""
        if not isinstance(self.data, bytearray):
            self.data = bytearray(self.data or b"")
        self._copy = None
        return self.data


def error(number: int, path: str) -> OSError:
    """The `OSError` that the operating system raises for a path."""
    return OSError(number, os.strerror(number), path)


class SimFile(PythonFile):
    """An open file of a `SimDisk`."""

    def __init__(self, disk: SimDisk, path: str, node: Node, writable: bool) -> None:
        super().__init__(path)
        self._disk = disk
        self._node = node
        self._writable = writable
        self._mapping: Mapping | None = None
        self._mapped: bytes | None = None
        self._is_open = True

    def _open(self) -> Node:
        if not self._is_open:
            raise ValueError(f"{self.path} is closed")
        return self._node

    def write_at(self, data: Buffer, position: int) -> None:
        """See `File.write_at`."""
        if not (self._writable and self._is_open):
            raise error(errno.EBADF, self.path)
        if len(own := bytes(data)):
            self._disk.write_node(self._node, self.path, own, position)

    def read_at(self, position: int, length: int) -> bytes:
        """See `File.read_at`."""
        self._disk.faults.call("read", self.path)
        if position < 0:
            raise error(errno.EINVAL, self.path)
        held = self._open().data
        return b"" if held is None else bytes(held[position : position + length])

    def sync(self) -> None:
        """See `File.sync`."""
        self._disk.sync_node(self._open(), self.path)

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        node = self._open()
        if not self._writable:
            raise error(errno.EINVAL, self.path)
        self._disk.resize_node(node, self.path, size)

    def size(self) -> int:
        """See `File.size`."""
        return len(self._open().data or b"")

    def mapping(self, end: int) -> Mapping:
        """See `File.mapping`; unlike the real one it does not show later changes, so ask again after them."""
        self._disk.faults.call("map", self.path)
        now = self._open().copy()
        if self._mapping is None or self._mapped is not now or self._mapping.length < end:
            self._mapped = now
            self._mapping = Mapping.from_bytes(now.ljust(end, b"\0"))
        return self._mapping

    def close(self) -> None:
        """See `File.close`."""
        if self._is_open:
            self._is_open = False
            self._disk.open_files -= 1


class SimLock:
    """A held lock of a `SimDisk`."""

    def __init__(self, locked: set[str], path: str) -> None:
        self._locked = locked
        self._path = path

    def release(self) -> None:
        """See `Lock.release`."""
        self._locked.discard(self._path)
