"""Records cut alike are recognised instead of parsed: whatever changes in one, the verdict is that of a slow reader."""

from __future__ import annotations

import struct

import crc32c as pypi_crc32c
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kstore._native import batch
from kstore.errors import InvalidBatch
from kstore.records import encode_batches

HEADER_BYTES = 61


class Bad(Exception):
    """The record is none."""


def varint(data: bytes, at: int, bits: int, *, shortest: bool) -> tuple[int, int]:
    value = shift = 0
    begin = at
    while True:
        if at >= len(data) or shift >= bits:
            raise Bad
        group = data[at] & 0x7F
        if group >> max(bits - shift, 0) and bits - shift < 7:
            raise Bad
        value |= group << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            break
    if shortest and at - begin > 1 and data[at - 1] == 0:
        raise Bad
    return value >> 1 ^ -(value & 1), at


def field(record: bytes, at: int, *, strict: bool, shortest: bool | None = None) -> int:
    """Steps over bytes behind their length."""
    length, at = varint(record, at, 32, shortest=strict if shortest is None else shortest)
    if length > len(record) - at or (strict and length < -1):
        raise Bad
    return at + max(length, 0)


def is_good(section: bytes, count: int, *, strict: bool) -> bool:
    """By docs/FORMAT.md: each record whole, deltas rising (one by one in a client's), not a byte more."""
    at, last = 0, -1
    try:
        for number in range(count):
            size, at = varint(section, at, 32, shortest=strict)
            if not 0 < size <= len(section) - at:
                return False
            record, at = section[at : at + size], at + size
            _, place = varint(record, 1, 64, shortest=strict)
            delta, place = varint(record, place, 32, shortest=strict)
            if not last < delta < count or (strict and delta != number):
                return False
            last = delta
            place = field(record, field(record, place, strict=strict), strict=strict)
            headers, place = varint(record, place, 32, shortest=strict)
            if not 0 <= headers <= len(record):
                return False
            for _ in range(headers):
                if varint(record, place, 32, shortest=strict)[0] < 0:
                    return False
                place = field(record, field(record, place, strict=strict), strict=False, shortest=strict)
            if place != len(record):
                return False
    except Bad:
        return False
    return at == len(section)


def verdict(data: bytes, *, strict: bool) -> bool:
    try:
        batch.check(data, client=strict, records=True)
    except InvalidBatch:
        return False
    return True


@pytest.mark.parametrize("strict", [True, False], ids=["client", "log"])
@given(
    count=st.integers(3, 140),
    key=st.none() | st.integers(0, 3),
    value=st.sampled_from([0, 1, 7, 60, 61, 62, 63, 64, 65, 130]),
    changes=st.lists(
        st.tuples(st.integers(0, 139), st.integers(0, 9), st.integers(0, 255) | st.sampled_from([0x80, 0x7F, 2])),
        max_size=2,
    ),
)
@example(count=5, key=None, value=7, changes=[(3, 3, 4)])
@example(count=5, key=None, value=7, changes=[(2, 3, 8)])
@example(count=100, key=None, value=7, changes=[(80, 4, 2)])
@example(count=100, key=None, value=7, changes=[(80, 4, 0)])
def test_alike_but_for_a_byte(
    strict: bool, count: int, key: int | None, value: int, changes: list[tuple[int, int, int]]
) -> None:
    pair = (None if key is None else b"k" * key, b"v" * value)
    data = bytearray(encode_batches([pair] * count, timestamp_ms=1))
    starts, at = [], HEADER_BYTES
    for _ in range(count):
        starts.append(at)
        size, at = varint(data, at, 32, shortest=True)
        at += size
    for number, byte, new in changes:
        place = starts[number % count] + byte
        if place < len(data):
            data[place] = new
    struct.pack_into(">I", data, 17, pypi_crc32c.crc32c(bytes(data[21:])))
    assert verdict(bytes(data), strict=strict) == is_good(bytes(data[HEADER_BYTES:]), count, strict=strict)
