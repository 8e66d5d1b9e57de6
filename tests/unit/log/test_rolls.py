"""When a segment rolls: size, record time, a full index, relative offsets."""

from __future__ import annotations

import pytest

import kstore
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, kill, new_partition, open_store, values


def bases(partition):
    return [segment.base_offset for segment in partition.segments]


def test_a_segment_rolls_by_size_before_the_batch_that_would_pass_it():
    store, partition = new_partition(internal_segment_bytes=500)
    with store:
        for _ in range(7):
            partition.append([b"x" * 100])
        sizes = [segment.size_bytes for segment in partition.segments]
        assert all(size <= 500 for size in sizes)
        assert sizes[0] + sizes[0] // 2 > 500, "rolled too early"
        assert bases(partition) == [0, 2, 4, 6]


def test_a_segment_rolls_by_record_time_and_never_by_the_clock():
    store, partition = new_partition(segment_ms=1000)
    with store:
        for timestamp in (50, 1050, 40, 1051, 2051, 2052):
            partition.append([b"v"], timestamp_ms=timestamp)
        assert bases(partition) == [0, 3, 5]


def test_a_segment_rolls_when_its_index_is_full():
    store, partition = new_partition(segment_index_bytes=24, index_interval_bytes=0)
    with store:
        for i in range(7):
            partition.append([b"v"], timestamp_ms=i)
        counts = [len(segment.offset_index) for segment in partition.segments]
        assert len(counts) > 2
        assert max(counts) <= 3


def test_a_segment_rolls_before_its_relative_offsets_overflow():
    store, partition = new_partition(cleanup_policy="compact")
    log = partition.log
    far = 2**31 - 1
    with store:
        partition.append([b"a"])
        log.append_stamped(batch := kstore.encode_batches([b"b"], base_offset=far), check(batch))
        assert bases(partition) == [0]
        log.append_stamped(batch := kstore.encode_batches([b"c"], base_offset=far + 1), check(batch))
        assert bases(partition) == [0, far + 1]
        assert values(partition) == [b"a", b"b", b"c"]


def test_a_log_ends_at_the_highest_offset_that_has_an_end():
    disk = SimDisk()
    store, partition = new_partition(disk)
    last = 2**63 - 2
    with store:
        partition.start_over(last - 1)
        with pytest.raises(kstore.UsageError, match="3 offsets from"):
            partition.append_batches(kstore.encode_batches([b"a", b"b", b"c"]))
        batch = bytearray(kstore.encode_batches([b"a", b"b"]))
        batch[:8] = (last - 1).to_bytes(8, "big")
        partition.append_as_follower(batch)
        assert partition.log_end_offset == last + 1
        with pytest.raises(kstore.UsageError, match="1 offsets from"):
            partition.append_batches(kstore.encode_batches([b"d"]))
        assert values(partition) == [b"a", b"b"]
        kill(store)
        with open_store(disk) as again:
            assert values(again.partition("t", 0)) == [b"a", b"b"]


def check(batch):
    from kstore._native import batch as native

    return native.check(batch, client=False)


def test_a_rolled_index_ends_with_the_segments_largest_timestamp():
    store, partition = new_partition(internal_segment_bytes=300)
    with store:
        partition.append([b"x" * 150], timestamp_ms=NOW_MS)
        partition.append([b"y" * 150], timestamp_ms=NOW_MS + 5)
        entries = partition.segments[0].time_index
        assert [(int(e["timestamp"]), int(e["relative_offset"])) for e in entries] == [(NOW_MS, 0)]


def test_segments_of_two_gigabytes_and_more_are_refused():
    with open_store(SimDisk()) as store, pytest.raises(kstore.InvalidConfig, match=r"segment\.bytes=2147483648"):
        store.create_topic("t", config={"segment.bytes": 2**31})


def test_a_new_configuration_holds_from_the_next_append():
    store, partition = new_partition()
    with store:
        partition.append([b"x" * 200])
        store.alter_topic("t", {"internal.segment.bytes": 300, "max.message.bytes": 250})
        partition.append([b"y" * 100])
        assert bases(partition) == [0, 1]
        with pytest.raises(kstore.BatchTooLarge):
            partition.append([b"z" * 300])
