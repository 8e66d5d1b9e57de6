"""FILE: whole writes, growing mappings that outlive everything, errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import os
import threading

import numpy as np
import pytest

from kstore._native.file import File, Mapping, PosixFile, PythonFile
from kstore.log.disk import OsDisk
from support.short_writes import files_up_to


@pytest.fixture
def file(tmp_path):
    opened = OsDisk().open_file(str(tmp_path / "0.log"), create=True)
    yield opened
    opened.close()


def test_what_is_written_is_read(file):
    file.write_at(b"hello", 0)
    file.write_at(memoryview(b"world"), 5)
    file.write_at(np.frombuffer(b"!!", dtype=np.uint8), 12)
    assert file.size() == 14
    assert file.read_at(0, 100) == b"helloworld\0\0!!"
    assert file.read_at(5, 3) == b"wor"
    assert file.read_at(14, 1) == b""


def test_empty_writes_change_nothing(file):
    file.write_at(b"", 1000)
    assert file.size() == 0


def test_a_file_size_limit_in_the_middle_of_a_write_fails_it_with_the_path(file, tmp_path):
    """The first write past the limit is short, the next one fails: the loop must report, not stop silently."""
    with files_up_to(6000), pytest.raises(OSError, match="too large") as caught:
        file.write_at(b"x" * 10_000, 0)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(tmp_path / "0.log")
    assert file.size() == 6000


def test_errors_name_the_file(tmp_path):
    path = str(tmp_path / "read-only")
    disk = OsDisk()
    disk.write_file(path, b"abc")
    reader = disk.open_file(path, writable=False)
    for call in (lambda: reader.write_at(b"x", 0), lambda: reader.truncate(1)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.filename == path
    with pytest.raises(OSError) as caught:
        reader.read_at(-5, 3)
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, path)
    assert reader.read_at(0, 3) == b"abc"
    reader.close()


def test_a_closed_file_refuses_and_closes_again(file):
    file.close()
    file.close()
    for call in (file.size, file.sync, lambda: file.read_at(0, 1), lambda: file.truncate(0)):
        with pytest.raises(ValueError, match="is closed"):
            call()
    with pytest.raises(OSError) as caught:
        file.write_at(b"x", 0)
    assert caught.value.errno == errno.EBADF


def descriptors() -> list[str]:
    """What the descriptors of this process lead to; other tests' may come and go meanwhile."""
    targets = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
    return targets


def test_close_waits_for_the_calls_under_way(tmp_path):
    """Else the number could be another file's when a sync of another thread reaches the kernel."""
    disk = OsDisk()
    stop = threading.Event()
    failures: list[BaseException] = []

    def sync_forever(file: File) -> None:
        while not stop.is_set():
            try:
                file.sync()
            except ValueError:
                return
            except BaseException as error:
                failures.append(error)
                return

    for i in range(100):
        file = disk.open_file(str(tmp_path / f"{i}"), create=True)
        file.write_at(b"x" * 100, 0)
        threads = [threading.Thread(target=sync_forever, args=(file,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        file.close()
        stop.set()
        for thread in threads:
            thread.join()
        stop.clear()
    assert failures == []
    assert [target for target in descriptors() if target.startswith(str(tmp_path))] == []


def test_truncate_cuts_and_extends(file):
    file.write_at(b"abcdef", 0)
    file.truncate(3)
    assert file.read_at(0, 10) == b"abc"
    file.truncate(5)
    assert file.read_at(0, 10) == b"abc\0\0"


def test_a_mapping_shows_later_writes_and_is_read_only(file):
    file.write_at(b"abc", 0)
    mapping = file.mapping(3)
    file.write_at(b"d", 0)
    assert bytes(mapping.view[:3]) == b"dbc"
    with pytest.raises(TypeError):
        mapping.view[0] = 1


def test_an_empty_file_maps_to_nothing(file):
    mapping = file.mapping(0)
    assert (len(mapping), bytes(mapping.view)) == (0, b"")


def test_a_growing_file_is_remapped_rarely(file):
    seen = set()
    position = 0
    for _ in range(10_000):
        file.write_at(b"x" * 1000, position)
        position += 1000
        seen.add(id(file.mapping(position).view))
    assert file.mapping(position).length >= position
    assert len(seen) <= 8    # 0, then 1 MiB and doublings up to 16 MiB


def test_old_mappings_stay_valid_while_new_ones_grow(file):
    file.write_at(b"a" * 4096, 0)
    old = file.mapping(4096)
    view = old.view[:4096]
    file.write_at(b"b" * (4 << 20), 4096)
    new = file.mapping(4096 + (4 << 20))
    assert new is not old
    del old
    assert bytes(view) == b"a" * 4096
    assert bytes(new.view[4095:4097]) == b"ab"


def test_a_view_outlives_close_unlink_and_rename(tmp_path):
    path = str(tmp_path / "0.log")
    disk = OsDisk()
    file = disk.open_file(path, create=True)
    file.write_at(b"kept" * 2000, 0)
    view = file.mapping(8000).view[4:8]
    array = np.frombuffer(file.mapping(8000).view[:8000], dtype=np.uint8)
    disk.rename(path, path + ".deleted")
    disk.unlink(path + ".deleted")
    file.close()
    del file
    disk.write_file(path, b"another file of that name")
    assert bytes(view) == b"kept"
    assert bytes(array[-4:]) == b"kept"


def test_mappings_are_given_back_when_the_last_view_goes(tmp_path):
    path = str(tmp_path / "big")
    file = OsDisk().open_file(path, create=True)
    file.truncate(64 << 20)
    view = file.mapping(64 << 20).view[:10]
    file.close()
    assert _mapped(path)
    del view
    assert not _mapped(path)


def _mapped(path):
    with open("/proc/self/maps") as maps:
        return path in maps.read()


def test_from_bytes_is_a_copy():
    data = bytearray(b"abc")
    mapping = Mapping.from_bytes(data)
    data[0] = 0
    assert bytes(mapping.view) == b"abc"
    assert len(mapping) == 3


def test_dropping_a_file_closes_its_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for i in range(50):
        OsDisk().open_file(str(tmp_path / str(i)), create=True)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reader_of_a_file_cut_by_another_process_gets_fewer_bytes_and_no_signal(file):
    """S23: `read_at` copies, so bytes that went away are missing, not SIGBUS."""
    file.write_at(b"x" * 20_000, 0)
    os.truncate(file.path, 5000)
    assert len(file.read_at(0, 20_000)) == 5000


class Recorder(PythonFile):
    """A double: everything native code writes arrives here."""

    def __init__(self, path, fail=None):
        super().__init__(path)
        self.data = bytearray()
        self.fail = fail

    def write_at(self, data, position):
        if self.fail is not None:
            raise self.fail
        self.data[position : position + len(data)] = data


def test_a_python_file_is_a_file_and_replaces_its_methods():
    double = Recorder("double")
    assert isinstance(double, File)
    assert not isinstance(double, PosixFile)
    double.write_at(b"abc", 0)
    assert bytes(double.data) == b"abc"
    assert double.path == "double"
