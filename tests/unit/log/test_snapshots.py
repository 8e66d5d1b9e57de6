"""Producer snapshots: Kafka's bytes, no damaged one believed, and the files that a log keeps."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.limits import INT32_MAX
from kstore.log import names
from kstore.log.producers import ProducerBatch, ProducerEntry, ProducerStates, StoredBatch
from kstore.log.snapshots import (
    format_snapshot,
    load_snapshot,
    parse_snapshot,
    snapshot_offsets,
    stray_snapshots,
    write_snapshot,
)
from support.memory_disk import MemoryDisk

AFTER_A_BUMP = bytes.fromhex(
    "0001f01776c700000002"
    "00000000000000030004ffffffffffffffffffffffff00000000000001a20ac160cc00000000ffffffffffffffff"
    "00000000000000040004ffffffffffffffffffffffff00000000000001a20ac160cc00000000ffffffffffffffff"
)
"""Written by Kafka 4.3.1: two producers just after markers that bumped their epochs."""


def test_kafkas_bytes_after_markers_that_bumped_the_epoch():
    entries = parse_snapshot(AFTER_A_BUMP)
    ended = {"coordinator_epoch": 0, "last_timestamp_ms": 0x1A20AC160CC}
    assert entries == (ProducerEntry(3, 4, **ended), ProducerEntry(4, 4, **ended))
    assert format_snapshot(entries) == AFTER_A_BUMP
    assert entries[0].txn_first_offset == -1


def test_a_snapshot_without_producers_has_10_bytes():
    data = format_snapshot([])
    assert data == bytes.fromhex("0001 48674bc7 00000000")
    assert parse_snapshot(data) == ()


def test_only_the_last_batch_is_kept():
    entry = ProducerEntry(
        7,
        2,
        coordinator_epoch=-1,
        last_timestamp_ms=99,
        txn_first_offset=40,
        batches=[StoredBatch(3, 45, 1, 90), StoredBatch(1, 51, 5, 99)],
    )
    (read,) = parse_snapshot(format_snapshot([entry]))
    assert read.batches == [StoredBatch(1, 51, 5, 99)]
    assert read.batches[0].first_offset == 46
    assert read.batches[0].first_sequence == INT32_MAX - 3
    assert (read.txn_first_offset, read.epoch, read.last_timestamp_ms) == (40, 2, 99)


def test_a_batch_that_ends_at_offset_0_is_a_batch():
    entry = ProducerEntry(7, 0, last_timestamp_ms=5, txn_first_offset=0, batches=[StoredBatch(0, 0, 0, 5)])
    assert parse_snapshot(format_snapshot([entry])) == (entry,)


OFFSETS = st.integers(0, 2**63 - 1)
ENTRIES = st.builds(
    lambda pid, epoch, ts, coordinator, txn, batch: ProducerEntry(
        pid,
        epoch,
        coordinator_epoch=coordinator,
        last_timestamp_ms=ts,
        txn_first_offset=txn,
        batches=[StoredBatch(*batch, ts)] if batch else [],
    ),
    OFFSETS,
    st.integers(-1, 32767),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-1, INT32_MAX),
    st.just(-1) | OFFSETS,
    st.none() | st.tuples(st.integers(-1, INT32_MAX), OFFSETS, st.integers(0, INT32_MAX)),
)


@given(st.lists(ENTRIES, max_size=6))
def test_round_trip(entries):
    assert parse_snapshot(format_snapshot(entries)) == tuple(entries)


def test_any_flipped_bit_and_any_truncation_is_damage():
    for bit in range(len(AFTER_A_BUMP) * 8):
        flipped = bytearray(AFTER_A_BUMP)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert parse_snapshot(bytes(flipped)) is None, bit
    for length in range(len(AFTER_A_BUMP)):
        assert parse_snapshot(AFTER_A_BUMP[:length]) is None, length
    assert parse_snapshot(AFTER_A_BUMP + b"\0") is None


def test_a_hostile_count_with_a_right_checksum_is_damage():
    from kstore.log.sidecars import crc32c

    for count in (1, -1, INT32_MAX):
        body = count.to_bytes(4, "big", signed=True)
        assert parse_snapshot(b"\0\1" + crc32c(body).to_bytes(4, "big") + body) is None


# -- files --


def states_at(offset, pid=7):
    states = ProducerStates()
    states.apply(ProducerBatch(0, offset - 1, pid, 0, 0, offset - 1, False, None, -1, 5))
    return states


def test_write_and_load():
    disk = MemoryDisk()
    assert write_snapshot(disk, "d/t-0", states_at(5)) == "d/t-0/00000000000000000005.snapshot"
    write_snapshot(disk, "d/t-0", states_at(9, pid=8), sync=False)
    assert [call.split()[0] for call in disk.calls] == ["write_file_atomic", "write_file"]

    newest = load_snapshot(disk, "d/t-0", not_after=9)
    assert (newest.offset, newest.damaged) == (9, ())
    assert newest.entries[0].producer_id == 8
    assert load_snapshot(disk, "d/t-0", not_after=8).offset == 5
    assert load_snapshot(disk, "d/t-0", not_after=4) == (-1, (), ())
    assert load_snapshot(disk, "d/t-0", not_after=8, not_before=6) == (-1, (), ())


def test_a_damaged_snapshot_is_passed_over_and_named():
    disk = MemoryDisk()
    for offset in (5, 7, 9):
        write_snapshot(disk, "d", states_at(offset))
    disk.files["d/" + names.snapshot_name(9)] = b""
    disk.files["d/" + names.snapshot_name(7)] += b"x"
    loaded = load_snapshot(disk, "d", not_after=99)
    assert (loaded.offset, loaded.damaged) == (5, (9, 7))
    disk.files["d/" + names.snapshot_name(5)] = b"x"
    assert load_snapshot(disk, "d", not_after=99) == (-1, (), (9, 7, 5))


def test_an_unreadable_disk_is_not_an_absent_file():
    disk = MemoryDisk()
    write_snapshot(disk, "d", states_at(5))

    def broken(path):
        raise OSError(5, "planted")

    disk.read_file = broken
    with pytest.raises(OSError, match="planted"):
        load_snapshot(disk, "d", not_after=99)


def test_offsets_of_a_directory():
    listed = [
        "00000000000000000150.snapshot",
        "00000000000000000074.snapshot",
        "00000000000000000009.snapshot.deleted",
        "00000000000000000074.log",
        "leader-epoch-checkpoint",
    ]
    assert snapshot_offsets(listed) == [74, 150]


def strays(offsets, bases, start=0, end=1000):
    return stray_snapshots(offsets, bases, log_start_offset=start, log_end_offset=end)


def test_strays_are_those_of_no_segment_but_the_newest():
    assert strays([103, 150], [0, 103]) == []
    assert strays([103, 120, 150], [0, 103]) == [120]
    assert strays([103, 120, 150, 190], [0, 103, 190]) == [120, 150]
    assert strays([50, 60, 103], [0, 103]) == [50, 60]
    assert strays([5, 9], []) == [5]
    assert strays([], [0]) == []


def test_strays_outside_the_log():
    assert strays([226, 300], [226], start=227) == [226]
    assert strays([227, 300], [227], start=227) == [227]
    assert strays([100, 150], [0, 100], end=149) == [150]
    assert strays([100, 150], [0, 100], end=150) == []


def test_strays_are_the_same_whichever_of_the_removed_ones_a_crash_brings_back():
    every = [100, 120, 130, 140, 160]
    gone = set(strays(every, [100], end=150))
    assert gone == {120, 130, 160}
    for back in itertools.chain.from_iterable(itertools.combinations(sorted(gone), n) for n in range(4)):
        assert set(strays([100, 140, *back], [100], end=150)) == set(back)
