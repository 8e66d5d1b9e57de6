"""Kafka's primitive types: what a Writer wrote a Reader reads, and no bytes lead it past its end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.primitives import Reader, Writer


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.text(max_size=300),
    st.none() | st.text(max_size=300),
    st.lists(st.text(max_size=9), max_size=9),
    st.dictionaries(st.integers(0, 300), st.binary(max_size=9), max_size=4),
)
def test_round_trip(number, varint, text, optional, items, tags):
    writer = Writer().int64(number).varint(varint).string(text).nullable_string(optional)
    writer.compact_string(text).compact_string(optional).compact_bytes(text.encode())
    writer.compact_array(items, writer.compact_string).tagged_fields(tags)
    reader = Reader(bytes(writer))
    assert (reader.int64(), reader.varint(), reader.string(), reader.nullable_string()) == (
        number, varint, text, optional,
    )  # fmt: skip
    assert (reader.compact_string(), reader.compact_nullable_string()) == (text, optional)
    assert reader.compact_bytes() == text.encode()
    assert reader.compact_array(reader.compact_string) == items
    assert reader.tagged_fields() == tags
    assert reader.remaining == 0


def test_layouts_are_kafkas():
    assert bytes(Writer().varint(300)) == b"\xac\x02"
    assert bytes(Writer().compact_string("ab")) == b"\x03ab"
    assert bytes(Writer().compact_string(None)) == b"\x00"
    assert bytes(Writer().nullable_string(None)) == b"\xff\xff"
    assert bytes(Writer().tagged_fields({1: b"xy", 0: b""})) == b"\x02\x00\x00\x01\x02xy"


def test_array_with_a_wide_count():
    reader = Reader(b"\x00\x00\x00\x02\x00\x01\x00\x02")
    assert reader.array(reader.int16) == [1, 2]


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"", lambda r: r.int8()),
        (b"\x00", lambda r: r.int16()),
        (b"\x00\x05abc", lambda r: r.string()),
        (b"\xff\xff", lambda r: r.string()),
        (b"\x00", lambda r: r.compact_string()),
        (b"\x80\x80\x80\x80\x80\x01", lambda r: r.varint()),
        (b"\xff\xff\xff\xff\x1f", lambda r: r.varint()),
        (b"\x7f\xff\xff\xff", lambda r: r.array(r.int8)),
        (b"\xff\xff\xff\xff", lambda r: r.array(r.int8)),
        (b"\xff\xff\xff\xff\x0f", lambda r: r.tagged_fields()),
        (b"\x02\xff", lambda r: r.compact_string()),
    ],
)
def test_bytes_that_lie_are_refused(data, read):
    with pytest.raises(ValueError):
        read(Reader(data))


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="32767"):
        Writer().string("x" * 32768)
    with pytest.raises(ValueError, match="16 bytes"):
        Writer().uuid(b"short")
    with pytest.raises(ValueError, match="varint"):
        Writer().varint(2**32)
