"""What of a stored batch moves a producer's state: data and markers, wherever they are read from."""

from __future__ import annotations

import pytest

from kstore._native.crc32c import crc32c
from kstore._native.records import encode_marker
from kstore._native.scan import ProducerBatch, producer_batch
from kstore._native.segment import Segment
from kstore.errors import CorruptionError, InvalidBatch
from kstore.limits import INT32_MAX
from kstore.log.disk import OsDisk
from support.segment_model import encode

HEADER_BYTES = 61
LENGTH_AT, CRC_AT, ATTRIBUTES_AT, RECORDS_AT = 8, 17, 21, 57
CONTROL_TYPE_AT = HEADER_BYTES + 7  # of a marker: behind five bytes of the record's head, the key's length, a version


def data(sequence=10, count=3, **options):
    producer = {"producer_id": 7, "producer_epoch": 1, "base_sequence": sequence}
    return encode([5, 9, 7][:count], base_offset=4, leader_epoch=0, **producer, **options)


def marker(*, commit=True):
    return encode_marker(
        4, leader_epoch=0, producer_id=7, producer_epoch=2, commit=commit, coordinator_epoch=8, timestamp_ms=99
    )


def changed(batch, *places):
    """A batch with other bytes at some places, its checksum made to fit."""
    own = bytearray(batch)
    for position, value in places:
        own[position : position + len(value)] = value
    own[CRC_AT:ATTRIBUTES_AT] = crc32c(own[ATTRIBUTES_AT:]).to_bytes(4, "big")
    return bytes(own)


def without_record(batch):
    """What the cleaner leaves of a batch whose records are all gone."""
    length = (HEADER_BYTES - 12).to_bytes(4, "big")
    return changed(batch[:HEADER_BYTES], (LENGTH_AT, length), (RECORDS_AT, bytes(4)))


UNKNOWN = changed(marker(), (CONTROL_TYPE_AT, b"\0\2"))
STATELESS = {
    "no producer": encode([1], leader_epoch=0),
    "the cleaner took the marker": without_record(marker()),
    "another kind of control record": UNKNOWN,
    "a marker whose records are packed": changed(marker(), (ATTRIBUTES_AT, b"\0\x34")),
}


def test_data():
    assert producer_batch(data()) == ProducerBatch(4, 6, 7, 1, 10, 12, False, None, -1, 9)
    assert producer_batch(data(), 40) == ProducerBatch(40, 42, 7, 1, 10, 12, False, None, -1, 9)
    assert producer_batch(data(compression="zstd", transactional=True)).transactional
    assert producer_batch(without_record(data())).last_sequence == 12


def test_sequences_wrap():
    assert [producer_batch(data(INT32_MAX - 1, count)).last_sequence for count in (1, 2, 3)] == [
        INT32_MAX - 1,
        INT32_MAX,
        0,
    ]
    assert producer_batch(data(-1, transactional=True)).last_sequence == -1


def test_markers():
    assert producer_batch(marker()) == ProducerBatch(4, 4, 7, 2, -1, -1, True, "commit", 8, 99)
    assert producer_batch(marker(commit=False)).control_type == "abort"


@pytest.mark.parametrize("batch", STATELESS.values(), ids=STATELESS)
def test_what_moves_no_state(batch):
    assert producer_batch(batch) is None


def test_bytes_that_are_no_batch():
    for bad in (b"", b"\0" * 100, marker()[:-1]):
        with pytest.raises(InvalidBatch):
            producer_batch(bad)


def stored(directory, batches):
    (directory / "00000000000000000000.log").write_bytes(b"".join(batches))
    return Segment(OsDisk(), str(directory), 0, writable=True)


def at(batch, base_offset):
    return base_offset.to_bytes(8, "big") + batch[8:]


def test_a_walk_and_a_recovery_find_the_same(tmp_path):
    batches = [at(one, 10 * i) for i, one in enumerate([data(), *STATELESS.values(), marker(), data(13)])]
    expected = [producer_batch(one) for one in batches if producer_batch(one)]
    assert len(expected) == 3
    segment = stored(tmp_path, batches)
    assert segment.producer_batches() == expected
    assert segment.producer_batches(len(batches[0])) == expected[1:]
    assert segment.producer_batches(0, len(batches[0])) == expected[:1]
    assert segment.recover().producer_batches == expected


def test_a_walk_that_meets_damage_says_so(tmp_path):
    segment = stored(tmp_path, [data(), b"\1" * 100, at(data(13), 20)])
    with pytest.raises(CorruptionError):
        segment.producer_batches()
