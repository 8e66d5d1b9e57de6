"""Kafka's small text files: its bytes, and nothing that it does not write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore.limits import INT32_MAX, INT64_MAX
from kstore.log import names
from kstore.log.checkpoints import (
    format_clean_shutdown,
    format_offsets,
    format_partition_metadata,
    parse_clean_shutdown,
    parse_offsets,
    parse_partition_metadata,
)

TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True).filter(names.is_valid_topic_name)
OFFSETS = st.dictionaries(st.tuples(TOPICS, st.integers(0, INT32_MAX)), st.integers(0, INT64_MAX), max_size=5)
KAFKAS = b"0\n3\ncompact 0 150\n__consumer_offsets 1 6\norders 2 150\n"


def test_kafkas_bytes_in_any_order():
    offsets = {("compact", 0): 150, ("__consumer_offsets", 1): 6, ("orders", 2): 150}
    assert parse_offsets(KAFKAS) == offsets
    assert format_offsets(offsets) == b"0\n3\n__consumer_offsets 1 6\ncompact 0 150\norders 2 150\n"
    assert format_offsets({}) == b"0\n0\n"


def test_a_file_of_0_bytes_has_no_entries():
    assert parse_offsets(b"") == {}
    assert parse_offsets(b"0\n0\n") == {}


@given(OFFSETS)
def test_offsets_round_trip(offsets):
    assert parse_offsets(format_offsets(offsets)) == offsets


@given(OFFSETS, st.data())
def test_every_truncation_of_offsets_is_damage(offsets, data):
    whole = format_offsets(offsets)
    assert parse_offsets(whole[: data.draw(st.integers(1, len(whole) - 1))]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"0\n",
        b"0\n0\n\n",
        b"1\n0\n",
        b"0\n1\n",
        b"0\n0\na 0 1\n",
        b"0\n2\na 0 1\n",
        b"0\n01\na 0 1\n",
        b"0\n1\na 0\n",
        b"0\n1\na 0 1 2\n",
        b"0\n1\na 0 1",
        b"0\n1\na 0 1\r\n",
        b"0\n1\na  0 1\n",
        b"0\n1\na\t0 1\n",
        b"0\n1\na 0 -1\n",
        b"0\n1\na 0 01\n",
        b"0\n1\na 0 1_0\n",
        b"0\n1\na -0 1\n",
        b"0\n1\na 2147483648 1\n",
        b"0\n1\na 0 9223372036854775808\n",
        b"0\n1\na 0 " + b"9" * 5000 + b"\n",
        b"0\n1\na/b 0 1\n",
        b"0\n1\n.. 0 1\n",
        b"0\n1\n 0 1\n",
        b"0\n2\na 0 1\na 0 1\n",
        b"0\n1\na 0 \xb2\n",
        b"0\n1\n\xff 0 1\n",
        bytes(64),
    ],
)
def test_what_kafka_never_writes_is_damage(data):
    assert parse_offsets(data) is None


def test_partition_metadata():
    topic_id = names.uuid_from_text("N149skPfRRy2qhCB2OpO8A")
    data = b"version: 0\ntopic_id: N149skPfRRy2qhCB2OpO8A"
    assert format_partition_metadata(topic_id) == data
    assert parse_partition_metadata(data) == topic_id
    for length in range(len(data)):
        assert parse_partition_metadata(data[:length]) is None
    assert parse_partition_metadata(data + b"\n") is None
    assert parse_partition_metadata(data.replace(b"0", b"1", 1)) is None
    assert parse_partition_metadata(b"version: 0\ntopic_id: " + b"A" * 22) is None
    assert parse_partition_metadata(data[:-1] + b"\xff") is None


def test_clean_shutdown():
    assert format_clean_shutdown(12) == b'{"version":0,"brokerEpoch":12}'
    for epoch in (-1, 0, 139, INT64_MAX):
        assert parse_clean_shutdown(format_clean_shutdown(epoch)) == epoch
    assert parse_clean_shutdown(format_clean_shutdown()) == -1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"0",
        b'{"version":1,"brokerEpoch":12}',
        b'{"version":0,"brokerEpoch":}',
        b'{"version":0,"brokerEpoch":-2}',
        b'{"version":0,"brokerEpoch":-01}',
        b'{"version":0,"brokerEpoch":--1}',
        b'{"version":0,"brokerEpoch":012}',
        b'{"version":0,"brokerEpoch":9223372036854775808}',
        b'{"version":0,"brokerEpoch":\xb2}',
        b'{"version":0,"brokerEpoch":12}\n',
        b'{"version":0,"brokerEpocj":12}',
    ],
)
def test_a_doubtful_marker_is_no_marker(data):
    assert parse_clean_shutdown(data) is None


def test_a_flip_in_the_marker_keeps_it_a_marker_or_makes_it_none():
    whole = format_clean_shutdown(12)
    for length in range(len(whole)):
        assert parse_clean_shutdown(whole[:length]) is None
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        epoch = parse_clean_shutdown(bytes(flipped))
        assert epoch is None or format_clean_shutdown(epoch) == flipped
