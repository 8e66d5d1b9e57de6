"""Tail checkpoints: the newest true one is found, and none that the log has outgrown."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore import limits
from kstore.log import names
from kstore.log.digests import FileDigest
from kstore.log.producers import ProducerEntry, StoredBatch
from kstore.log.sidecars import crc32c, unseal
from kstore.log.tails import (
    KIND,
    VERSION,
    BatchMark,
    TailCheckpoint,
    TailFiles,
    format_tail,
    parse_tail,
    tail_fits,
)
from support.memory_disk import MemoryDisk

LOG = "d/00000000000000000040.log"


def batch(base_offset, count=3, *, epoch=0, body=b"body"):
    """A batch of magic 2 with a right CRC; what it says of records is nonsense."""
    covered = struct.pack(">hi", 0, count - 1).ljust(40, b"\0") + body
    head = struct.pack(">qiibI", base_offset, 9 + len(covered), epoch, 2, crc32c(covered))
    return head + covered


def tail_at_end_of(log, base_offset, last, **changes):
    """A checkpoint at the end of `log`, whose last batch is `last`."""
    offset, _, epoch, _, crc = struct.unpack_from(">qiibI", last)
    mark = BatchMark(len(log) - len(last), len(last), offset, epoch, crc)
    next_offset = offset + struct.unpack_from(">i", last, 23)[0] + 1
    return TailCheckpoint(base_offset, len(log), next_offset, 7, 1000, offset, mark, ())._replace(**changes)


def fits(tail, log):
    return tail_fits(tail, MemoryDisk({LOG: log}).open_file(LOG))


FIRST, SECOND = batch(40), batch(43, 5)
WHOLE = FIRST + SECOND
TAIL = tail_at_end_of(WHOLE, 40, SECOND)


# -- the bytes --

INT64 = st.integers(-1, 2**63 - 1)
INT32 = st.integers(-1, 2**31 - 1)
CRC = st.integers(0, 2**32 - 1)
STORED = st.builds(StoredBatch, INT32, INT64, INT32, INT64)
ENTRY = st.builds(
    lambda pid, epoch, coordinator, ts, txn, batches: ProducerEntry(
        pid, epoch, coordinator_epoch=coordinator, last_timestamp_ms=ts, txn_first_offset=txn, batches=batches
    ),
    INT64,
    st.integers(-1, 32767),
    INT32,
    INT64,
    INT64,
    st.lists(STORED, max_size=5),
)
DIGEST = st.builds(FileDigest, INT64, CRC)
MARK = st.none() | st.builds(BatchMark, st.integers(0, 2**62), INT64, INT64, INT32, CRC)
TAILS = st.builds(
    TailCheckpoint, INT64, INT64, INT64, CRC, INT64, INT64, MARK, st.lists(ENTRY, max_size=4).map(tuple), DIGEST, INT64
)


@given(TAILS)
def test_round_trip(tail):
    assert parse_tail(unseal(KIND, VERSION, format_tail(tail))) == tail


def test_a_wrong_bit_or_a_cut_is_no_checkpoint():
    entry = ProducerEntry(7, 1, batches=[StoredBatch(1, 2, 3, 4)] * 5)
    data = format_tail(TAIL._replace(producers=(entry,)))
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        disk = MemoryDisk({f"d/{names.TAIL_FILES[0]}": bytes(flipped)})
        assert TailFiles(disk, "d").newest(lambda tail: True) is None, bit
    for length in range(len(data)):
        disk = MemoryDisk({f"d/{names.TAIL_FILES[1]}": data[:length]})
        assert TailFiles(disk, "d").newest(lambda tail: True) is None, length


def test_a_short_payload_is_no_checkpoint():
    payload = unseal(KIND, VERSION, format_tail(TAIL._replace(producers=(ProducerEntry(7, 1),))))
    assert parse_tail(payload[:-1]) is None
    assert parse_tail(b"") is None


# -- does it fit --


def test_fits_its_own_log_and_a_longer_one():
    assert fits(TAIL, WHOLE)
    assert fits(TAIL, WHOLE + batch(48))
    assert fits(TAIL, WHOLE + bytes(100))
    assert fits(tail_at_end_of(FIRST, 40, FIRST), WHOLE)


def test_a_batch_without_records_counts():
    last = batch(43, body=b"")
    assert len(last) == limits.BATCH_HEADER_BYTES
    assert fits(tail_at_end_of(FIRST + last, 40, last), FIRST + last)


def test_an_empty_segment():
    empty = TailCheckpoint(40, 0, 40, 0, -1, -1, None, ())
    assert fits(empty, b"")
    assert fits(empty, WHOLE)
    assert not fits(empty._replace(next_offset=41), WHOLE)
    assert not fits(empty._replace(position=9), WHOLE)


def test_does_not_fit_a_shorter_or_a_rewritten_log():
    for length in range(len(WHOLE)):
        assert not fits(TAIL, WHOLE[:length])
    assert not fits(TAIL, bytes(len(WHOLE)))
    assert not fits(TAIL, FIRST + batch(43, 5, body=b"BODY"))
    assert not fits(TAIL, FIRST + batch(43, 5, epoch=1))
    assert not fits(TAIL, FIRST + batch(44, 5))
    assert not fits(TAIL, FIRST + batch(43, 4))
    assert not fits(TAIL, batch(40, body=b"longer") + SECOND)


def test_does_not_fit_once_a_bit_of_the_last_batch_is_wrong():
    for bit in range(len(FIRST) * 8, len(WHOLE) * 8):
        flipped = bytearray(WHOLE)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert not fits(TAIL, bytes(flipped)), bit


@pytest.mark.parametrize(
    "mark",
    [
        TAIL.last_batch._replace(position=0),
        TAIL.last_batch._replace(size_bytes=0, position=len(WHOLE)),
        TAIL.last_batch._replace(size_bytes=60, position=len(WHOLE) - 60),
    ],
)
def test_a_mark_that_does_not_end_at_the_position_fits_nothing(mark):
    assert not fits(TAIL._replace(last_batch=mark), WHOLE)


# -- the two files --


def test_the_files_take_turns_and_the_newest_wins():
    disk = MemoryDisk()
    files = TailFiles(disk, "d")
    for position in (1, 2, 3):
        files.write(TAIL._replace(position=position))
    assert files.newest(lambda tail: True).position == 3
    assert files.newest(lambda tail: tail.position < 3).position == 2
    assert files.newest(lambda tail: tail.position < 2) is None
    assert disk.calls == [f"write_file d/kstore-tail-{number}" for number in (1, 0, 1)]

    again = TailFiles(disk, "d")
    again.write(TAIL._replace(position=4))
    assert disk.calls[-1] == "write_file d/kstore-tail-0"
    assert again.newest(lambda tail: True).position == 4


def test_a_torn_write_leaves_the_other():
    disk = MemoryDisk()
    files = TailFiles(disk, "d")
    files.write(TAIL._replace(position=1))
    files.write(TAIL._replace(position=2))
    disk.files["d/kstore-tail-0"] = disk.files["d/kstore-tail-0"][:-1]
    assert files.newest(lambda tail: True).position == 1


def test_a_failed_write_is_tried_on_the_same_file():
    disk = MemoryDisk()
    files = TailFiles(disk, "d")
    files.write(TAIL._replace(position=1))
    disk.fail()
    with pytest.raises(OSError, match="planted"):
        files.write(TAIL._replace(position=2))
    files.write(TAIL._replace(position=3))
    assert disk.calls[-1] == disk.calls[-2] == "write_file d/kstore-tail-0"


def test_remove():
    disk = MemoryDisk()
    files = TailFiles(disk, "d")
    files.remove()
    files.write(TAIL)
    files.write(TAIL)
    files.remove()
    assert disk.files == {}
    assert files.newest(lambda tail: True) is None


# -- of a segment --


def test_of_a_segment():
    header = SimpleNamespace(position=61, size_bytes=70, base_offset=43, leader_epoch=2, crc=99)
    segment = SimpleNamespace(
        base_offset=40,
        size_bytes=131,
        next_offset=48,
        header_digest=5,
        max_timestamp_ms=1000,
        max_timestamp_offset=47,
        lookup=lambda offset: {47: 61}[offset],
        headers=lambda position: {61: [header]}[position],
    )
    entry = ProducerEntry(7, 1)
    tail = TailCheckpoint.of(segment, [entry], FileDigest(34, 9))
    entry.epoch = 2
    assert tail == TailCheckpoint(
        40, 131, 48, 5, 1000, 47, BatchMark(61, 70, 43, 2, 99), (ProducerEntry(7, 1),), FileDigest(34, 9)
    )
    segment.header_digest = None
    assert TailCheckpoint.of(segment, []) is None
    segment.header_digest, segment.size_bytes = 0, 0
    assert TailCheckpoint.of(segment, []).last_batch is None
