"""Any records survive the record format, and any bytes are decoded or refused."""

from __future__ import annotations

import struct

import crc32c as pypi_crc32c
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kstore import compression
from kstore._native import batch
from kstore._native.records import Record
from kstore.errors import CorruptionError, InvalidBatch
from kstore.records import decode_batches, encode_batches

INT64 = st.integers(-(2**63), 2**63 - 1)
DATA = st.none() | st.binary(max_size=80) | st.binary(min_size=8180, max_size=8200)
NAMES = st.text(max_size=12) | st.binary(max_size=8).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20)), max_size=4)
RECORDS = st.builds(Record, DATA, DATA, HEADERS, st.none() | st.integers(0, 10**13) | INT64)
CODECS = st.sampled_from(compression.NAMES)


@given(
    st.lists(RECORDS, max_size=30),
    st.integers(0, 2**62),
    INT64,
    CODECS,
    st.integers(20_000, 60_000),
    st.integers(-1, 2**31 - 1),
)
def test_any_records_come_back(records, base_offset, timestamp, codec, batch_bytes_max, base_sequence):
    data = encode_batches(
        records,
        base_offset=base_offset,
        timestamp_ms=timestamp,
        compression=codec,
        batch_bytes_max=batch_bytes_max,
        producer_id=1 if base_sequence >= 0 else -1,
        producer_epoch=0,
        base_sequence=base_sequence,
    )
    expected = [
        (base_offset + i, timestamp if r.timestamp_ms is None else r.timestamp_ms, r.key, r.value, r.headers)
        for i, r in enumerate(records)
    ]
    found = decode_batches(data)
    decoded = list(found)
    assert [(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in decoded] == expected
    assert list(found.tuples()) == [row[:4] for row in expected]
    sequences = [-1 if base_sequence < 0 else (base_sequence + i) % 2**31 for i in range(len(records))]
    assert [r.sequence for r in decoded] == sequences
    columns = found.columns()
    assert [
        (columns.offsets[i], columns.timestamps[i], columns.key(i), columns.value(i)) for i in range(len(columns))
    ] == [row[:4] for row in expected]
    if records:
        info = batch.check(data, records=True)
        assert (info.records, info.first_offset, info.next_offset) == (
            len(records),
            base_offset,
            base_offset + len(records),
        )
        assert info.largest_batch_bytes <= batch_bytes_max
        assert info.max_timestamp_ms == max(-1, *(row[1] for row in expected))


def decoded_or_refused(data: bytes) -> None:
    for way in (lambda: list(decode_batches(data).records(control=True)), lambda: decode_batches(data).columns()):
        try:
            way()
        except CorruptionError as damage:
            assert 0 <= damage.position <= len(data)
    try:
        info = batch.check(data, client=False, records=True)
    except InvalidBatch as refused:
        assert 0 <= refused.position <= len(data)
    else:
        assert info.records == sum(1 for _ in decode_batches(data).records(control=True))


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(data):
    decoded_or_refused(data)


FIELDS = st.fixed_dictionaries(
    {
        "base_offset": st.integers(0, 5) | INT64,
        "attributes": st.integers(0, 0x7F) | st.integers(0, 0xFFFF),
        "last_offset_delta": st.integers(0, 5) | st.integers(-(2**31), 2**31 - 1),
        "base_timestamp": INT64,
        "count": st.integers(0, 5) | st.integers(-(2**31), 2**31 - 1),
    }
)
PIECES = st.sampled_from(
    [b"\x0e\0\0\0\1\2v\0", b"\x0e\0\0\2\1\2v\0", b"\0", b"\1", b"\xff", b"\x80\0", b"\x0c\0\0\0\1\1\0", b"\x7f"]
)


@given(FIELDS, st.lists(PIECES | st.binary(max_size=10), max_size=8).map(b"".join), st.sampled_from(range(5)))
@example({"base_offset": 0, "attributes": 0, "last_offset_delta": 2**31 - 1, "base_timestamp": 0, "count": 0}, b"", 0)
@settings(max_examples=300)
def test_any_records_under_a_fitting_checksum(fields, section, pack):
    """As hostile as it gets: everything is made up, and only the checksum is right."""
    section = bytes(compression.compress(pack, section)) if pack else section
    body = struct.pack(
        ">Hiqqqhii", fields["attributes"], fields["last_offset_delta"], fields["base_timestamp"], 0, -1, -1, -1,
        fields["count"],
    )
    crc = pypi_crc32c.crc32c(body + section)
    data = struct.pack(">qiibI", fields["base_offset"], 49 + len(section), 0, 2, crc) + body + section
    decoded_or_refused(data)


@given(st.lists(RECORDS, min_size=1, max_size=4), CODECS, st.data())
def test_every_flipped_bit_under_the_checksum_is_seen(records, codec, draw):
    data = bytearray(encode_batches(records, compression=codec))
    header = next(batch.headers(data))
    bit = draw.draw(st.integers(17 * 8, header.size_bytes * 8 - 1))
    data[bit >> 3] ^= 1 << (bit & 7)
    for way in (lambda: list(decode_batches(data)), lambda: decode_batches(data).columns()):
        try:
            way()
        except CorruptionError:
            continue
        raise AssertionError(f"bit {bit} was flipped unseen")
