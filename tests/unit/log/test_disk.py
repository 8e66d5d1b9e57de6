"""Disk: names, atomic replacement, symbolic links refused, and a lock that names its holder."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from kstore.errors import StoreLocked
from kstore.log import disk as module
from kstore.log.disk import OsDisk
from kstore.testing.simdisk import SimDisk
from support.stores import power_off


@pytest.fixture
def disk():
    return OsDisk()


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def test_open_needs_create_for_a_new_file(disk, root):
    with pytest.raises(FileNotFoundError) as caught:
        disk.open_file(f"{root}/a")
    assert caught.value.filename == f"{root}/a"
    disk.open_file(f"{root}/a", create=True).write_at(b"kept", 0)
    assert disk.open_file(f"{root}/a", create=True).read_at(0, 9) == b"kept"


def test_names(disk, root):
    disk.make_dir(f"{root}/sub/deeper")
    disk.write_file(f"{root}/sub/b", b"bb")
    disk.write_file(f"{root}/sub/a", b"a")
    assert disk.list(f"{root}/sub") == ["a", "b", "deeper"]
    assert disk.is_dir(f"{root}/sub/deeper")
    assert not disk.is_dir(f"{root}/sub/a")
    assert disk.exists(f"{root}/sub/a")
    assert not disk.exists(f"{root}/sub/c")
    assert disk.size(f"{root}/sub/b") == 2
    disk.link(f"{root}/sub/b", f"{root}/sub/c")
    disk.rename(f"{root}/sub/a", f"{root}/sub/b")
    assert disk.read_file(f"{root}/sub/b") == b"a"
    assert disk.read_file(f"{root}/sub/c") == b"bb"
    disk.unlink(f"{root}/sub/c")
    disk.remove_dir(f"{root}/sub/deeper")
    disk.sync_dir(f"{root}/sub")
    assert disk.list(f"{root}/sub") == ["b"]
    with pytest.raises(FileExistsError):
        disk.make_dir(f"{root}/sub")


def test_symbolic_links_are_not_opened(disk, root):
    """N10: a link in a data directory must not lead a writer elsewhere."""
    disk.write_file(f"{root}/target", b"secret")
    os.symlink(f"{root}/target", f"{root}/link")
    for writable in (True, False):
        with pytest.raises(OSError) as caught:
            disk.open_file(f"{root}/link", writable=writable)
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError):
        disk.write_file_atomic(f"{root}/link.tmp/x", b"")
    with pytest.raises(OSError):
        disk.write_file(f"{root}/link", b"")
    assert disk.exists(f"{root}/link")
    assert disk.read_file(f"{root}/target") == b"secret"


def test_pipes_and_directories_are_not_files(disk, root):
    """N10: neither hangs the open nor is read as a log."""
    os.mkfifo(f"{root}/pipe")
    disk.make_dir(f"{root}/dir")
    for name in ("pipe", "dir"):
        for writable in (True, False):
            with pytest.raises(OSError) as caught:
                disk.open_file(f"{root}/{name}", writable=writable)
            assert caught.value.filename == f"{root}/{name}"


def test_write_file_atomic_syncs_before_the_rename_and_the_directory_after(disk, root, monkeypatch):
    steps = []
    monkeypatch.setattr(OsDisk, "rename", lambda self, a, b: (steps.append("rename"), os.rename(a, b)))
    monkeypatch.setattr(OsDisk, "sync_dir", lambda self, path: steps.append(f"sync_dir {path}"))
    opened = OsDisk.open_file

    class Watched:
        def __init__(self, file):
            self.file = file

        def sync(self):
            steps.append("sync")
            self.file.sync()

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(OsDisk, "open_file", lambda self, *args, **kw: Watched(opened(self, *args, **kw)))
    disk.write_file_atomic(f"{root}/a", b"1")
    assert steps == ["sync", "rename", f"sync_dir {root}"]


def test_write_file_atomic_replaces_and_leaves_nothing_beside_it(disk, root):
    disk.write_file_atomic(f"{root}/a", b"a longer content")
    disk.write_file_atomic(f"{root}/a", b"short")
    assert disk.read_file(f"{root}/a") == b"short"
    assert disk.list(root) == ["a"]


def test_a_failed_write_file_atomic_keeps_the_old_file_and_cleans_up(disk, root, monkeypatch):
    disk.write_file_atomic(f"{root}/a", b"old")

    def fail(self, source, target):
        raise OSError(errno.ENOSPC, "planted", target)

    monkeypatch.setattr(OsDisk, "rename", fail)
    with pytest.raises(OSError, match="planted"):
        disk.write_file_atomic(f"{root}/a", b"new")
    assert disk.list(root) == ["a"]
    assert disk.read_file(f"{root}/a") == b"old"


def test_descriptors_are_not_inherited(disk, root):
    file = disk.open_file(f"{root}/a", create=True)
    assert fcntl.fcntl(file.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    file.close()


# -- lock (S26) ---------------------------------------------------------------------------------------------------


def test_a_second_lock_in_this_process_is_refused_and_says_so(disk, root):
    lock = disk.lock(f"{root}/.lock")
    with pytest.raises(StoreLocked, match="this process") as caught:
        disk.lock(f"{root}/.lock")
    assert caught.value.path == root
    lock.release()
    lock.release()
    disk.lock(f"{root}/.lock").release()


def test_the_lock_file_stays_empty_and_no_holder_file_stays_behind(disk, root):
    """Kafka's own .lock has no bytes."""
    lock = disk.lock(f"{root}/.lock")
    assert disk.size(f"{root}/.lock") == 0
    assert disk.exists(f"{root}/{module.HOLDER_FILE}")
    lock.release()
    assert disk.list(root) == [".lock"]


def test_a_full_disk_keeps_nobody_out(disk, root, monkeypatch):
    def fail(self, path, data):
        raise OSError(errno.ENOSPC, "planted", path)

    monkeypatch.setattr(OsDisk, "write_file", fail)
    lock = disk.lock(f"{root}/.lock")
    with pytest.raises(StoreLocked, match="another process"):
        disk.lock(f"{root}/.lock")
    lock.release()


HOLD = """
import sys
from kstore.log.disk import OsDisk
lock = OsDisk().lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""

HOLD_LIKE_JAVA = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""

HOLD_IN_A_FORK = """
import os, sys
from kstore.log.disk import OsDisk
lock = OsDisk().lock(sys.argv[1])
child = os.fork()
if child:
    os._exit(0)
print("held", flush=True)
sys.stdin.read()
"""


def _hold(code, path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def _end(process):
    process.communicate()
    process.wait()


@pytest.mark.parametrize("code", [HOLD, HOLD_LIKE_JAVA], ids=["kstore", "classic fcntl, as a JVM"])
def test_another_process_is_named_with_its_command(disk, root, code):
    process = _hold(code, f"{root}/.lock")
    try:
        with pytest.raises(StoreLocked) as caught:
            disk.lock(f"{root}/.lock")
        assert str(process.pid) in caught.value.holder
        assert "python" in caught.value.holder
    finally:
        _end(process)
    disk.lock(f"{root}/.lock").release()


def test_a_killed_holder_frees_the_lock(disk, root):
    process = _hold(HOLD, f"{root}/.lock")
    process.send_signal(signal.SIGKILL)
    _end(process)
    assert disk.exists(f"{root}/{module.HOLDER_FILE}")     # its words stay, its lock does not
    disk.lock(f"{root}/.lock").release()


def test_a_lock_survives_the_fork_of_its_holder(disk, root):
    """A classic lock would be gone with the parent; an open file description's lives on in the child."""
    process = _hold(HOLD_IN_A_FORK, f"{root}/.lock")
    try:
        process.wait()
        with pytest.raises(StoreLocked):
            disk.lock(f"{root}/.lock")
    finally:
        process.communicate()


def test_a_classic_lock_elsewhere_in_the_file_system_api_conflicts(disk, root):
    """What a JVM's FileChannel.tryLock sees while kstore holds the directory: a lock."""
    lock = disk.lock(f"{root}/.lock")
    with open(f"{root}/.lock", "r+") as other, pytest.raises(OSError) as caught:
        fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert caught.value.errno in (errno.EAGAIN, errno.EACCES)
    lock.release()


def test_an_atomic_write_is_on_the_medium_when_it_returns():
    disk = SimDisk(medium=True)
    disk.make_dir("/d")
    disk.sync_dir("/")
    for data in (b"one", b"two"):
        disk.write_file_atomic("/d/a", data)
        assert power_off(disk).read_file("/d/a") == data
