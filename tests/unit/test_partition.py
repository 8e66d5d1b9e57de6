"""A partition as its users hold it: what append promises, what read returns, who may do what when."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import kstore
from kstore import Record
from kstore._native import batch as native
from kstore.errors import StorageError
from kstore.testing.simdisk import SimDisk
from support.stores import NOW_MS, Clock, count_calls, kill, new_partition, open_store, power_off, values


@pytest.fixture
def partition():
    store, partition = new_partition()
    with store:
        yield partition


# -- append -------------------------------------------------------------------------------------------------------


def test_append_tells_where_the_records_went(partition):
    assert partition.append([b"a", b"b"]) == (0, 2, NOW_MS, False)
    done = partition.append([b"c"], timestamp_ms=7)
    assert (done.base_offset, done.next_offset, done.timestamp_ms, done.duplicate) == (2, 3, 7, False)
    assert (partition.log_start_offset, partition.log_end_offset, partition.high_watermark) == (0, 3, 3)


def test_every_shape_of_record_comes_back_as_it_went_in(partition):
    partition.append(
        [
            b"value",
            (b"key", b"value"),
            (b"key", None),
            (None, b""),
            (b"k", b"v", [("h", b"1"), ("h", None)]),
            Record(b"own", key=b"k", headers=[("x", b"")], timestamp_ms=5),
        ],
        timestamp_ms=9,
    )
    got = [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in partition.read(0)]
    assert got == [
        (0, 9, None, b"value", ()),
        (1, 9, b"key", b"value", ()),
        (2, 9, b"key", None, ()),
        (3, 9, None, b"", ()),
        (4, 9, b"k", b"v", (("h", b"1"), ("h", None))),
        (5, 5, b"k", b"own", (("x", b""),)),
    ]


def test_no_record_is_no_batch(partition):
    assert partition.append([])[:2] == (0, 0)
    assert partition.segments[0].size_bytes == 0


WRONG_SHAPES = ["text", b"bytes", ["text"], [5], [(b"k",)], [("k", b"v")], 7, [(b"k", b"v", [(1, b"")])]]


@pytest.mark.parametrize("bad", WRONG_SHAPES)
def test_records_of_a_wrong_shape_are_refused_and_nothing_is_stored(partition, bad):
    with pytest.raises(kstore.UsageError):
        partition.append(bad)
    assert (partition.log_end_offset, partition.segments[0].size_bytes) == (0, 0)
    assert partition.append([b"next"]).base_offset == 0


def test_an_iterable_that_raises_leaves_nothing_behind(partition):
    def broken():
        yield b"one"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        partition.append(broken())
    assert partition.append([b"next"]).base_offset == 0
    assert values(partition) == [b"next"]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_codec_asked_for_is_the_codec_stored(partition, codec):
    partition.append([b"x" * 1000], compression=codec)
    (header,) = native.headers(partition.read(0).buffer)
    assert header.codec == ["none", "gzip", "snappy", "lz4", "zstd"].index(codec)
    assert values(partition) == [b"x" * 1000]


def test_an_unknown_codec_is_a_usage_error(partition):
    with pytest.raises(kstore.UsageError, match="brotli"):
        partition.append([b"v"], compression="brotli")


def test_records_beyond_the_limit_of_a_batch_become_several_batches():
    store, partition = new_partition(max_message_bytes=300)
    data = [b"%03d" % i * 20 for i in range(20)]
    with store:
        done = partition.append(data)
        headers = list(native.headers(partition.read(0).buffer))
        assert (done.base_offset, done.next_offset) == (0, 20)
        assert len(headers) > 5
        assert all(h.size_bytes <= 300 for h in headers)
        assert values(partition) == data


def test_a_record_above_the_limit_leaves_nothing_of_its_batch(partition):
    partition.append([b"before"])
    size = partition.segments[0].size_bytes
    with pytest.raises(kstore.BatchTooLarge) as caught:
        partition.append([b"x" * 1_100_000])
    assert (caught.value.key, caught.value.limit_bytes) == ("max.message.bytes", 1048588)
    assert "max.message.bytes=1048588" in str(caught.value)
    assert (partition.log_end_offset, partition.segments[0].size_bytes) == (1, size)
    assert partition.append([b"after"]).base_offset == 1


def test_a_batch_above_the_segment_size_is_refused_by_its_key():
    store, partition = new_partition(internal_segment_bytes=200)
    with store, pytest.raises(kstore.BatchTooLarge) as caught:
        partition.append_batches(kstore.encode_batches([b"x" * 300]))
    assert (caught.value.key, caught.value.limit_bytes) == ("internal.segment.bytes", 200)


def test_a_producers_batch_above_the_topics_limit_is_refused_by_its_key(partition):
    sent = kstore.encode_batches([b"x" * 1_100_000], batch_bytes_max=2_000_000)
    with pytest.raises(kstore.BatchTooLarge) as caught:
        partition.append_batches(sent)
    assert (caught.value.size_bytes, caught.value.key) == (len(sent), "max.message.bytes")
    assert partition.segments[0].size_bytes == 0


# -- append_batches -----------------------------------------------------------------------------------------------


def test_batches_are_stamped_in_the_logs_copy_and_stored_as_given(partition):
    partition.append([b"first"])
    sent = kstore.encode_batches([b"a", b"b"], timestamp_ms=3, base_offset=77, compression="zstd")
    before = bytes(sent)
    assert partition.append_batches(sent)[:3] == (1, 3, 3)
    assert sent == before
    stored = bytes(partition.read(1).buffer)
    assert stored[:8] == (1).to_bytes(8, "big")
    assert stored[12:16] == (0).to_bytes(4, "big")
    assert stored[16:] == sent[16:]


def test_several_batches_in_one_append_follow_one_another(partition):
    sent = b"".join(kstore.encode_batches([b"%d" % i] * (i + 1), timestamp_ms=i) for i in range(4))
    done = partition.append_batches(memoryview(bytearray(sent)))
    assert (done.base_offset, done.next_offset, done.timestamp_ms) == (0, 10, 3)
    assert [h.base_offset for h in native.headers(partition.read(0).buffer)] == [0, 1, 3, 6]


def control_batch():
    batch = bytearray(kstore.encode_batches([(b"\0\0\0\1", b"\0\0\0\0\0\0")], producer_id=1, producer_epoch=0))
    batch[22] |= 0x30
    batch[17:21] = kstore.crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


def with_byte(batch, position, value):
    changed = bytearray(batch)
    changed[position] = value
    return bytes(changed)


GOOD = kstore.encode_batches([b"v"])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (GOOD[:-1], "end before"),
        (with_byte(GOOD, len(GOOD) - 3, 0xFF), "CRC|checksum"),
        (with_byte(GOOD, 16, 1), "magic"),
        (with_byte(GOOD, 11, 1), "length"),
        (control_batch(), "control"),
    ],
    ids=["cut", "crc", "magic", "length", "control"],
)
def test_bytes_that_are_no_clients_batch_are_refused_whole(partition, bad, reason):
    with pytest.raises(kstore.InvalidBatch, match=f"(?i){reason}"):
        partition.append_batches(bad)
    with pytest.raises(kstore.InvalidBatch) as caught:
        partition.append_batches(GOOD + bad)
    assert caught.value.position == len(GOOD)
    assert (partition.log_end_offset, partition.segments[0].size_bytes) == (0, 0)
    partition.append_batches(GOOD)


# -- LogAppendTime and compression.type -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["records", "batches"])
def test_log_append_time_stamps_every_record_with_the_clock(way):
    clock = Clock()
    store, partition = new_partition(clock=clock, message_timestamp_type="LogAppendTime")
    clock.now_ms += 5
    with store:
        if way == "records":
            done = partition.append([Record(b"a", timestamp_ms=3), b"b"])
        else:
            done = partition.append_batches(kstore.encode_batches([b"a", b"b"], timestamp_ms=3))
        assert done.timestamp_ms == NOW_MS + 5
        records = list(partition.read(0))
        assert {(r.timestamp_ms, r.timestamp_type) for r in records} == {(NOW_MS + 5, "LogAppendTime")}
        assert partition.offset_for_timestamp(NOW_MS + 5) == (0, NOW_MS + 5)
        assert partition.offset_for_timestamp(NOW_MS + 6) is None


@pytest.mark.parametrize(("asked", "stored"), [("gzip", 1), ("zstd", 4), ("uncompressed", 0)])
@pytest.mark.parametrize("way", ["records", "batches"])
def test_a_topics_codec_wins_over_the_producers(asked, stored, way):
    store, partition = new_partition(compression_type=asked)
    with store:
        if way == "records":
            partition.append([(b"k", b"v" * 500, [("h", b"1")])], compression="snappy", timestamp_ms=4)
        else:
            partition.append_batches(
                kstore.encode_batches([(b"k", b"v" * 500, [("h", b"1")])], compression="snappy", timestamp_ms=4)
            )
        (header,) = native.headers(partition.read(0).buffer)
        (record,) = partition.read(0)
        assert header.codec == stored
        assert (record.key, record.value, record.headers, record.timestamp_ms) == (b"k", b"v" * 500, (("h", b"1"),), 4)


def test_a_batch_in_the_topics_codec_is_stored_as_it_came():
    store, partition = new_partition(compression_type="lz4")
    sent = kstore.encode_batches([b"v" * 500], compression="lz4", timestamp_ms=1)
    with store:
        partition.append_batches(sent)
        assert bytes(partition.read(0).buffer)[16:] == sent[16:]


def test_a_rewritten_batch_keeps_its_producer():
    store, partition = new_partition(compression_type="gzip")
    sent = kstore.encode_batches([b"v"], producer_id=7, producer_epoch=2, base_sequence=0, timestamp_ms=1)
    with store:
        partition.append_batches(sent)
        assert partition.append_batches(sent).duplicate
        (record,) = partition.read(0)
        assert (record.producer_id, record.producer_epoch, record.sequence) == (7, 2, 0)


# -- read ---------------------------------------------------------------------------------------------------------


def test_a_read_returns_whole_batches_that_cover_the_offset(partition):
    partition.append([b"a", b"b", b"c"])
    partition.append([b"d"])
    batches = partition.read(1)
    assert [r.offset for r in batches] == [0, 1, 2, 3]
    assert [r.offset for r in batches.records(from_offset=1)] == [1, 2, 3]
    assert batches.next_offset == 4
    assert len(batches) == 4


def test_max_bytes_bounds_a_read_but_for_its_first_batch(partition):
    for i in range(10):
        partition.append([b"x" * 100], timestamp_ms=i)
    one = partition.segments[0].size_bytes // 10
    assert partition.read(3, max_bytes=1).next_offset == 4
    assert partition.read(3, max_bytes=2 * one).next_offset == 5
    assert partition.read(3, max_bytes=3 * one - 1).next_offset == 5
    assert len(partition.read(0).buffer) == 10 * one


def test_a_read_at_the_end_is_empty_and_says_where(partition):
    partition.append([b"a"])
    batches = partition.read(1)
    assert (list(batches), bool(batches), batches.next_offset, len(batches.buffer)) == ([], False, 1, 0)


@pytest.mark.parametrize("offset", [-1, 3, 2**40])
def test_a_read_outside_tells_the_range(partition, offset):
    partition.append([b"a", b"b"])
    with pytest.raises(kstore.OffsetOutOfRange) as caught:
        partition.read(offset)
    assert (caught.value.offset, caught.value.log_start_offset, caught.value.end_offset) == (offset, 0, 2)


def test_an_unknown_isolation_is_a_usage_error(partition):
    with pytest.raises(kstore.UsageError, match="read_uncommitted or read_committed"):
        partition.read(0, isolation="committed")


def test_the_buffer_is_read_only_and_no_copy(partition):
    partition.append([b"a"])
    buffer = partition.read(0).buffer
    assert buffer.readonly
    with pytest.raises(TypeError):
        buffer[0] = 1


# -- time ---------------------------------------------------------------------------------------------------------


def test_the_offset_of_a_time_is_the_first_at_or_above_it_even_when_times_fall(partition):
    for i, timestamp in enumerate([100, 300, 200, 400]):
        assert partition.append([b"v"], timestamp_ms=timestamp).base_offset == i
    assert partition.offset_for_timestamp(0) == (0, 100)
    assert partition.offset_for_timestamp(200) == (1, 300)
    assert partition.offset_for_timestamp(301) == (3, 400)
    assert partition.offset_for_timestamp(401) is None


def test_the_offset_of_a_time_is_within_a_batch(partition):
    partition.append([Record(b"v", timestamp_ms=t) for t in (10, 20, 30)])
    assert partition.offset_for_timestamp(15) == (1, 20)
    partition.delete_records(2)
    assert partition.offset_for_timestamp(15) == (2, 30)


# -- delete_records -----------------------------------------------------------------------------------------------


def test_delete_records_raises_the_start_and_drops_whole_segments():
    disk = SimDisk()
    store, partition = new_partition(disk, internal_segment_bytes=200)
    for i in range(6):
        partition.append([b"%d" % i * 100], timestamp_ms=i)
    assert [s.base_offset for s in partition.segments] == [0, 1, 2, 3, 4, 5]
    assert partition.delete_records(3) == 3
    assert [s.base_offset for s in partition.segments] == [3, 4, 5]
    assert not any(name.startswith("0000000000000000000" + digit) for name in disk.list("/data/t-0") for digit in "12")
    with pytest.raises(kstore.OffsetOutOfRange):
        partition.read(2)
    assert values(partition) == [b"3" * 100, b"4" * 100, b"5" * 100]
    store.close()
    with open_store(disk) as store:
        assert store.partition("t", 0).log_start_offset == 3


@pytest.mark.parametrize("stop", ["close", "kill"])
def test_a_start_within_a_segment_survives_a_stop(stop):
    disk = SimDisk()
    store, partition = new_partition(disk)
    partition.append([b"a", b"b", b"c"])
    partition.delete_records(2)
    store.close() if stop == "close" else kill(store)
    with open_store(disk) as store:
        assert store.partition("t", 0).log_start_offset == 2
        assert values(store.partition("t", 0)) == [b"c"]


def test_a_log_start_that_could_not_be_written_is_not_raised():
    """Else a second call would say that it is done, and a crash would bring the records back."""
    disk = SimDisk(medium=True)
    _, partition = new_partition(disk)
    partition.append([b"a"])
    partition.append([b"b"], durable=True)
    disk.faults.plant(errno.ENOSPC, kinds={"write"}, times=None)
    with pytest.raises(StorageError):
        partition.delete_records(1)
    assert partition.log_start_offset == 0
    disk.faults.clear()
    assert partition.delete_records(1) == 1
    with open_store(power_off(disk)) as store:
        assert store.partition("t", 0).log_start_offset == 1


def test_delete_records_never_lowers_the_start_nor_passes_the_end(partition):
    partition.append([b"a", b"b"])
    assert partition.delete_records(1) == 1
    assert partition.delete_records(0) == 1
    with pytest.raises(kstore.OffsetOutOfRange):
        partition.delete_records(3)
    assert partition.delete_records(2) == 2
    assert values(partition) == []
    assert partition.append([b"c"]).base_offset == 2


# -- life ---------------------------------------------------------------------------------------------------------


def test_a_closed_partition_says_so(partition):
    partition.append([b"a"])
    partition.close()
    for use in (
        lambda: partition.append([b"v"]),
        lambda: partition.append_batches(GOOD),
        lambda: partition.read(0),
        lambda: partition.offset_for_timestamp(0),
        lambda: partition.flush(),
        lambda: partition.refresh(),
        lambda: partition.delete_records(0),
        lambda: partition.end_transaction(1, 0, commit=True),
    ):
        with pytest.raises(kstore.ClosedError, match="t-0 is closed"):
            use()
    partition.close()


def test_a_read_only_partition_refuses_to_write_and_says_how_to():
    disk = SimDisk()
    new_partition(disk)[0].close()
    with open_store(disk, read_only=True) as store:
        partition = store.partition("t", 0)
        for use in (
            lambda: partition.append([b"v"]),
            lambda: partition.append_batches(GOOD),
            lambda: partition.flush(),
            lambda: partition.delete_records(0),
            lambda: partition.end_transaction(1, 0, commit=True),
        ):
            with pytest.raises(kstore.UsageError, match="open read-only"):
                use()


def test_a_partition_shows_what_it_is(partition):
    partition.append([b"a", b"b"])
    assert repr(partition) == "<Partition t-0 [0, 2)>"
    assert partition.path == "/data/t-0"


# -- durability ---------------------------------------------------------------------------------------------------


def syncs(calls):
    return sum(count for (kind, path), count in calls.items() if kind == "sync" and path.endswith(".log"))


def test_an_append_is_synced_when_asked_and_not_otherwise():
    disk = SimDisk()
    store, partition = new_partition(disk)
    calls = count_calls(disk)
    partition.append([b"a"])
    assert (syncs(calls), partition.recovery_point) == (0, 0)
    partition.append([b"b"], durable=True)
    assert (syncs(calls), partition.recovery_point) == (1, 2)
    partition.flush()
    assert syncs(calls) == 1
    store.close()


@pytest.mark.parametrize("way", ["records", "batches"])
def test_flush_messages_decides_where_the_caller_does_not(way):
    disk = SimDisk()
    store, partition = new_partition(disk, flush_messages=3)
    calls = count_calls(disk)

    def append(**how):
        partition.append([b"v"], **how) if way == "records" else partition.append_batches(GOOD, **how)
        return syncs(calls)

    assert [append(), append(), append(), append()] == [0, 0, 1, 1]
    assert append(durable=True) == 2
    assert [append(durable=False) for _ in range(4)] == [2, 2, 2, 2]
    assert append() == 3
    store.close()


def test_retention_empties_the_active_segment_too(tmp_path: Path) -> None:
    """What is old goes, file and all; what is read before stays; the log goes on where it was."""
    with kstore.open(tmp_path / "d") as store:
        store.create_topic("t", config={"retention.ms": 1000})
        partition = store.partition("t", 0)
        partition.append([b"old"], timestamp_ms=1000)
        before = partition.read(0)
        assert partition.enforce_retention(2000) == 0
        assert partition.enforce_retention(2001) == 1
        assert [record.value for record in before] == [b"old"]
        assert sum(segment.size_bytes for segment in partition.segments) == 0
        assert partition.enforce_retention(3000) == 1
        assert partition.append([b"new"], timestamp_ms=5000).base_offset == 1
    with kstore.open(tmp_path / "d") as store:
        partition = store.partition("t", 0)
        assert (partition.log_start_offset, partition.log_end_offset) == (1, 2)
