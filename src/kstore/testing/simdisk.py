"""SIMULATED DISK: files and directories in memory, every change recorded, every call able to fail.

Owns the page cache of the simulation: what a running program sees. What a power loss leaves of it is `medium`'s and
`crash_states`'s; which call fails is `faults`'s. Used by the crash tests and by simulations of several brokers, each
with a disk of its own in one process. It must not know what the files mean.

Invariants:
1. Without faults it behaves as `OsDisk` does, errors included; a test runs both side by side.
2. Every change of a file or a name is one `Operation`; a call that fails has recorded exactly what it changed.
3. The same calls give the same trace: no clock, no randomness, no address in it.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

from kstore.errors import StoreLocked
from kstore.log.disk import Disk, Lock
from kstore.testing.faults import Faults
from kstore.testing.medium import Medium
from kstore.testing.operations import (
    ROOT,
    Bind,
    FailedSync,
    Image,
    Move,
    Note,
    Operation,
    Resize,
    Sync,
    SyncDirectory,
    Trace,
    Unbind,
    Write,
)
from kstore.testing.simfile import Node, SimFile, SimLock, error

if TYPE_CHECKING:
    from collections.abc import Callable


class SimDisk(Disk):
    """A disk in memory. Paths are absolute; `/` is there from the start."""

    def __init__(
        self, start: Image | None = None, *, record: bool = False, medium: bool = False, capacity_bytes: int = 0
    ) -> None:
        """`start` is what lies on the medium; `record` keeps a `trace` for `crash_states`.

        `medium` follows what is on the medium while it runs (`crash`), for simulations too long for a trace.
        `capacity_bytes` is the room for file bytes, 0 for no limit.
        """
        image = start if start is not None else Image()
        self.faults = Faults()
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.open_files = 0
        self.trace = Trace(image)
        self.medium = Medium(image) if medium else None
        self._emit: Callable[[Operation], None] | None = None
        if record:
            self._emit = self.trace.operations.append
        elif self.medium is not None:
            self._emit = self.medium.apply
        self._mutex = threading.RLock()
        self._locked: set[str] = set()
        self._nodes: dict[str, Node] = {}
        self._next_number = max(max(image.names), max(image.contents, default=0)) + 1
        self._root = Node(ROOT, None)
        self._nodes["/"] = self._root
        self._load(image, self._root, "", {})

    def _load(self, image: Image, directory: Node, prefix: str, files: dict[int, Node]) -> None:
        for name, number in image.names[directory.number].items():
            path = f"{prefix}/{name}"
            if number in image.names:
                node = Node(number, None)
                self._load(image, node, path, files)
            elif number in files:
                node = files[number]
                node.links += 1
            else:
                node = files[number] = Node(number, image.contents[number])
                self.used_bytes += len(image.contents[number])
            self._nodes[path] = node
            if directory.names is not None:
                directory.names[name] = node

    # -- looking at it ------------------------------------------------------------------------------------------

    def note(self, what: object) -> None:
        """Put a remark into the trace: what the workload knows at this moment."""
        self._record(Note(what))

    def files(self) -> dict[str, bytes]:
        """Every file and its bytes, as a running program sees them."""
        return {path: node.copy() for path, node in self._nodes.items() if node.names is None}

    def image(self) -> Image:
        """Everything as a running program sees it: what `kill -9` leaves."""
        names: dict[int, dict[str, int]] = {}
        contents: dict[int, bytes] = {}
        for node in self._nodes.values():
            if node.names is None:
                contents[node.number] = node.copy()
            else:
                names[node.number] = {name: inner.number for name, inner in node.names.items()}
        return Image(names, contents)

    def kill(self) -> None:
        """The process that used the disk died: its locks are free, the page cache stays."""
        self._locked.clear()
        self.open_files = 0

    def flip_bit(self, path: str, bit: int) -> None:
        """Change one bit of a file on the medium and in the cache at once, recorded nowhere."""
        self._file(path).change()[bit // 8] ^= 1 << (bit % 8)

    def _record(self, operation: Operation) -> None:
        if self._emit is not None:
            self._emit(operation)

    def _file(self, path: str) -> Node:
        node = self._nodes.get(path)
        if node is None:
            raise error(errno.ENOENT if self._parent_is_dir(path) else errno.ENOTDIR, path)
        if node.names is not None:
            raise error(errno.EISDIR, path)
        return node

    def _directory(self, path: str) -> Node:
        node = self._nodes.get(path.rstrip("/") or "/")
        if node is None:
            raise error(errno.ENOENT, path)
        if node.names is None:
            raise error(errno.ENOTDIR, path)
        return node

    def _parent_is_dir(self, path: str) -> bool:
        parent = self._nodes.get(path.rpartition("/")[0] or "/")
        return parent is None or parent.names is not None

    def _place(self, path: str) -> tuple[Node, dict[str, Node], str]:
        """The directory of a path, its names, and the path's last name."""
        above, _, name = path.rpartition("/")
        directory = self._directory(above or "/")
        if directory.names is None:
            raise error(errno.ENOTDIR, path)
        return directory, directory.names, name

    def _bind(self, path: str, node: Node) -> None:
        directory, names, name = self._place(path)
        names[name] = node
        self._nodes[path] = node
        self._record(Bind(directory.number, name, node.number, node.names is not None))

    def _drop_link(self, node: Node) -> None:
        node.links -= 1
        if node.links == 0 and node.data is not None:
            self.used_bytes -= len(node.data)

    # -- Disk ---------------------------------------------------------------------------------------------------

    def open_file(self, path: str, *, create: bool = False, writable: bool = True) -> SimFile:
        """See `Disk.open_file`."""
        with self._mutex:
            node = self._nodes.get(path)
            if node is None and create:
                self.faults.call("create", path)
                self._place(path)
                node = Node(self._next_number, b"")
                self._next_number += 1
                self._bind(path, node)
            else:
                self.faults.call("open", path)
                node = self._file(path)
            self.open_files += 1
            return SimFile(self, path, node, writable)

    def exists(self, path: str) -> bool:
        """See `Disk.exists`."""
        return path in self._nodes

    def is_dir(self, path: str, *, follow: bool = True) -> bool:
        """See `Disk.is_dir`."""
        node = self._nodes.get(path)
        return node is not None and node.names is not None

    def size(self, path: str) -> int:
        """See `Disk.size`."""
        self.faults.call("size", path)
        return len(self._file(path).data or b"")

    def list(self, path: str) -> list[str]:
        """See `Disk.list`."""
        self.faults.call("list", path)
        return sorted(self._directory(path).names or ())

    def rename(self, source: str, target: str) -> None:
        """See `Disk.rename`."""
        with self._mutex:
            self.faults.call("rename", source)
            node = self._nodes.get(source)
            if node is None:
                raise error(errno.ENOENT, source)
            old = self._nodes.get(target)
            if old is node:
                return
            if target.startswith(source + "/"):
                raise error(errno.EINVAL, target)
            if old is not None and (old.names is not None or node.names is not None):
                if old.names is None or node.names is None:
                    raise error(errno.EISDIR if node.names is None else errno.ENOTDIR, target)
                if old.names:
                    raise error(errno.ENOTEMPTY, target)
            directory, names, name = self._place(source)
            target_directory, target_names, target_name = self._place(target)
            if old is not None:
                self._drop_link(old)
            del names[name]
            target_names[target_name] = node
            for path in [p for p in self._nodes if p == source or p.startswith(source + "/")]:
                self._nodes[target + path[len(source) :]] = self._nodes.pop(path)
            self._record(Move(directory.number, name, target_directory.number, target_name))

    def unlink(self, path: str) -> None:
        """See `Disk.unlink`."""
        with self._mutex:
            self.faults.call("unlink", path)
            node = self._file(path)
            directory, names, name = self._place(path)
            del names[name]
            del self._nodes[path]
            self._drop_link(node)
            self._record(Unbind(directory.number, name))

    def link(self, source: str, target: str) -> None:
        """See `Disk.link`."""
        with self._mutex:
            self.faults.call("link", target)
            node = self._file(source)
            if target in self._nodes:
                raise error(errno.EEXIST, target)
            self._bind(target, node)
            node.links += 1

    def make_dir(self, path: str) -> None:
        """See `Disk.make_dir`."""
        with self._mutex:
            self.faults.call("make_dir", path)
            if path in self._nodes:
                raise error(errno.EEXIST, path)
            above = path.rpartition("/")[0]
            if above and above not in self._nodes:
                self.make_dir(above)
            node = Node(self._next_number, None)
            self._next_number += 1
            self._bind(path, node)

    def remove_dir(self, path: str) -> None:
        """See `Disk.remove_dir`."""
        with self._mutex:
            self.faults.call("remove_dir", path)
            if self._directory(path).names:
                raise error(errno.ENOTEMPTY, path)
            directory, names, name = self._place(path)
            del names[name]
            del self._nodes[path]
            self._record(Unbind(directory.number, name))

    def sync_dir(self, path: str) -> None:
        """See `Disk.sync_dir`."""
        with self._mutex:
            self.faults.call("sync_dir", path)
            self._record(SyncDirectory(self._directory(path).number))

    def lock(self, path: str) -> Lock:
        """See `Disk.lock`."""
        with self._mutex:
            self.faults.call("lock", path)
            if path in self._locked:
                raise StoreLocked(os.path.dirname(path), "this process: another Store has it open")
            if path not in self._nodes:
                self._bind(path, Node(self._next_number, b""))
                self._next_number += 1
            self._locked.add(path)
            return SimLock(self._locked, path)

    # -- files, called by SimFile -------------------------------------------------------------------------------

    def write_node(self, node: Node, path: str, data: bytes, position: int) -> None:
        """Put bytes into a file; on a fault or a full disk a part of them, then `OSError`."""
        with self._mutex:
            fault = self.faults.match("write", path)
            allowed = len(data) if fault is None else fault.part_of(len(data))
            failure = None if fault is None else fault.number
            if self.capacity_bytes:
                held = len(node.data or b"")
                room = held + self.capacity_bytes - self.used_bytes
                if position + allowed > max(held, room):
                    allowed, failure = max(0, max(held, room) - position), errno.ENOSPC
            if allowed > 0:
                self._put(node, data[:allowed], position)
            if failure is not None:
                raise error(failure, path)

    def _put(self, node: Node, data: bytes, position: int) -> None:
        held = node.change()
        before = len(held)
        if position > before:
            held.extend(bytes(position - before))
        held[position : position + len(data)] = data
        self.used_bytes += len(held) - before
        self._record(Write(node.number, position, data))

    def resize_node(self, node: Node, path: str, size_bytes: int) -> None:
        """Cut a file, or extend it with zeros."""
        with self._mutex:
            self.faults.call("truncate", path)
            held = node.change()
            before = len(held)
            del held[size_bytes:]
            held.extend(bytes(size_bytes - len(held)))
            self.used_bytes += len(held) - before
            if len(held) != before:
                self._record(Resize(node.number, size_bytes))

    def sync_node(self, node: Node, path: str) -> None:
        """fsync; when it fails, the file's dirty pages count as clean from then on, as on Linux."""
        with self._mutex:
            try:
                self.faults.call("sync", path)
            except OSError:
                self._record(FailedSync(node.number))
                raise
            self._record(Sync(node.number))
