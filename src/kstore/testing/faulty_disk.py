"""The operating system's files, of which calls can be made to fail: real bytes on a real disk, and errors on demand.

Owns where the calls are counted and refused; which of them fail is for `faults`. Must not know what files mean. Made
by `cluster`; tests of a broker plant faults in it from their own thread.

Invariants
1. A call that fails has done nothing, but for a write with `part`, which leaves its share.
2. Without a fault it does what `OsDisk` does.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from kstore._native.file import File, Mapping, RelayedFile
from kstore.log.disk import Lock, OsDisk
from kstore.testing.faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


class FaultyDisk(OsDisk):
    """An `OsDisk` with `faults`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._files: weakref.WeakSet[_FaultyFile] = weakref.WeakSet()
        self._lock = threading.Lock()

    def fail(self, number: int, *, calls: Iterable[str], inside: str = "", times: int | None = None) -> Fault:
        """Let calls of these kinds fail with errno `number`, `times` of them or (None) until `heal`."""
        with self._lock:
            fault = self.faults.plant(number, kinds=calls, inside=inside, times=times)
            for file in self._files:
                file.watched = True
        return fault

    def heal(self) -> None:
        """No call fails any more."""
        with self._lock:
            self.faults.clear()
            for file in self._files:
                file.watched = False

    def meet(self, kind: str, path: str) -> Fault | None:
        """The fault that a call meets; calls come from many threads, and each is counted once."""
        if not self.faults.planted:
            return None
        with self._lock:
            return self.faults.match(kind, path)

    def call(self, kind: str, path: str) -> None:
        """Raise what a call meets."""
        fault = self.meet(kind, path)
        if fault is not None:
            raise OSError(fault.number, os.strerror(fault.number), path)

    def open_file(self, path: str, *, create: bool = False, writable: bool = True) -> File:
        """See `Disk.open_file`."""
        self.call("create" if create and not os.path.exists(path) else "open", path)
        file = _FaultyFile(self, super().open_file(path, create=create, writable=writable))
        with self._lock:
            file.watched = bool(self.faults.planted)
            self._files.add(file)
        return file

    def size(self, path: str) -> int:
        """See `Disk.size`."""
        self.call("size", path)
        return super().size(path)

    def list(self, path: str) -> list[str]:
        """See `Disk.list`."""
        self.call("list", path)
        return super().list(path)

    def rename(self, source: str, target: str) -> None:
        """See `Disk.rename`."""
        self.call("rename", source)
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        """See `Disk.unlink`."""
        self.call("unlink", path)
        super().unlink(path)

    def link(self, source: str, target: str) -> None:
        """See `Disk.link`."""
        self.call("link", target)
        super().link(source, target)

    def make_dir(self, path: str) -> None:
        """See `Disk.make_dir`."""
        self.call("make_dir", path)
        super().make_dir(path)

    def remove_dir(self, path: str) -> None:
        """See `Disk.remove_dir`."""
        self.call("remove_dir", path)
        super().remove_dir(path)

    def sync_dir(self, path: str) -> None:
        """See `Disk.sync_dir`."""
        self.call("sync_dir", path)
        super().sync_dir(path)

    def lock(self, path: str) -> Lock:
        """See `Disk.lock`."""
        self.call("lock", path)
        return super().lock(path)


class _FaultyFile(RelayedFile):
    """One open file."""

    def __init__(self, disk: FaultyDisk, file: File) -> None:
        super().__init__(file)
        self._disk = disk

    def write_at(self, data: Buffer, position: int) -> None:
        """See `File.write_at`."""
        fault = self._disk.meet("write", self.path)
        if fault is not None:
            own = bytes(data)
            self.inner.write_at(own[: fault.part_of(len(own))], position)
            raise OSError(fault.number, os.strerror(fault.number), self.path)
        self.inner.write_at(data, position)

    def read_at(self, position: int, length: int) -> bytes:
        """See `File.read_at`."""
        self._disk.call("read", self.path)
        return self.inner.read_at(position, length)

    def sync(self) -> None:
        """See `File.sync`."""
        self._disk.call("sync", self.path)
        self.inner.sync()

    def truncate(self, size: int) -> None:
        """See `File.truncate`."""
        self._disk.call("truncate", self.path)
        self.inner.truncate(size)

    def size(self) -> int:
        """See `File.size`."""
        return self.inner.size()

    def mapping(self, end: int) -> Mapping:
        """See `File.mapping`."""
        self._disk.call("map", self.path)
        return self.inner.mapping(end)

    def close(self) -> None:
        """See `File.close`."""
        self.inner.close()
