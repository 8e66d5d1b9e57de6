"""The high watermark, and truncation: refused below it, what it keeps, what it forgets."""

from __future__ import annotations

import errno

import pytest

import kstore
from kstore.testing.crash_states import Walk
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, count_calls, kill, new_partition, open_store, readable, values

LOG = "/data/t-0/00000000000000000000.log"


def test_readers_stop_at_the_high_watermark_of_a_replica():
    store, partition = new_partition()
    with store:
        partition.append([b"seen"])
        partition.log.replicate_from(1)
        partition.append([b"not yet"])
        assert (partition.high_watermark, partition.last_stable_offset, partition.log_end_offset) == (1, 1, 2)
        assert values(partition) == [b"seen"]
        assert partition.offset_for_timestamp(0) == (0, NOW_MS)
        with pytest.raises(kstore.OffsetOutOfRange):
            partition.read(2)
        partition.log.advance_high_watermark(2)
        assert values(partition) == [b"seen", b"not yet"]
        for wrong in (1, 3):
            with pytest.raises(kstore.InvariantError):
                partition.log.advance_high_watermark(wrong)


def test_a_time_is_not_looked_up_above_the_high_watermark():
    store, partition = new_partition()
    with store:
        partition.append([b"a"], timestamp_ms=10)
        partition.log.replicate_from(1)
        partition.append([b"b"], timestamp_ms=20)
        assert partition.offset_for_timestamp(15) is None


def test_a_truncation_below_the_high_watermark_is_an_invariant_broken():
    store, partition = new_partition()
    with store:
        partition.append([b"a", b"b"])
        with pytest.raises(kstore.InvariantError, match="below the high watermark 2"):
            partition.truncate_to(1)
        assert values(partition) == [b"a", b"b"]


@pytest.mark.parametrize("offset", [1, 3, 4])
def test_a_truncation_inside_a_batch_is_refused_and_changes_nothing(offset):
    disk = SimDisk()
    store, partition = new_partition(disk)
    with store:
        partition.append([b"a", b"b"])
        partition.append([b"c", b"d", b"e"])
        partition.log.replicate_from(0)
        before = disk.files()
        with pytest.raises(kstore.InvariantError, match="inside the batch"):
            partition.truncate_to(offset)
        assert disk.files() == before
        partition.log.stand_alone()
        assert values(partition) == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5, 6])
def test_a_truncation_keeps_what_is_below_it(offset):
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=300, index_interval_bytes=0)
    for i in range(6):
        partition.append([b"%d" % i * 100], timestamp_ms=NOW_MS + i)
    partition.log.replicate_from(0)
    partition.truncate_to(offset)
    partition.log.stand_alone()
    assert partition.log_end_offset == offset
    assert values(partition) == [b"%d" % i * 100 for i in range(offset)]
    assert partition.append([b"new"], timestamp_ms=NOW_MS + 50).base_offset == offset
    assert partition.offset_for_timestamp(NOW_MS + 6) == (offset, NOW_MS + 50)
    expected = [b"%d" % i * 100 for i in range(offset)] + [b"new"]
    store.close()
    with open_store(disk) as store:
        assert values(store.partition("t", 0)) == expected
        assert kstore.verify("/data", disk=disk).findings == []


def test_a_truncation_forgets_producers_and_epochs_of_what_it_cut():
    store, partition = new_partition()

    def send(sequence):
        return partition.append_batches(
            kstore.encode_batches([b"v"], timestamp_ms=NOW_MS, producer_id=1, producer_epoch=0, base_sequence=sequence)
        )

    with store:
        send(0)
        partition.log.leader_epoch = 4
        send(1)
        assert partition.log.derived.epochs.latest_epoch == 4
        partition.log.replicate_from(1)
        partition.truncate_to(1)
        partition.log.leader_epoch = 0
        assert partition.log.derived.epochs.latest_epoch == 0
        assert not send(1).duplicate
        assert send(0).duplicate


def test_a_truncation_lowers_the_recovery_point_and_syncs_anew():
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a"], durable=True)
    partition.append([b"b"], durable=True)
    partition.log.replicate_from(1)
    partition.truncate_to(1)
    assert partition.recovery_point == 1
    calls = count_calls(disk)
    partition.append([b"c"], durable=True)
    assert calls["sync", LOG] == 1, "the new record under the old offset was taken for the synced one"
    assert partition.recovery_point == 2
    store.close()


def recorded(policy):
    """A replica's log of four segments of one record, and the disk that records what comes next; nothing is synced."""
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=400, cleanup_policy=policy)
    for i in range(8):
        partition.append([b"%d" % i * 100], timestamp_ms=NOW_MS + i)
    assert len(partition.segments) == 4
    store.flush()
    kill(store)
    disk = SimDisk(disk.image(), record=True)
    partition = open_store(disk).partition("t", 0)
    partition.log.replicate_from(0)
    return disk, partition, len(disk.trace.operations)


def crashed(disk, begun):
    """Every log that a crash after so many operations may leave: the state, log start, log end, what is readable."""
    for state in Walk(disk.trace, 1, limit=64):
        if state.boundary > begun:
            partition = open_store(SimDisk(state.image)).partition("t", 0)
            yield str(state), partition.log_start_offset, partition.log_end_offset, readable(partition)


@pytest.mark.parametrize("policy", ["delete", "compact"])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 6])
def test_a_crash_in_a_truncation_leaves_a_log_without_a_hole(offset, policy):
    disk, partition, begun = recorded(policy)
    partition.truncate_to(offset)
    ends = set()
    for state, start, end, found in crashed(disk, begun):
        assert (start, found) == (0, {i: b"%d" % i * 100 for i in range(end)}), state
        assert offset <= end <= 8, state
        ends.add(end)
    assert {offset, 8} <= ends


@pytest.mark.parametrize("policy", ["delete", "compact"])
@pytest.mark.parametrize("offset", [0, 3, 5, 20])
def test_a_crash_where_a_log_starts_over_leaves_one_without_a_hole(offset, policy):
    disk, partition, begun = recorded(policy)
    partition.start_over(offset)
    left = set()
    for state, start, end, found in crashed(disk, begun):
        assert found == {i: b"%d" % i * 100 for i in range(start, end)}, state
        assert start in (0, offset), state
        left.add((start, end))
    assert {(0, 8), (offset, offset)} <= left


@pytest.mark.parametrize("what", ["truncate_to", "start_over"])
@pytest.mark.parametrize("offset", [0, 3, 6])
def test_readers_find_a_whole_log_wherever_dropping_records_fails(offset, what):
    """Segments that nobody had mapped are gone for good: what is left to read must not lead into them."""
    for nth in range(100):
        disk, partition, _ = recorded("delete")
        fault = disk.faults.plant(errno.EIO, nth=nth)
        marks = ((offset, offset),) if what == "start_over" else ((0, offset),)
        try:
            getattr(partition, what)(offset)
        except kstore.StorageError:
            marks += ((0, 8),)
        disk.faults.clear()
        partition.log.stand_alone()
        start, end = partition.log_start_offset, partition.log_end_offset
        assert (start, end) in marks, nth
        assert readable(partition) == {i: b"%d" % i * 100 for i in range(start, end)}, nth
        if not fault.fired:
            assert nth > 5
            return
    raise AssertionError("it never comes to an end")
