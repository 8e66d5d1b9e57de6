"""A disk of plain dicts for tests of the log's small files: no cache, no crash model, but any call can fail.

`fail(call, error)` makes the n-th next mutating call raise; `calls` names every mutating call so far.
"""

from __future__ import annotations

import errno


class MemoryDisk:
    def __init__(self, files=()):
        self.files: dict[str, bytes] = dict(files)
        self.calls: list[str] = []
        self.open_files = 0
        self._failure: tuple[int, OSError] | None = None

    def fail(self, after: int = 0, number: int = errno.EIO) -> None:
        self._failure = (len(self.calls) + after, OSError(number, "planted"))

    def did(self, call: str) -> None:
        self.calls.append(call)
        if self._failure is not None and len(self.calls) > self._failure[0]:
            failure = self._failure[1]
            self._failure = None
            raise failure

    def read_file(self, path):
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return bytes(self.files[path])

    def exists(self, path):
        return path in self.files or self.is_dir(path)

    def size(self, path):
        return len(self.read_file(path))

    def list(self, directory):
        prefix = directory + "/"
        return sorted({path[len(prefix) :].split("/")[0] for path in self.files if path.startswith(prefix)})

    def is_dir(self, path, *, follow=True):
        return any(name.startswith(path + "/") for name in self.files)

    def write_file_atomic(self, path, data):
        self.did(f"write_file_atomic {path}")
        self.files[path] = bytes(data)

    def write_file(self, path, data):
        self.did(f"write_file {path}")
        self.files[path] = bytes(data)

    def rename(self, source, target):
        self.did("rename")
        self.files[target] = self.files.pop(source)

    def unlink(self, path):
        self.did(f"unlink {path}")
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        del self.files[path]

    def sync_dir(self, path):
        self.did(f"sync_dir {path}")

    def open_file(self, path, *, create=False, writable=True):
        if create:
            if path in self.files:
                raise FileExistsError(errno.EEXIST, "file exists", path)
            self.did(f"create {path}")
            self.files[path] = b""
        elif path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return MemoryFile(self, path)


class MemoryFile:
    def __init__(self, disk, path):
        self.disk = disk
        self.path = path
        disk.open_files += 1

    def write_at(self, data, position):
        data = bytes(data)
        old = self.disk.files[self.path].ljust(position, b"\0")
        half = len(data) // 2
        self.disk.files[self.path] = old[:position] + data[:half] + old[position + half :]
        self.disk.did(f"write_at {self.path}")  # a failure leaves half of it
        self.disk.files[self.path] = old[:position] + data + old[position + len(data) :]

    def read_at(self, position, length):
        return self.disk.files[self.path][position : position + length]

    def truncate(self, size):
        self.disk.did(f"truncate {self.path}")
        self.disk.files[self.path] = self.disk.files[self.path][:size].ljust(size, b"\0")

    def sync(self):
        self.disk.did(f"sync {self.path}")

    def size(self):
        return len(self.disk.files[self.path])

    def close(self):
        self.disk.open_files -= 1
