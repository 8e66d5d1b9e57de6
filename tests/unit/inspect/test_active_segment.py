"""Damage in the segment that takes appends: `verify` and `repair` call damage and torn tail what recovery does.

Below the recovery point nothing is cut and no offset is given again: `verify` names the batch, `repair` puts a hole in
its place, an open fences it off. Above it, the end of the file is a torn tail to all three.
"""

from __future__ import annotations

import pytest

import kstore
from kstore._native import batch as native
from kstore.inspect import plan_repair, repair
from kstore.log import names
from kstore.log.kept import place_of
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, flip_byte, kill, new_partition, open_store, readable

BATCHES = 6
DIR = "/data/t-0"
LOG = f"{DIR}/{names.log_name(0)}"
HARMS = {"records": 70, "checksum": 18, "length": 9, "magic": 16, "base offset": 7}
"""What is flipped, and the byte of the batch in which."""


def written(*, flushed, stop, policy="delete"):
    """One segment of batches of two records, those below `flushed` below the recovery point."""
    disk = SimDisk()
    store, partition = new_partition(disk, cleanup_policy=policy)
    for i in range(BATCHES):
        partition.append([b"%d" % i * 100, b"second"], timestamp_ms=NOW_MS + i)
        if i + 1 == flushed and stop == "kill":
            store.flush()
    store.close() if stop == "close" else kill(store)
    return disk


def harm(disk, bad, how):
    header = list(native.headers(disk.read_file(LOG)))[bad]
    if how == "zeros":
        disk.open_file(LOG).write_at(bytes(header.size_bytes), header.position)
    else:
        flip_byte(disk, LOG, header.position + HARMS[how])
    return header


def findings(disk):
    return [f for f in kstore.verify("/data", disk=disk).findings if f.kind in ("batch", "tail", "gap")]


def look(disk):
    with open_store(disk) as store:
        partition = store.partition("t", 0)
        return sorted(readable(partition)), partition.log_end_offset


def without(bad):
    return [offset for offset in range(2 * BATCHES) if offset // 2 != bad]


@pytest.mark.parametrize("tails", [True, False], ids=["tails", "no tails"])
@pytest.mark.parametrize("stop", ["kill", "close"])
@pytest.mark.parametrize("how", [*HARMS, "zeros"])
@pytest.mark.parametrize("bad", [0, 2, BATCHES - 1], ids=["first", "middle", "last"])
def test_what_was_flushed_is_damage_to_verify_to_repair_and_to_recovery(bad, how, stop, tails):
    disk = written(flushed=BATCHES, stop=stop)
    if not tails:
        for name in names.TAIL_FILES:
            if disk.exists(f"{DIR}/{name}"):
                disk.unlink(f"{DIR}/{name}")
    header = harm(disk, bad, how)
    (finding,) = findings(disk)
    assert (finding.kind, finding.file) == ("batch", LOG)
    assert (finding.position, finding.end_position) == (header.position, header.position + header.size_bytes)
    assert (finding.first_offset, finding.next_offset) == (2 * bad, 2 * bad + 2)
    assert "put a batch without records in its place" in str(plan_repair("/data", disk=disk)[0])
    opened, repaired = SimDisk(disk.image()), SimDisk(disk.image())
    damaged = disk.read_file(LOG)[header.position : header.position + header.size_bytes]
    assert look(opened) == (without(bad), 2 * BATCHES)
    assert [name for name in opened.list(DIR) if name.endswith(".corrupt")] == []
    repair("/data", disk=repaired)
    assert kstore.verify("/data", disk=repaired).findings == []
    assert look(repaired) == (without(bad), 2 * BATCHES)
    kept = [repaired.read_file(f"{DIR}/{name}") for name in repaired.list(DIR) if name.endswith(".corrupt")]
    assert kept == ([damaged] if how != "zeros" else [])


@pytest.mark.parametrize("stop", ["kill", "close"])
@pytest.mark.parametrize("bad", [2, BATCHES - 1], ids=["middle", "last"])
def test_no_offset_is_given_twice_where_offsets_may_be_missing(bad, stop):
    disk = written(flushed=BATCHES, stop=stop, policy="compact")
    harm(disk, bad, "records")
    (finding,) = findings(disk)
    assert (finding.kind, finding.first_offset, finding.next_offset) == ("batch", 2 * bad, 2 * bad + 2)
    repair("/data", disk=disk)
    assert look(disk) == (without(bad), 2 * BATCHES)


@pytest.mark.parametrize("how", [*HARMS, "zeros"])
def test_what_was_not_flushed_is_a_torn_tail_at_the_end_of_the_file(how):
    disk = written(flushed=BATCHES - 1, stop="kill")
    header = harm(disk, BATCHES - 1, how)
    (finding,) = findings(disk)
    assert (finding.kind, finding.position, finding.first_offset) == ("tail", header.position, 2 * BATCHES - 2)
    torn = disk.read_file(LOG)[header.position :]
    opened, repaired = SimDisk(disk.image()), SimDisk(disk.image())
    (action,) = repair("/data", disk=repaired)
    assert "cut it off" in action.what
    assert action.kept_as == place_of(disk, LOG, header.position, torn)
    assert look(opened) == look(repaired) == (without(BATCHES - 1), 2 * BATCHES - 2)


def test_a_torn_tail_behind_damage_that_hides_the_end_is_part_of_the_damage():
    """Where the last flushed batch ends nobody can tell: what follows it is fenced off with it."""
    disk = written(flushed=BATCHES, stop="kill")
    header = harm(disk, BATCHES - 1, "length")
    disk.open_file(LOG).write_at(b"torn", disk.size(LOG))
    (finding,) = findings(disk)
    assert (finding.kind, finding.end_position) == ("batch", header.position + header.size_bytes + 4)
    assert look(SimDisk(disk.image())) == (without(BATCHES - 1), 2 * BATCHES)
    repair("/data", disk=disk)
    assert look(disk) == (without(BATCHES - 1), 2 * BATCHES)


def test_damage_and_a_lost_end_below_the_recovery_point_are_both_found():
    disk = written(flushed=BATCHES, stop="kill")
    harm(disk, 1, "records")
    size = disk.size(LOG) // BATCHES * (BATCHES - 1)
    disk.open_file(LOG).truncate(size)
    assert [(f.kind, f.first_offset, f.next_offset) for f in findings(disk)] == [("batch", 2, 4), ("gap", 10, 12)]
