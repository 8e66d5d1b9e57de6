"""Repair: verify, plan, repair, verify: nothing is left to find, nothing whole is lost, no damaged byte thrown away."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore._native import batch as native
from kstore.inspect import plan_repair, repair
from kstore.inspect.repairs import empty_batch
from kstore.testing.simdisk import SimDisk
from support.damage import DAMAGE, DIR, damaged, directory, segments
from support.stores import open_store, readable, values


@pytest.mark.parametrize("name", DAMAGE)
def test_a_repaired_directory_verifies_and_reads_as_expected(name):
    disk, _, lost = damaged(name)
    _, expected = directory()
    assert repair("/data", disk=disk)
    assert kstore.verify("/data", disk=disk).findings == []
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        kept = {offset: value for offset, value in expected.items() if offset not in lost}
        assert readable(partition) == kept
        assert values(partition, isolation="read_committed") == list(kept.values())[1:]
        assert partition.append([b"on"]).base_offset == 8
    assert kstore.verify("/data", disk=disk).findings == []


@pytest.mark.parametrize("name", DAMAGE)
def test_a_plan_says_what_the_repair_then_does_and_changes_nothing(name):
    disk, path, _ = damaged(name)
    before = disk.files()
    plan = plan_repair("/data", disk=disk)
    assert disk.files() == before
    assert path in [action.file for action in plan]
    assert repair("/data", disk=disk) == plan


@pytest.mark.parametrize("name", ["batch", "base offset", "torn tail"])
def test_the_removed_bytes_are_kept_beside_the_segment(name):
    disk, path, _ = damaged(name)
    before = disk.read_file(path)
    finding = kstore.verify("/data", disk=disk).findings[0]
    (action,) = [a for a in repair("/data", disk=disk) if a.kept_as]
    assert disk.read_file(action.kept_as) == before[finding.position : finding.end_position]


@pytest.mark.parametrize("name", ["batch", "base offset"])
def test_no_byte_of_a_good_batch_is_changed(name):
    disk, path, _ = damaged(name)
    before = disk.read_file(path)
    finding = kstore.verify("/data", disk=disk).findings[0]
    others = {p: disk.read_file(p) for p in segments(disk) if p != path}
    repair("/data", disk=disk)
    after = disk.read_file(path)
    assert after.startswith(before[: finding.position])
    assert after.endswith(before[finding.end_position :])
    assert {p: disk.read_file(p) for p in others} == others


def test_a_directory_in_order_is_left_alone():
    disk, _ = directory()
    before = {p: d for p, d in disk.files().items() if not p.endswith((".lock", "kstore-holder"))}
    assert repair("/data", disk=disk) == []
    assert {p: d for p, d in disk.files().items() if not p.endswith((".lock", "kstore-holder"))} == before


def test_a_directory_in_use_is_not_repaired():
    disk, _, _ = damaged("batch")
    with open_store(disk), pytest.raises(kstore.StoreLocked):
        repair("/data", disk=disk)


def test_one_partition_is_not_repaired_without_its_parent():
    disk, _, _ = damaged("batch")
    with pytest.raises(kstore.UsageError, match="repair its parent"):
        repair(DIR, disk=disk)


@pytest.mark.parametrize("name", ["batch", "torn tail", "lost segment"])
def test_a_repair_that_is_interrupted_anywhere_can_be_run_again(name):
    _, expected = directory()
    nth, fired = 0, True
    while fired:
        disk, _, lost = damaged(name)
        plant = disk.faults.plant(errno.EIO, nth=nth, times=None)
        try:
            repair("/data", disk=disk)
        except (OSError, kstore.StorageError):
            pass
        fired = plant.fired
        after = SimDisk(disk.image())
        repair("/data", disk=after)
        assert kstore.verify("/data", disk=after).findings == [], f"interrupted at call {nth}"
        with open_store(after) as store:
            assert readable(store.partition("t", 0)) == {o: v for o, v in expected.items() if o not in lost}
        nth += 3
    assert nth > 15


@pytest.mark.parametrize(("base", "delta", "epoch"), [(0, 0, 0), (5, 9, 3), (2**40, 2**31 - 1, 7)])
def test_a_holes_batch_is_a_batch_that_kafka_reads(base, delta, epoch):
    data = empty_batch(base, delta, epoch)
    (header,) = native.headers(data)
    assert (header.base_offset, header.last_offset, header.leader_epoch) == (base, base + delta, epoch)
    assert (header.records, header.crc, len(data)) == (0, kstore.crc32c(data[21:]), 61)
