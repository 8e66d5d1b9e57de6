"""The disk: every file operation that kstore performs, behind one interface that a simulation can replace.

Owns names and directory entries; bytes of one open file are `_native.file`'s. It must not know what the files mean.
Called by everything that stores something.

Invariants:
1. Symbolic links inside a log directory are not followed.
2. `write_file_atomic` returns only when the new content is reachable after a power loss; before, the old one is.
3. All methods raise `OSError` and nothing else, but `lock`, which raises `StoreLocked`.
"""

from __future__ import annotations

import abc
import contextlib
import errno
import fcntl
import os
import stat
import struct
import threading
from typing import Protocol

from kstore._native.file import File, PosixFile
from kstore.errors import StoreLocked

NO_FOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK
"""No symbolic link is followed, and the open of a pipe that someone has put there does not wait for its other end."""
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
HOLDER_FILE = "kstore-holder"
"""Beside the lock: who holds it, for the message of the one who finds it locked. Empty once the lock is free."""


class Lock(Protocol):
    """A held lock."""

    def release(self) -> None:
        """Give the lock back; releasing twice is allowed."""


class Disk(abc.ABC):
    """File operations by path (`str`). Implemented by `OsDisk` and by simulated disks."""

    @abc.abstractmethod
    def open_file(self, path: str, *, create: bool = False, writable: bool = True) -> File:
        """Open a file; with `create` make it when it is absent."""

    @abc.abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is anything of that name; raises `OSError` where that may not be known."""

    @abc.abstractmethod
    def is_dir(self, path: str, *, follow: bool = True) -> bool:
        """Whether it is a directory; with `follow` also one that a symbolic link leads to, as a log directory may."""

    @abc.abstractmethod
    def size(self, path: str) -> int:
        """A file's size in bytes."""

    @abc.abstractmethod
    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""

    @abc.abstractmethod
    def rename(self, source: str, target: str) -> None:
        """Rename, replacing a file that is there."""

    @abc.abstractmethod
    def unlink(self, path: str) -> None:
        """Remove a file's name; mappings of it stay valid."""

    @abc.abstractmethod
    def link(self, source: str, target: str) -> None:
        """Give a file a second name."""

    @abc.abstractmethod
    def make_dir(self, path: str) -> None:
        """Make a directory and those above it that are missing."""

    @abc.abstractmethod
    def remove_dir(self, path: str) -> None:
        """Remove an empty directory."""

    @abc.abstractmethod
    def sync_dir(self, path: str) -> None:
        """Make the names in a directory survive a power loss."""

    @abc.abstractmethod
    def lock(self, path: str) -> Lock:
        """Take the exclusive lock of a lock file; raises `StoreLocked` naming the holder."""

    def read_file(self, path: str) -> bytes:
        """A whole file's bytes."""
        file = self.open_file(path, writable=False)
        try:
            return file.read_at(0, file.size())
        finally:
            file.close()

    def write_file(self, path: str, data: bytes) -> None:
        """Replace a file's content without waiting for the medium: for what may be lost."""
        self._write(path, data, sync=False)

    def restrict(self, path: str) -> None:  # noqa: B027 (nothing is what disks without owners do)
        """Let nobody but the file's owner read it; disks without owners have nothing to do."""

    def write_file_atomic(self, path: str, data: bytes, *, private: bool = False) -> None:
        """Replace a file's content: after a crash at any point either the old or the new is there, whole.

        With `private` only the file's owner may ever read what is in it.
        """
        temporary = path + ".tmp"
        try:
            if private:
                self._write(temporary, b"", sync=False)
                self.restrict(temporary)
            self._write(temporary, data, sync=True)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temporary)     # a full disk gets its room back
            raise
        self.sync_dir(os.path.dirname(path))

    def _write(self, path: str, data: bytes, *, sync: bool) -> None:
        file = self.open_file(path, create=True)
        try:
            file.truncate(0)
            file.write_at(data, 0)
            if sync:
                file.sync()
        finally:
            file.close()


class OsDisk(Disk):
    """The operating system's files."""

    def open_file(self, path: str, *, create: bool = False, writable: bool = True) -> File:
        """See `Disk.open_file`."""
        flags = (os.O_RDWR if writable else os.O_RDONLY) | NO_FOLLOW
        if create:
            flags |= os.O_CREAT
        fd = os.open(path, flags, 0o644)
        kind = os.fstat(fd).st_mode
        if not stat.S_ISREG(kind):
            os.close(fd)
            number = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
            raise OSError(number, os.strerror(number), path)
        return PosixFile(path, fd)

    def exists(self, path: str) -> bool:
        """See `Disk.exists`."""
        return _status(path, follow=False) is not None

    def is_dir(self, path: str, *, follow: bool = True) -> bool:
        """See `Disk.is_dir`."""
        status = _status(path, follow=follow)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def size(self, path: str) -> int:
        """See `Disk.size`."""
        return os.stat(path).st_size

    def list(self, path: str) -> list[str]:
        """See `Disk.list`."""
        return sorted(os.listdir(path))

    def rename(self, source: str, target: str) -> None:
        """See `Disk.rename`."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """See `Disk.unlink`."""
        os.unlink(path)

    def link(self, source: str, target: str) -> None:
        """See `Disk.link`."""
        os.link(source, target)

    def restrict(self, path: str) -> None:
        """See `Disk.restrict`."""
        os.chmod(path, 0o600)

    def make_dir(self, path: str) -> None:
        """See `Disk.make_dir`."""
        os.makedirs(path, exist_ok=False)

    def remove_dir(self, path: str) -> None:
        """See `Disk.remove_dir`."""
        os.rmdir(path)

    def sync_dir(self, path: str) -> None:
        """See `Disk.sync_dir`."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> Lock:
        """See `Disk.lock`.

        On Linux an open-file-description lock: it conflicts with the lock that a Java broker takes and with a second
        opener in this process, survives `fork` and dies with the process.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o644)
        try:
            _lock_descriptor(fd)
        except OSError as error:
            holder = _holder(fd, path)
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise StoreLocked(os.path.dirname(path), holder) from None
            raise
        holder_path = _holder_path(path)
        with contextlib.suppress(OSError):     # a courtesy: a full disk must not keep anyone out
            self.write_file(holder_path, f"process {os.getpid()}".encode())
        return _OsLock(fd, holder_path)


def _status(path: str, *, follow: bool) -> os.stat_result | None:
    """What `stat` says; None where there is nothing. A path that must not be looked at is not an absent one."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def volume_bytes(disk: Disk, path: str) -> tuple[int, int]:
    """Size of the volume that `path` lies on and what is free there for us; -1 for both where nobody knows."""
    if not isinstance(disk, OsDisk):
        return -1, -1
    try:
        volume = os.statvfs(path)
    except OSError:
        return -1, -1
    return volume.f_frsize * volume.f_blocks, volume.f_frsize * volume.f_bavail


def _holder_path(lock_path: str) -> str:
    """Beside a directory's `.lock` the holder file; beside any other lock a file named after it."""
    directory, name = os.path.split(lock_path)
    return os.path.join(directory, HOLDER_FILE) if name == ".lock" else f"{lock_path}.holder"


def _lock_descriptor(fd: int) -> None:
    if hasattr(fcntl, "F_OFD_SETLK"):
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    else:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(fd: int, path: str) -> str:
    """Who holds the lock, as well as the system can tell: a classic lock's process, else what the holder wrote."""
    probe = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    pid = struct.unpack("hhqqi4x", probe)[4]
    if pid > 0:
        return f"process {pid}{_command(pid)}"
    try:
        with open(_holder_path(path), encoding="ascii", errors="replace") as file:
            written = file.read(64)
    except OSError:
        return "another process"
    name, _, number = written.partition(" ")
    if name != "process" or not number.isdecimal():
        return "another process"
    if int(number) == os.getpid():
        return f"this process ({number}): another Store has it open"
    return f"{written}{_command(int(number))}"


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(200).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
    return f" ({words})" if words else ""


class _OsLock:
    def __init__(self, fd: int, holder_path: str) -> None:
        self._fd = fd
        self._holder_path = holder_path
        self._mutex = threading.Lock()

    def release(self) -> None:
        with self._mutex:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._holder_path)
            os.close(fd)
