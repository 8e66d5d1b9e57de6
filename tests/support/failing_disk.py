"""The real disk with planted failures: `disk.plan(call, error)` makes the next such call fail, a write half done.

Calls are named `write_at`, `read_at`, `truncate`, `sync`, `open_file`, `write_file`, `write_file_atomic`, `unlink`;
`disk.calls` lists what was called, with the file's name; `disk.read_bytes` counts what `read_at` brought.
"""

from __future__ import annotations

import os

from kstore._native.file import Mapping, PythonFile
from kstore.log.disk import OsDisk


class FailingDisk(OsDisk):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.read_bytes = 0
        self._planned: dict[str, list[int]] = {}

    def plan(self, call: str, *errors: int) -> None:
        """Let the next calls of that name fail, one with each error."""
        self._planned[call] = list(errors)

    def hit(self, call: str, path: str) -> OSError | None:
        self.calls.append((call, os.path.basename(path)))
        planned = self._planned.get(call)
        if planned and (error := planned.pop(0)):
            return OSError(error, os.strerror(error), path)
        return None

    def _pass(self, call: str, path: str) -> None:
        if error := self.hit(call, path):
            raise error

    def open_file(self, path, *, create=False, writable=True):
        self._pass("open_file", path)
        return FailingFile(self, super().open_file(path, create=create, writable=writable))

    def write_file(self, path, data):
        self._pass("write_file", path)
        super().write_file(path, data)

    def write_file_atomic(self, path, data):
        self._pass("write_file_atomic", path)
        super().write_file_atomic(path, data)

    def unlink(self, path):
        self._pass("unlink", path)
        super().unlink(path)


class FailingFile(PythonFile):
    def __init__(self, disk, real) -> None:
        super().__init__(real.path)
        self.disk = disk
        self.real = real

    def write_at(self, data, position):
        error = self.disk.hit("write_at", self.path)
        if error is not None:
            self.real.write_at(bytes(data)[: len(data) // 2], position)
            raise error
        self.real.write_at(data, position)

    def read_at(self, position, length):
        if error := self.disk.hit("read_at", self.path):
            raise error
        found = self.real.read_at(position, length)
        self.disk.read_bytes += len(found)
        return found

    def truncate(self, size):
        if error := self.disk.hit("truncate", self.path):
            raise error
        self.real.truncate(size)

    def sync(self):
        if error := self.disk.hit("sync", self.path):
            raise error
        self.real.sync()

    def size(self):
        return self.real.size()

    def mapping(self, end):
        return Mapping.from_bytes(self.real.read_at(0, self.real.size()))

    def close(self):
        self.real.close()
