"""What a power loss may leave and what not: small runs whose legal states are known one by one."""

from __future__ import annotations

import errno
import random

import pytest

from kstore.testing.crash_states import Walk
from kstore.testing.simdisk import SimDisk


def states(disk, **options):
    return list(Walk(disk.trace, 1, **{"limit": 256, "samples": 64, **options}))


def final(disk, **options):
    """What a crash leaves once the last operation has returned."""
    disk.note("returned")
    return [s.image.files() for s in states(disk, **options) if s.boundary == len(disk.trace.operations)]


def contents(disk, path):
    return {files.get(path) for files in final(disk)}


def synced(path="/a", data=b"old"):
    disk = SimDisk()
    disk.write_file(path, data)
    return SimDisk(disk.image(), record=True)


def test_a_synced_file_in_a_synced_directory_has_one_state():
    disk = SimDisk(record=True)
    disk.write_file_atomic("/a", b"data")
    assert contents(disk, "/a") == {b"data"}


def test_fsync_of_a_file_does_not_make_its_name_safe():
    disk = SimDisk(record=True)
    file = disk.open_file("/a", create=True)
    file.write_at(b"data", 0)
    file.sync()
    assert contents(disk, "/a") == {None, b"data"}
    disk.sync_dir("/")
    assert contents(disk, "/a") == {b"data"}


def test_a_name_may_be_there_without_bytes():
    disk = SimDisk(record=True)
    disk.open_file("/a", create=True).write_at(b"data", 0)
    disk.sync_dir("/")
    found = contents(disk, "/a")
    assert {b"", b"data", b"\0\0\0\0"} <= found
    assert None not in found


def test_rename_without_fsync_may_leave_an_empty_file_in_place_of_the_old():
    disk = synced()
    disk.write_file("/a.tmp", b"new")
    disk.rename("/a.tmp", "/a")
    disk.sync_dir("/")
    assert contents(disk, "/a") == {b"", b"new", b"\0\0\0"}


def test_write_file_atomic_is_old_or_new_at_each_step():
    disk = synced()
    disk.write_file_atomic("/a", b"new")
    assert {s.image.files()["/a"] for s in states(disk)} == {b"old", b"new"}


def test_pages_arrive_each_on_its_own():
    disk = synced(data=bytes(3 * 4096))
    file = disk.open_file("/a")
    file.write_at(b"\1" * (3 * 4096), 0)
    found = {tuple(data[i * 4096] for i in range(3)) for data in contents(disk, "/a") if len(set(data[:4096])) == 1}
    assert {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)} <= found


def test_a_write_is_torn_at_each_byte_and_may_have_zeros_behind():
    disk = synced(data=b"head")
    disk.open_file("/a").write_at(b"12345", 4)
    found = {state.image.files()["/a"] for state in states(disk)}
    assert {b"head" + b"12345"[:n] for n in range(6)} <= found
    assert {(b"head" + b"12345"[:n]).ljust(9, b"\0") for n in range(6)} <= found


def test_a_cut_is_old_or_new_until_it_is_synced():
    disk = synced(data=b"12345678")
    file = disk.open_file("/a")
    file.truncate(3)
    assert contents(disk, "/a") == {b"12345678", b"123", b"123\0\0\0\0\0"}
    file.sync()
    assert contents(disk, "/a") == {b"123"}


def test_changes_of_different_names_arrive_in_any_order_of_one_name_in_theirs():
    disk = synced("/a", b"a")
    disk.rename("/a", "/b")
    disk.rename("/b", "/c")
    disk.write_file("/other", b"")
    found = {frozenset(files) for files in final(disk)}
    assert found == {frozenset(x) for x in (
        {"/a"}, {"/b"}, {"/c"}, {"/a", "/other"}, {"/b", "/other"}, {"/c", "/other"}
    )}


def test_a_directory_that_is_not_safe_takes_its_files_with_it():
    disk = SimDisk(record=True)
    disk.make_dir("/d")
    disk.write_file_atomic("/d/a", b"x")
    assert {frozenset(files) for files in final(disk)} == {frozenset(), frozenset({"/d/a"})}


def test_after_a_failed_fsync_nothing_is_certain_even_if_the_next_succeeds():
    """S18: the kernel marks the pages clean, so the second fsync writes nothing and says so gladly."""
    disk = synced(data=b"old")
    file = disk.open_file("/a")
    file.write_at(b"new", 0)
    disk.faults.plant(errno.EIO, kinds=("sync",))
    with pytest.raises(OSError):
        file.sync()
    file.sync()
    assert file.read_at(0, 3) == b"new"
    assert {b"old", b"new"} <= contents(disk, "/a")


def test_kill_leaves_the_page_cache():
    disk = SimDisk(record=True)
    disk.make_dir("/d")
    disk.write_file("/d/a", b"unsynced")
    kills = [s for s in states(disk) if s.kind == "kill" and s.boundary == len(disk.trace.operations)]
    assert disk.files() in [s.image.files() for s in kills]


def test_the_same_seed_gives_the_same_states():
    disk = SimDisk(record=True)
    dice = random.Random(5)
    for i in range(30):
        disk.write_file(f"/{i % 7}", dice.randbytes(9000))
        if i % 5 == 0:
            disk.open_file(f"/{i % 7}").sync()

    def walk(seed):
        return [(s.number, s.what, s.image.files()) for s in Walk(disk.trace, seed, limit=8)]

    assert walk(3) == walk(3)
    assert walk(3) != walk(4)


def test_a_note_makes_the_same_files_a_new_state():
    disk = SimDisk(record=True)
    disk.write_file_atomic("/a", b"x")
    disk.note("acknowledged")
    disk.sync_dir("/")
    last = states(disk)[-1]
    assert (last.notes, last.image.files()) == (1, {"/a": b"x"})


def test_a_running_disk_can_be_crashed_without_a_trace(seed):
    disk = SimDisk(medium=True)
    dice = random.Random(seed)
    disk.write_file_atomic("/safe", b"safe")
    disk.write_file("/unsafe", b"unsafe")
    seen = set()
    for _ in range(100):
        assert disk.medium is not None
        files = disk.medium.crash(dice).files()
        assert files["/safe"] == b"safe"
        seen.add(files.get("/unsafe"))
    assert {None, b"", b"unsafe"} <= seen
    assert disk.trace.operations == []
