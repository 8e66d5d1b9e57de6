"""Cutting a file that others read: the name leads to the whole old or the whole new one, whatever happens."""

from __future__ import annotations

import errno

import pytest

from kstore.log import leftovers
from kstore.log.prefixes import STEP_BYTES, TEMPORARY, take_prefix, write_prefix
from kstore.testing.simdisk import SimDisk
from support.stores import power_off

OLD = bytes(range(256)) * 20


def replace_by_prefix(disk, directory, path, size_bytes):
    write_prefix(disk, directory, path, size_bytes)
    take_prefix(disk, directory, path)


def disk_with(data):
    disk = SimDisk(medium=True)
    disk.make_dir("/d")
    disk.write_file("/d/f", data)
    for directory in ("/", "/d"):
        disk.sync_dir(directory)
    file = disk.open_file("/d/f")
    file.sync()
    return disk, file


@pytest.mark.parametrize("size", [0, 1, 4096, 5000, len(OLD)])
def test_the_name_has_the_first_bytes_and_whoever_held_the_file_all(size):
    disk, held = disk_with(OLD)
    replace_by_prefix(disk, "/d", "/d/f", size)
    assert disk.read_file("/d/f") == OLD[:size]
    assert power_off(disk).read_file("/d/f") == OLD[:size]
    assert held.read_at(0, len(OLD)) == OLD
    assert disk.list("/d") == ["f"]


def test_more_than_one_step_is_copied_whole():
    data = bytes(range(251)) * (2 * STEP_BYTES // 251 + 9)
    disk, _ = disk_with(data)
    replace_by_prefix(disk, "/d", "/d/f", len(data) - 3)
    assert disk.read_file("/d/f") == data[:-3]


def test_a_failure_leaves_the_old_file_and_at_most_what_the_next_open_removes():
    nth = 0
    while True:
        disk, _ = disk_with(OLD)
        plant = disk.faults.plant(errno.EIO, nth=nth)
        try:
            replace_by_prefix(disk, "/d", "/d/f", 100)
        except OSError:
            assert disk.read_file("/d/f") in (OLD, OLD[:100])
            assert power_off(disk).read_file("/d/f") in (OLD, OLD[:100])
        if not plant.fired:
            assert nth > 3
            return
        disk.faults.clear()
        leftovers.resolve(disk, "/d")
        assert TEMPORARY not in disk.list("/d")
        replace_by_prefix(disk, "/d", "/d/f", 100)
        assert disk.read_file("/d/f") == OLD[:100]
        nth += 1
