"""Leftovers of interrupted rolls, compactions and deletions: resolved once or twice, the same; strangers untouched."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore.log import leftovers, names
from kstore.testing.simdisk import SimDisk

ROOT = "/data/t-0"


def batch(base, count=1):
    return kstore.encode_batches([b"v"] * count, base_offset=base)


def disk_with(files):
    disk = SimDisk()
    disk.make_dir(ROOT)
    for name, data in files.items():
        disk.write_file(f"{ROOT}/{name}", data)
    return disk


def left(disk):
    return set(disk.list(ROOT))


def files_of(base, suffix="", data=b""):
    return {names.file_name(base, "log", suffix): data or batch(base)} | {
        names.file_name(base, kind, suffix): b"" for kind in ("index", "timeindex")
    }


def test_a_directory_in_order_is_left_as_it_is_and_not_synced():
    disk = disk_with(files_of(0))
    before, calls = disk.files(), []
    disk.faults.on_call = lambda kind, path: calls.append(kind)
    assert leftovers.resolve(disk, ROOT) == []
    assert disk.files() == before
    assert set(calls) <= {"list"}


def test_deleted_files_go():
    disk = disk_with(files_of(0, ".deleted") | files_of(5))
    done = leftovers.resolve(disk, ROOT)
    assert left(disk) == set(files_of(5))
    assert len(done) == 3


@pytest.mark.parametrize(
    "base",
    [
        "kstore-seals", "leader-epoch-checkpoint", "partition.metadata", *files_of(7), names.snapshot_name(7),
        names.corrupt_name(names.log_name(7), 9),
    ],
)  # fmt: skip
def test_half_written_files_go(base):
    disk = disk_with({f"{base}.tmp": b"half"})
    leftovers.resolve(disk, ROOT)
    assert left(disk) == set()


@pytest.mark.parametrize(
    "name",
    [
        "notes.tmp", "backup.deleted", "00000000000000000000.log.bak", "x.swap", "00000000000000000000.log.9.corrupt",
        "7.log.tmp", "00000000000000000000.log.tmp.tmp",
    ],
)  # fmt: skip
def test_files_that_are_neither_kafkas_nor_ours_are_not_touched(name):
    disk = disk_with({name: b"mine"})
    leftovers.resolve(disk, ROOT)
    assert disk.read_file(f"{ROOT}/{name}") == b"mine"


def test_cleaned_files_are_unfinished_and_the_old_segments_stay():
    disk = disk_with(files_of(0) | files_of(5) | files_of(0, ".cleaned"))
    leftovers.resolve(disk, ROOT)
    assert left(disk) == set(files_of(0) | files_of(5))


def test_a_swap_above_a_cleaned_file_belongs_to_the_same_unfinished_split():
    disk = disk_with(files_of(0) | files_of(0, ".cleaned") | files_of(7, ".swap"))
    leftovers.resolve(disk, ROOT)
    assert left(disk) == set(files_of(0))


def test_a_swap_replaces_its_namesake():
    new = batch(0, 3)
    disk = disk_with(files_of(0) | files_of(0, ".swap", new))
    leftovers.resolve(disk, ROOT)
    assert left(disk) == set(files_of(0))
    assert disk.read_file(f"{ROOT}/{names.log_name(0)}") == new


def test_a_swap_replaces_every_segment_within_its_offsets_and_no_other():
    disk = disk_with(files_of(0) | files_of(3) | files_of(6) | files_of(0, ".swap", batch(0, 6)))
    leftovers.resolve(disk, ROOT)
    assert left(disk) == set(files_of(0) | files_of(6))


def test_index_swaps_alone_finish_a_rename_that_was_interrupted():
    disk = disk_with({names.log_name(0): batch(0), names.file_name(0, "index", ".swap"): b"12345678"})
    leftovers.resolve(disk, ROOT)
    assert disk.read_file(f"{ROOT}/{names.index_name(0)}") == b"12345678"


MESS = (
    files_of(0) | files_of(3) | files_of(6) | files_of(0, ".swap", batch(0, 6)) | files_of(6, ".deleted")
    | {"kstore-seals.tmp": b""}
)  # fmt: skip


def test_what_was_done_is_on_the_medium():
    disk = SimDisk(medium=True)
    disk.make_dir(ROOT)
    disk.sync_dir("/")
    disk.sync_dir("/data")
    for name, data in MESS.items():
        disk.write_file(f"{ROOT}/{name}", data)
    leftovers.resolve(disk, ROOT)
    assert disk.medium.names.pending == []


def test_an_old_segment_is_gone_from_the_medium_before_its_replacement_has_its_name():
    disk = disk_with(MESS)
    steps = []
    disk.faults.on_call = lambda kind, path: steps.append((kind, path.rpartition(".")[2]))
    leftovers.resolve(disk, ROOT)
    last_unlink = max(i for i, (kind, _) in enumerate(steps) if kind == "unlink")
    first_rename = min(i for i, (kind, _) in enumerate(steps) if kind == "rename")
    assert "sync_dir" in [kind for kind, _ in steps[last_unlink:first_rename]]


def test_resolving_ends_the_same_from_wherever_it_was_interrupted():
    whole = disk_with(MESS)
    leftovers.resolve(whole, ROOT)
    interrupted = 0
    while True:
        disk = disk_with(MESS)
        plant = disk.faults.plant(errno.EIO, nth=interrupted)
        try:
            leftovers.resolve(disk, ROOT)
        except OSError:
            pass
        if not plant.fired:
            break
        disk.faults.clear()
        leftovers.resolve(disk, ROOT)
        assert disk.files() == whole.files(), f"interrupted at change {interrupted}"
        interrupted += 1
    assert interrupted > 10
