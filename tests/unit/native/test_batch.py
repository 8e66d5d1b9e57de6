"""Checking, walking and stamping record batches."""

from __future__ import annotations

import struct

import crc32c as pypi_crc32c
import pytest

from kstore._native import batch, records
from kstore.errors import InvalidBatch, UsageError
from kstore.records import encode_batches

HORIZON, CONTROL, TRANSACTIONAL, APPEND_TIME = 0x40, 0x20, 0x10, 0x08


def with_crc(data: bytes | bytearray) -> bytes:
    """One batch with its length and checksum set right again after an edit."""
    data = bytearray(data)
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">I", data, 17, pypi_crc32c.crc32c(bytes(data[21:])))
    return bytes(data)


def edited(layout: str, at: int, value: int, data: bytes | None = None) -> bytes:
    own = bytearray(encode_batches([b"a", b"b"], timestamp_ms=5) if data is None else data)
    struct.pack_into(layout, own, at, value)
    return with_crc(own)


def test_the_bytes_of_a_batch_are_kafkas() -> None:
    data = encode_batches(
        [(b"k", b"v", [("h", None)])],
        base_offset=0x0102030405060708,
        timestamp_ms=1000,
        leader_epoch=9,
        producer_id=7,
        producer_epoch=3,
        base_sequence=11,
        transactional=True,
    )
    head = struct.pack(">qiib", 0x0102030405060708, len(data) - 12, 9, 2)
    body = struct.pack(">hiqqqhii", TRANSACTIONAL, 0, 1000, 1000, 7, 3, 11, 1)
    record = bytes([22, 0, 0, 0, 2]) + b"k" + bytes([2]) + b"v" + bytes([2, 2]) + b"h" + bytes([1])
    assert data == head + struct.pack(">I", pypi_crc32c.crc32c(body + record)) + body + record


def test_check_tells_what_an_append_needs() -> None:
    first = encode_batches([b"a", b"b"], base_offset=10, timestamp_ms=50, leader_epoch=1)
    second = encode_batches([b"c" * 100], base_offset=12, timestamp_ms=40, leader_epoch=2, producer_id=1,
                            producer_epoch=0, base_sequence=0)
    info = batch.check(first + second)
    assert (info.batches, info.records, info.offsets, info.size_bytes) == (2, 3, 3, len(first + second))
    assert (info.first_offset, info.next_offset, info.max_timestamp_ms) == (10, 13, 50)
    assert (info.largest_batch_bytes, info.codecs, info.last_leader_epoch) == (len(second), 1, 2)
    assert info.flags == batch.HAS_PRODUCER
    assert batch.check(second + first).flags == batch.HAS_PRODUCER | batch.NOT_CONTIGUOUS


def test_an_empty_buffer_has_no_batch() -> None:
    with pytest.raises(InvalidBatch, match="no batch"):
        batch.check(b"")
    assert list(batch.headers(b"")) == []


def test_every_bit_under_the_checksum_is_guarded() -> None:
    data = encode_batches([b"some value"], timestamp_ms=5)
    for bit in range(17 * 8, len(data) * 8):
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(InvalidBatch) as raised:
            batch.check(flipped, client=False)
        assert raised.value.error_code == 2, bit


def test_length_and_magic_are_guarded_where_a_batch_stands_alone() -> None:
    data = encode_batches([b"some value"], timestamp_ms=5)
    for bit in [*range(8 * 8, 12 * 8), *range(16 * 8, 17 * 8)]:
        flipped = bytearray(data)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(InvalidBatch):
            batch.check(flipped, client=False)


@pytest.mark.parametrize("size", [*range(0, 61), 61, 70])
def test_a_batch_cut_short_is_refused(size: int) -> None:
    data = encode_batches([b"some value"], timestamp_ms=5)
    if size == 0:
        return
    with pytest.raises(InvalidBatch, match="end before") as raised:
        batch.check(data + data[:size], client=False)
    assert raised.value.position == len(data)


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (edited(">H", 21, CONTROL), "control", 87),
        (edited(">H", 21, APPEND_TIME), "LogAppendTime", 32),
        (edited(">H", 21, HORIZON), "horizon", 87),
        (edited(">H", 21, 0x80), "bits", 87),
        (edited(">H", 21, 0x8000), "bits", 87),
        (edited(">H", 21, 5), "codec 5", 76),
        (edited(">H", 21, 7), "codec 7", 76),
        (edited(">i", 23, 2), "2 records, but 3 offsets", 87),
        (edited(">q", 43, -2), "producer id -2", 87),
        (edited(">H", 21, TRANSACTIONAL), "transaction", 87),
        (edited(">q", 43, 4), "epoch -1", 87),
        (edited(">i", 57, 0, edited(">i", 23, 0)[:61]), "no records", 87),
    ],
)
def test_what_a_client_may_not_send(data: bytes, reason: str, code: int) -> None:
    good = encode_batches([b"before"])
    with pytest.raises(InvalidBatch, match=reason) as raised:
        batch.check(good + data)
    assert (raised.value.position, raised.value.error_code) == (len(good), code)
    assert batch.check(good).batches == 1  # the bad one poisons nothing
    if code != 76:
        assert batch.check(good + data, client=False, records=False).batches == 2


@pytest.mark.parametrize(
    "data",
    [
        edited(">i", 57, -1),
        edited(">i", 57, 3),
        edited(">i", 23, -1),
        edited(">i", 57, 2**31 - 1, edited(">i", 23, 2**31 - 1)),
        edited(">q", 0, -1),
        edited(">q", 0, 2**63 - 1),
        edited(">q", 0, 2**63 - 2),  # its last offset is 2**63 - 1: no offset would be its end
    ],
)
def test_header_fields_that_contradict_each_other(data: bytes) -> None:
    with pytest.raises(InvalidBatch, match="contradict"):
        batch.check(data, client=False)


def records_of(*records: bytes, count: int | None = None) -> bytes:
    count = len(records) if count is None else count
    head = bytearray(edited(">i", 23, count - 1)[:61])
    struct.pack_into(">i", head, 57, count)
    return with_crc(bytes(head) + b"".join(records))


GOOD = bytes([14, 0, 0, 0, 1, 2]) + b"v\0"


@pytest.mark.parametrize(
    "data",
    [
        records_of(GOOD, GOOD, count=1),
        records_of(GOOD + GOOD),
        records_of(GOOD + b"\0"),
        records_of(GOOD[:-1] + b"\2"),  # a header that is not there
        records_of(GOOD[:-1] + b"\1"),  # -1 headers
        records_of(bytes([12, 0, 0, 0, 1, 2]) + b"v"),  # the length cuts the header count off
        records_of(bytes([16, 0, 0, 0, 1, 2]) + b"v\0\0"),  # a byte too many inside
        records_of(bytes([14, 0, 0, 0, 1, 4]) + b"v\0"),  # the value passes the end
        records_of(bytes([14, 0, 0, 2, 1, 2]) + b"v\0"),  # offset delta 1 for the only record
        records_of(bytes([14, 0, 0, 1, 1, 2]) + b"v\0"),  # offset delta -1
        records_of(GOOD, GOOD),  # the same offset twice
        records_of(b"\xff\xff\xff\xff\xff\x0f" + b"\0" * 9),  # a length of more than five bytes
        records_of(b"\xfe\xff\xff\xff\x1f" + b"\0" * 9),  # of more than 32 bits
        records_of(b"\xfe\xff\xff\xff\x0f" + b"\0" * 9),  # 2^31 - 1
        records_of(b"\x01" + b"\0" * 9),  # -1
        records_of(bytes([16, 0, 0x80, 0, 0, 1, 2]) + b"v\0"),  # a padded varint
        records_of(bytes([14, 0, 0, 0, 3, 2]) + b"v\0"),  # key length -2
    ],
)
def test_records_that_contradict_their_header(data: bytes) -> None:
    assert batch.check(data, records=False).batches == 1
    for walk in ("auto", True):
        with pytest.raises(InvalidBatch) as raised:
            batch.check(data, records=walk)
        assert raised.value.error_code == 87


def test_records_of_compressed_batches_are_walked_when_asked() -> None:
    import zlib

    good = edited(">H", 21, 1, records_of(GOOD))[:61]
    bad = with_crc(good + zlib.compress(GOOD + GOOD, wbits=31))
    assert batch.check(bad).batches == 1
    with pytest.raises(InvalidBatch, match="records"):
        batch.check(bad, records=True)
    with pytest.raises(InvalidBatch, match="gzip"):
        batch.check(with_crc(good + b"no gzip"), records=True)
    assert batch.check(with_crc(good + zlib.compress(GOOD, wbits=31)), records=True).records == 1


def test_headers_walk_without_a_look_at_the_records() -> None:
    data = encode_batches([b"x" * 1000] * 3000, base_offset=5, leader_epoch=4)
    own = bytearray(data)
    for header in batch.headers(data):
        own[header.position + 61 : header.position + header.size_bytes] = b"\xff" * (header.size_bytes - 61)
    walked = list(batch.headers(own))
    assert [h.base_offset for h in walked[1:]] == [h.next_offset for h in walked[:-1]]
    assert (walked[0].base_offset, walked[-1].last_offset) == (5, 3004)
    assert sum(h.size_bytes for h in walked) == len(data)
    assert {h.leader_epoch for h in walked} == {4}
    assert next(batch.headers(own, walked[1].position)).base_offset == walked[1].base_offset


def test_headers_stop_at_the_first_bad_one() -> None:
    data = encode_batches([b"x"])
    walk = batch.headers(data + b"\0" * 61)
    assert next(walk).size_bytes == len(data)
    with pytest.raises(InvalidBatch, match="length"):
        next(walk)
    assert list(walk) == []
    with pytest.raises(UsageError, match="outside"):
        batch.headers(data, len(data) + 1)


def test_log_append_time_sets_bit_time_and_checksum() -> None:
    own = bytearray(encode_batches([b"x", b"y"], timestamp_ms=5) + encode_batches([b"z"], base_offset=2))
    batch.set_log_append_time(own, 77)
    assert batch.check(own, client=False).flags == batch.HAS_LOG_APPEND_TIME
    assert [(h.timestamp_type, h.max_timestamp_ms, h.base_timestamp_ms) for h in batch.headers(own)] == [
        ("LogAppendTime", 77, 5),
        ("LogAppendTime", 77, -1),
    ]
    with pytest.raises((BufferError, TypeError)):
        batch.set_log_append_time(bytes(own), 77)


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_is_a_control_batch_of_78_bytes(commit: bool) -> None:
    marker = records.encode_marker(
        40, leader_epoch=2, producer_id=9, producer_epoch=1, commit=commit, coordinator_epoch=0x01020304,
        timestamp_ms=6,
    )
    header = next(batch.headers(marker))
    assert (len(marker), header.attributes, header.base_sequence, header.records) == (78, 0x30, -1, 1)
    assert (header.producer_id, header.producer_epoch, header.base_offset, header.leader_epoch) == (9, 1, 40, 2)
    assert marker[61:] == bytes([32, 0, 0, 0, 8, 0, 0, 0, commit, 12, 0, 0, 1, 2, 3, 4, 0])
    assert batch.check(marker, client=False).flags == batch.HAS_PRODUCER | batch.HAS_TRANSACTIONAL | batch.HAS_CONTROL
    with pytest.raises(UsageError):
        records.encode_marker(
            0, leader_epoch=0, producer_id=-1, producer_epoch=0, commit=True, coordinator_epoch=0, timestamp_ms=0
        )


def test_the_last_sequence_wraps() -> None:
    data = encode_batches([b"x"] * 3, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2)
    assert next(batch.headers(data)).last_sequence == 0
    assert next(batch.headers(encode_batches([b"x"]))).last_sequence == -1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(kind: type) -> None:
    import mmap

    import numpy as np

    data = encode_batches([b"x"])
    assert batch.check(kind(data)).batches == 1
    assert batch.check(np.frombuffer(data, np.uint8)).batches == 1
    with mmap.mmap(-1, len(data)) as mapped:
        mapped[:] = data
        assert batch.check(mapped).batches == 1
